"""The real helm fetches charts from a repository and a registry that want credentials, both served here with TLS."""

import asyncio
import base64
import hashlib
import io
import json
import shutil
import ssl
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.release import Chart
from connect_autoscaler.release.charts import Charts, Credentials, verify
from connect_autoscaler.release.helm import Helm, HelmError
from sandbox import certs
from sandbox.build import find

STAND_IN = Path(__file__).parents[1] / "charts" / "rstudio-connect"
VERSION = "0.21.0"
LOGIN = Credentials("reader", "correct-horse-battery")
BASIC = base64.b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()


def archive() -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as packed:
        packed.add(STAND_IN, "rstudio-connect")
    return memory.getvalue()


@dataclass
class Source:
    """A repository at /charts, whose archives may be elsewhere, and a registry; each request needs the login."""

    chart: bytes = field(default_factory=archive)
    port: int = 0
    elsewhere: str = ""
    open: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"https://127.0.0.1:{self.port}/charts"

    @property
    def oci(self) -> str:
        return f"oci://127.0.0.1:{self.port}/mirror/rstudio-connect"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/charts/index.yaml", self._index)
        app.router.add_get("/charts/some-name.tgz", self._archive)
        app.router.add_route("*", "/v2/", self._empty)
        app.router.add_route("*", "/v2/mirror/rstudio-connect/manifests/{tag}", self._manifest)
        app.router.add_route("*", "/v2/mirror/rstudio-connect/blobs/{digest}", self._blob)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        self.asked.append((request.path, given))
        if self.open or given == f"Basic {BASIC}":
            return await handler(request)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="charts"'})

    async def _index(self, _: web.Request) -> web.Response:
        entry = {"name": "rstudio-connect", "version": VERSION, "apiVersion": "v2"}
        entries = {"rstudio-connect": [{**entry, "urls": [f"{self.elsewhere}some-name.tgz"]}]}
        return web.json_response({"apiVersion": "v1", "entries": entries})

    async def _archive(self, _: web.Request) -> web.Response:
        return web.Response(body=self.chart)

    async def _empty(self, _: web.Request) -> web.Response:
        return web.json_response({})

    def _blobs(self) -> dict[str, tuple[str, bytes]]:
        """Return media type and bytes of config and chart by digest."""
        config = json.dumps({"name": "rstudio-connect", "version": VERSION, "apiVersion": "v2"}).encode()
        kinds = (("config.v1+json", config), ("chart.content.v1.tar+gzip", self.chart))
        return {digest(data): (f"application/vnd.cncf.helm.{kind}", data) for kind, data in kinds}

    async def _manifest(self, request: web.Request) -> web.Response:
        kind = "application/vnd.oci.image.manifest.v1+json"
        config, *layers = (
            {"mediaType": media, "digest": name, "size": len(data)} for name, (media, data) in self._blobs().items()
        )
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).encode()
        if request.match_info["tag"] not in {VERSION, digest(body)}:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        return web.Response(body=body, content_type=kind, headers={"Docker-Content-Digest": digest(body)})

    async def _blob(self, request: web.Request) -> web.Response:
        _, data = self._blobs()[request.match_info["digest"]]
        return web.Response(body=data, content_type="application/octet-stream")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Fixture:
    """Charts that may be fetched from a source, and what helm was started with."""

    source: Source
    other: Source
    charts: Charts
    home: Path
    calls: Path

    def started_with(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""

    def nothing_leaked(self) -> bool:
        """Tell whether the password is in no argument, environment or file of helm."""
        kept = [path.read_bytes() for path in self.home.rglob("*") if path.is_file()]
        secrets = (LOGIN.password.encode(), BASIC.encode())
        return not any(secret in data for secret in secrets for data in (*kept, self.started_with().encode()))


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fixture]:
    authority = certs.issue("test-ca")
    ca, _ = authority.write(tmp_path, "ca")
    files = certs.issue("charts", ca=authority, loopback=True).write(tmp_path, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    helm = tmp_path / "helm"
    calls = tmp_path / "calls"
    helm.write_text(f'#!/bin/sh\n{{ echo "$@"; env; }} >>{calls}\nexec {find("helm")} "$@"\n')
    helm.chmod(0o755)
    sources = Source(), Source(open=True)
    runners = [web.AppRunner(source.app()) for source in sources]
    for source, runner in zip(sources, runners, strict=True):
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        source.port = runner.addresses[0][1]
    source, other = sources
    allowed = (source.repository, f"oci://127.0.0.1:{source.port}/mirror")
    home = tmp_path / "home"
    yield Fixture(source, other, Charts(Helm(str(helm), home), sources=allowed, directory=None), home, calls)
    for runner in runners:
        await runner.cleanup()


async def test_repository(served: Fixture) -> None:
    """Two at once are one pull; the default source is the first one."""
    first, second = await asyncio.gather(
        served.charts.fetch(None, VERSION, LOGIN),
        served.charts.fetch(Chart(repository=served.source.repository), VERSION, LOGIN),
    )
    assert first == second
    assert served.source.paths == ["/charts/index.yaml", "/charts/some-name.tgz"]
    assert first.read_bytes() == served.source.chart
    verify(first, None, VERSION)
    assert served.nothing_leaked()
    assert "--repository-config=/dev/fd/" in served.started_with()
    assert sorted(path.name for path in (served.home / "charts").rglob("*") if path.is_file()) == [first.name]
    served.charts.forget(first)
    assert await served.charts.fetch(None, VERSION, LOGIN) == first
    assert len(served.source.asked) == 4


async def test_registry(served: Fixture) -> None:
    path = await served.charts.fetch(Chart(oci=served.source.oci), VERSION, LOGIN)
    assert path.read_bytes() == served.source.chart
    assert f"/v2/mirror/rstudio-connect/manifests/{VERSION}" in served.source.paths
    assert served.nothing_leaked()
    assert "--registry-config=/dev/fd/" in served.started_with()


async def test_credentials_stay_with_their_host(served: Fixture) -> None:
    served.source.elsewhere = f"{served.other.repository}/"
    path = await served.charts.fetch(None, VERSION, LOGIN)
    assert path.read_bytes() == served.other.chart
    assert served.other.asked == [("/charts/some-name.tgz", None)]


@pytest.mark.parametrize("kind", ["repository", "oci"])
async def test_without_or_with_wrong_credentials(served: Fixture, kind: str) -> None:
    chart = Chart(**{kind: getattr(served.source, kind)})
    unasked = "it wants credentials" if kind == "oci" else "it answered 401"
    for credentials, why in ((None, unasked), (Credentials("reader", "wrong-password"), "it answered 401")):
        with pytest.raises(HelmError) as caught:
            await served.charts.fetch(chart, VERSION, credentials)
        assert (caught.value.reason, caught.value.passing) == (Reason.CHART_UNAVAILABLE, True)
        url = getattr(served.source, kind)
        assert caught.value.message == f"rstudio-connect {VERSION} cannot be had from {url}: {why}"
    assert (await served.charts.fetch(chart, VERSION, LOGIN)).exists()


@pytest.mark.parametrize("kind", ["repository", "oci"])
async def test_a_version_that_is_not_there(served: Fixture, kind: str) -> None:
    with pytest.raises(HelmError) as caught:
        await served.charts.fetch(Chart(**{kind: getattr(served.source, kind)}), "0.20.9", LOGIN)
    assert caught.value.reason is Reason.CHART_UNAVAILABLE
    assert caught.value.message.endswith(("it does not have that version", "it answered 404"))


async def test_a_source_that_is_down_or_not_trusted(served: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(HelmError) as caught:
        await served.charts.fetch(None, VERSION, LOGIN)
    assert caught.value.message.endswith("its certificate is not trusted")
    port, served.source.port = served.source.port, 1
    nowhere = Charts(served.charts._helm, sources=(served.source.repository,), directory=None)
    served.source.port = port
    with pytest.raises(HelmError) as caught:
        await nowhere.fetch(None, VERSION, LOGIN)
    assert caught.value.message.endswith("it cannot be reached")
    assert caught.value.reason is Reason.CHART_UNAVAILABLE


async def test_another_version_than_promised(served: Fixture, tmp_path: Path) -> None:
    shutil.copytree(STAND_IN, tmp_path / "chart")
    meta = tmp_path / "chart" / "Chart.yaml"
    meta.write_text(meta.read_text().replace("version: 0.21.0", "version: 0.22.0"))
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as packed:
        packed.add(tmp_path / "chart", "rstudio-connect")
    served.source.chart = memory.getvalue()
    with pytest.raises(HelmError) as caught:
        await served.charts.fetch(None, VERSION, LOGIN)
    assert caught.value.reason is Reason.CHART_UNAVAILABLE
    assert "is version 0.22.0 of the chart, the release has version 0.21.0" in caught.value.message

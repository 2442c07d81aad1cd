"""Where the chart comes from: a repository, a registry or a directory, each only if the operator allows it.

Credentials reach helm in anonymous memory, as the settings file that it reads them from: never as an argument, in the
environment, or in a file. Helm 4.3 sends them to the repository's or registry's own scheme, host and port, not to
others that an index names (measured).
"""

import asyncio
import base64
import hashlib
import json
import re
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.release import Chart
from connect_autoscaler.release import child
from connect_autoscaler.release.chart_files import CHART_NAME, read, require_version, verify
from connect_autoscaler.release.helm import Helm, HelmError

__all__ = ["Charts", "Credentials", "verify"]

_VERSION: Final = re.compile(r"v?[0-9][0-9A-Za-z.+-]{0,127}")
_PORTS: Final = {"https": 443, "oci": 443, "http": 80}
_OCI: Final = "oci"
_REPOSITORY: Final = "source"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of a repository or registry."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Location:
    """A URL, as far as it decides who is asked for what."""

    scheme: str
    host: str
    port: int | None
    path: tuple[str, ...]

    @classmethod
    def of(cls, url: str) -> "_Location | None":
        """Read a URL; None if it is not plain enough to be compared."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            return None
        path = tuple(unquote(parts.path).strip("/").split("/")) if parts.path.strip("/") else ()
        tricky = any(each in {"", ".", ".."} or "\\" in each for each in path)
        extra = parts.username is not None or parts.query or parts.fragment
        return None if tricky or extra or not host else cls(parts.scheme, host, port, path)

    def __contains__(self, other: "_Location") -> bool:
        mine, theirs = ((each.scheme, each.host, each.port) for each in (self, other))
        return mine == theirs and other.path[: len(self.path)] == self.path


class Charts:
    """Charts at a version, from where they may come from.

    What was fetched stays below helm's home, and serves everybody who names the same source and version.

    Args:
        helm: Fetches.
        sources: What is allowed, the first one being the default: URLs of repositories (https) or references (oci);
            what is below one is allowed, too.
        directory: Where charts of `path` are.
    """

    def __init__(self, helm: Helm, *, sources: tuple[str, ...], directory: Path | None) -> None:
        self._helm = helm
        self._sources = sources
        self._directory = directory
        self._cache = helm.home / "charts"
        self._locks: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def fetch(self, chart: Chart | None, version: str, credentials: Credentials | None = None) -> Path:
        """Return the chart at a version, fetched at most once.

        Args:
            chart: Its source; None, or one that names none, is the default one.
            version: The very version.
            credentials: Of a repository or registry.

        Returns:
            A directory or an archive. It is of that version, but see `verify`.

        Raises:
            HelmError: CHART_NOT_ALLOWED, CHART_UNAVAILABLE.
        """
        if not _VERSION.fullmatch(version):
            raise HelmError(Reason.CHART_UNAVAILABLE, "The release's chart has a version that is none")
        if chart and chart.path:
            return await asyncio.to_thread(self._local, chart.path, version)
        source = self._allowed((chart.repository or chart.oci) if chart else None)
        kept = self._cache / hashlib.sha256(source.encode()).hexdigest()[:16] / f"{CHART_NAME}-{version}.tgz"
        async with self._locks[kept]:
            if not kept.exists():
                await self._pull(source, version, credentials, kept)
        return kept

    def forget(self, path: Path) -> None:
        """Have a chart fetched again that turned out to be another one than the installed; local ones stay."""
        if path.is_relative_to(self._cache):
            path.unlink(missing_ok=True)

    def _allowed(self, named: str | None) -> str:
        if named is None:
            if not self._sources:
                raise HelmError(Reason.CHART_NOT_ALLOWED, "The operator has no default source of charts")
            named = self._sources[0].rstrip("/")
            is_parent = named.startswith(f"{_OCI}:") and not named.endswith(f"/{CHART_NAME}")
            return f"{named}/{CHART_NAME}" if is_parent else named
        wanted = _Location.of(named)
        known = [location for source in self._sources if (location := _Location.of(source))]
        if wanted is None or not any(wanted in each for each in known):
            raise HelmError(
                Reason.CHART_NOT_ALLOWED,
                f"{named} is not among the operator's --chart-sources: {', '.join(self._sources) or 'none'}",
            )
        return named

    def _local(self, path: str, version: str) -> Path:
        """Find a chart below the chart directory."""
        if self._directory is None:
            raise HelmError(Reason.CHART_UNAVAILABLE, "chart.path needs the operator's --chart-dir, which is not set")
        try:
            root = self._directory.resolve(strict=True)
            found = (root / path).resolve(strict=True)
            if not found.is_relative_to(root):
                raise HelmError(Reason.CHART_NOT_ALLOWED, f"{path} leads out of the operator's --chart-dir")
            archive = found / f"{CHART_NAME}-{version}.tgz"
            if found.is_dir() and not (found / "Chart.yaml").exists() and archive.exists():
                found = archive.resolve(strict=True)
                if not found.is_relative_to(root):
                    raise HelmError(Reason.CHART_NOT_ALLOWED, f"{path} leads out of the operator's --chart-dir")
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            why = getattr(error, "strerror", None) or "it cannot be resolved"
            raise HelmError(
                Reason.CHART_UNAVAILABLE, f"{path} cannot be had from the operator's --chart-dir: {why}", passing=True
            ) from None
        require_version(read(found), version, path)
        return found

    async def _pull(self, source: str, version: str, credentials: Credentials | None, kept: Path) -> None:
        try:
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._cache, prefix=".new-", ignore_cleanup_errors=True) as scratch:
                await self._pull_into(Path(scratch), source, version, credentials)
                await asyncio.to_thread(_keep, Path(scratch), version, kept)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise HelmError(Reason.CHART_UNAVAILABLE, f"A chart cannot be kept: {why}", passing=True) from None
        except HelmError as error:
            if error.reason is not Reason.CHART_UNAVAILABLE:
                raise
            message = f"{CHART_NAME} {version} cannot be had from {source}: {error.message}"
            raise HelmError(error.reason, message, error.passing) from None

    async def _pull_into(self, scratch: Path, source: str, version: str, credentials: Credentials | None) -> None:
        options = [f"--version={version}", f"--destination={scratch}"]
        is_oci = source.startswith(f"{_OCI}:")
        content = json.dumps((_registry if is_oci else _repositories)(source, credentials)).encode()
        with child.memory(len(content)) as settings:
            settings.write(content)
            settings.seek(0)
            fd = settings.fileno()
            if is_oci:
                commands = [["pull", source, *options, f"--registry-config=/dev/fd/{fd}"]]
            else:
                where = [f"--repository-config=/dev/fd/{fd}", f"--repository-cache={scratch}"]
                chart = f"{_REPOSITORY}/{CHART_NAME}"
                commands = [["repo", "update", *where], ["pull", chart, *options, *where]]
            for command in commands:
                await self._helm.pull(command, inherited=[fd])


def _keep(scratch: Path, version: str, kept: Path) -> None:
    """Move the only archive there to its place, if it is of that version: a repository may name it as it likes."""
    (archive,) = scratch.glob("*.tgz")
    require_version(read(archive), version, "the archive")
    archive.replace(kept)


def _repositories(source: str, credentials: Credentials | None) -> dict[str, Any]:
    """Return helm's repositories.yaml; JSON is YAML."""
    login = {"username": credentials.username, "password": credentials.password} if credentials else {}
    return {"apiVersion": "", "repositories": [{"name": _REPOSITORY, "url": source, **login}]}


def _registry(source: str, credentials: Credentials | None) -> dict[str, Any]:
    """Return the login of a registry as Docker's config.json has it."""
    if credentials is None:
        return {"auths": {}}
    login = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    return {"auths": {urlsplit(source).netloc: {"auth": login}}}

"""Which sources of charts are allowed, what is found in the chart directory, and which charts are refused."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.release import Chart
from connect_autoscaler.release.charts import Charts, Credentials, verify
from connect_autoscaler.release.helm import Helm, HelmError

STAND_IN = Path(__file__).parents[1] / "charts" / "rstudio-connect"
VERSION = "0.21.0"
META = b"apiVersion: v2\nname: rstudio-connect\nversion: 0.21.0\n"
SOURCES = ("https://helm.example.com/posit", "oci://registry.example.com:5000/charts")

Files = Mapping[str, bytes]


def packed(files: Files, root: str = "rstudio-connect/") -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(root + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return memory.getvalue()


def written(directory: Path, files: Files) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


@pytest.fixture(params=["directory", "archive"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> "Make":
    return Make(tmp_path, archive=request.param == "archive")


class Make:
    """Writes a chart as a directory or an archive."""

    def __init__(self, directory: Path, *, archive: bool) -> None:
        self._directory, self._archive = directory, archive

    def __call__(self, **files: bytes) -> Path:
        every = {"Chart.yaml": META, **{name.replace("__", "/").replace("_DOT_", "."): d for name, d in files.items()}}
        if not self._archive:
            return written(self._directory / "chart", every)
        path = self._directory / "chart.tgz"
        path.write_bytes(packed(every))
        return path

    def of(self, files: Files) -> Path:
        return self(**{name.replace("/", "__").replace(".", "_DOT_"): data for name, data in files.items()})


def charts(tmp_path: Path, sources: tuple[str, ...] = SOURCES, directory: Path | None = None) -> Charts:
    """Return charts whose helm is not there: what is refused is refused before it is asked."""
    return Charts(Helm(str(tmp_path / "no-helm"), tmp_path / "home"), sources=sources, directory=directory)


async def refusal(of: Charts, chart: Chart | None, version: str = VERSION) -> HelmError:
    with pytest.raises(HelmError) as caught:
        await of.fetch(chart, version, Credentials("reader", "hunter2"))
    assert "hunter2" not in f"{caught.value!r}"
    return caught.value


@pytest.mark.parametrize(
    "chart",
    [
        None,
        Chart(),
        Chart(secret_name="login"),  # noqa: S106 - the name of a Secret
        Chart(repository="https://helm.example.com/posit"),
        Chart(repository="https://helm.example.com/posit/"),
        Chart(repository="https://HELM.example.com:443/posit/stable"),
        Chart(oci="oci://registry.example.com:5000/charts/rstudio-connect"),
        Chart(oci="oci://registry.example.com:5000/charts/mirror/rstudio-connect"),
    ],
)
async def test_allowed_sources_are_asked(tmp_path: Path, chart: Chart | None) -> None:
    assert (await refusal(charts(tmp_path), chart)).reason is Reason.HELM_NOT_FOUND


@pytest.mark.parametrize(
    "chart",
    [
        Chart(repository="http://helm.example.com/posit"),
        Chart(repository="https://helm.example.com"),
        Chart(repository="https://helm.example.com/positive"),
        Chart(repository="https://helm.example.com:8443/posit"),
        Chart(repository="https://helm.example.com.evil.org/posit"),
        Chart(repository="https://helm.example.com/posit/../other"),
        Chart(repository="https://helm.example.com/posit/%2e%2e/other"),
        Chart(repository="https://helm.example.com/posit/%2E%2E%2Fother"),
        Chart(repository="https://helm.example.com/posit//other"),
        Chart(repository="https://helm.example.com:99999/posit"),
        Chart(oci="oci://registry.example.com/charts/rstudio-connect"),
        Chart(oci="oci://registry.example.com:5000/chartsx/rstudio-connect"),
    ],
)
async def test_other_sources_are_not(tmp_path: Path, chart: Chart) -> None:
    error = await refusal(charts(tmp_path), chart)
    assert error.reason is Reason.CHART_NOT_ALLOWED
    assert str(chart.repository or chart.oci) in error.message
    assert ", ".join(SOURCES) in error.message


async def test_no_source_at_all(tmp_path: Path) -> None:
    assert (await refusal(charts(tmp_path, ()), None)).reason is Reason.CHART_NOT_ALLOWED
    error = await refusal(charts(tmp_path, ()), Chart(repository="https://helm.example.com"))
    assert error.message.endswith("--chart-sources: none")


@pytest.mark.parametrize("version", ["", "../../etc", "--debug", "0.21.0/..", ">0.1", "latest", "0.21.0\n"])
async def test_a_version_is_a_version(tmp_path: Path, version: str) -> None:
    assert (await refusal(charts(tmp_path), None, version)).reason is Reason.CHART_UNAVAILABLE


async def test_no_room_for_a_chart(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "charts").touch()
    error = await refusal(charts(tmp_path), None)
    assert (error.reason, error.passing) == (Reason.CHART_UNAVAILABLE, True)


async def test_paths_in_the_chart_directory(tmp_path: Path) -> None:
    root = tmp_path / "charts"
    written(root / "unpacked", {"Chart.yaml": META})
    written(root / "archives", {f"rstudio-connect-{v}.tgz": packed({"Chart.yaml": META}) for v in (VERSION, "0.20.0")})
    (root / "link").symlink_to("unpacked")
    of = charts(tmp_path, directory=root)
    archive = root / "archives" / f"rstudio-connect-{VERSION}.tgz"
    expected = {"unpacked": root / "unpacked", "link": root / "unpacked", "archives": archive}
    expected[f"archives/{archive.name}"] = archive
    for path, found in expected.items():
        assert await of.fetch(Chart(path=path), VERSION) == found.resolve()
    error = await refusal(of, Chart(path="unpacked"), "0.22.0")
    assert error.reason is Reason.CHART_UNAVAILABLE
    assert error.message == "unpacked is version 0.21.0 of the chart, the release has version 0.22.0"
    error = await refusal(of, Chart(path="archives"), "0.20.0")
    assert "version 0.21.0 of the chart, the release has version 0.20.0" in error.message
    for missing in ("nowhere", "archives/nothing.tgz", "unpacked/templates"):
        assert (await refusal(of, Chart(path=missing))).reason is Reason.CHART_UNAVAILABLE
    of.forget(root / "unpacked")
    of.forget(archive)
    assert archive.exists()


async def test_no_chart_directory(tmp_path: Path) -> None:
    error = await refusal(charts(tmp_path), Chart(path="connect"))
    assert (error.reason, "--chart-dir" in error.message) == (Reason.CHART_UNAVAILABLE, True)
    error = await refusal(charts(tmp_path, directory=tmp_path / "missing"), Chart(path="connect"))
    assert error.reason is Reason.CHART_UNAVAILABLE


async def test_links_do_not_lead_out(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside", {"Chart.yaml": META})
    archive = tmp_path / "outside.tgz"
    archive.write_bytes(packed({"Chart.yaml": META}))
    root = tmp_path / "charts"
    (root / "archives").mkdir(parents=True)
    (root / "out").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (root / "archives" / f"rstudio-connect-{VERSION}.tgz").symlink_to(archive)
    of = charts(tmp_path, directory=root)
    for path in ("out", "archives", f"archives/rstudio-connect-{VERSION}.tgz"):
        assert (await refusal(of, Chart(path=path))).reason is Reason.CHART_NOT_ALLOWED
    assert (await refusal(of, Chart(path="loop"))).reason is Reason.CHART_UNAVAILABLE


# --- verify


def refused(path: Path, stored: Files | None = None, version: str = VERSION) -> HelmError:
    with pytest.raises(HelmError) as caught:
        verify(path, stored, version)
    return caught.value


def test_the_stand_in_is_fine() -> None:
    stored = {f"templates/{path.name}": path.read_bytes() for path in (STAND_IN / "templates").iterdir()}
    verify(STAND_IN, stored, VERSION)
    verify(STAND_IN, None, VERSION)


def test_same_templates(make: Make) -> None:
    files = {"templates/a.yaml": b"\xef\xbb\xbfa: 1\n", "templates/_helpers.tpl": b"", "values.yaml": b"x: 1"}
    path = make.of({**files, "charts/lib/templates/_lib.tpl": b"other", "charts/lib/Chart.yaml": b"name: lib"})
    verify(path, {"templates/a.yaml": b"a: 1\n", "templates/_helpers.tpl": b""}, VERSION)


def test_other_templates(make: Make) -> None:
    path = make.of({"templates/a.yaml": b"1", "templates/b.yaml": b"2", "templates/sub/c.yaml": b"3"})
    error = refused(path, {"templates/a.yaml": b"1", "templates/b.yaml": b"x", "templates/d.yaml": b"4"})
    assert error.reason is Reason.CHART_MISMATCH
    assert error.message.endswith(": templates/b.yaml, templates/d.yaml, templates/sub/c.yaml")


def test_another_chart(make: Make) -> None:
    error = refused(make.of({"Chart.yaml": META.replace(b"connect", b"workbench")}))
    assert error.reason is Reason.UNSUPPORTED_CHART
    assert "rstudio-workbench" in error.message


def test_another_version(make: Make) -> None:
    error = refused(make(), version="0.21.1")
    assert error.reason is Reason.CHART_UNAVAILABLE
    assert "version 0.21.0 of the chart, the release has version 0.21.1" in error.message


@pytest.mark.parametrize(
    "name",
    ["templates/job.yaml", "templates/tests/x.yaml", "charts/lib/templates/x.yaml", "charts/a/charts/b/templates/x"],
)
def test_hooks(make: Make, name: str) -> None:
    error = refused(make.of({name: b'annotations:\n  "helm.sh/hook": pre-upgrade\n'}))
    assert error.reason is Reason.CHART_NOT_ALLOWED
    assert name in error.message


def test_hooks_of_a_packed_dependency(make: Make) -> None:
    inner = packed({"templates/x.yaml": b"helm.sh/hook: test", "Chart.yaml": b"name: inner"}, "inner/")
    middle = packed({"charts/inner-1.tgz": inner, "Chart.yaml": b"name: middle"}, "middle/")
    error = refused(make.of({"charts/middle-1.tgz": middle}))
    assert error.reason is Reason.CHART_NOT_ALLOWED
    assert "charts/middle-1/charts/inner-1/templates/x.yaml" in error.message


def test_what_is_no_hook(make: Make) -> None:
    keep = b'"helm.sh/resource-policy": keep\n"helm.sh/hook-weight": 1'
    verify(make.of({"templates/pvc.yaml": keep, "README.md": b"helm.sh/hook: none", "my/crds/x": b""}), None, VERSION)


@pytest.mark.parametrize("name", ["crds/x.yaml", "charts/lib/crds/x.yaml"])
def test_custom_resource_definitions(make: Make, name: str) -> None:
    error = refused(make.of({name: b"kind: CustomResourceDefinition"}))
    assert error.reason is Reason.CHART_NOT_ALLOWED
    assert "custom resource definitions" in error.message


def test_links_in_a_directory(tmp_path: Path) -> None:
    chart = written(tmp_path / "chart", {"Chart.yaml": META})
    (chart / "templates").symlink_to(tmp_path)
    assert refused(chart).reason is Reason.CHART_NOT_ALLOWED


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"x/Chart.yaml": b"- a list"},
        {"x/Chart.yaml": b"name: rstudio-connect"},
        {"x/Chart.yaml": b"\x00"},
        {"x/Chart.yaml": META, "x/../../templates/a": b""},
        {"x/Chart.yaml": META, "x//etc/passwd": b""},
        {"x/Chart.yaml": META, "x/big": b"0" * (5 * 2**20 + 1)},
        {"x/Chart.yaml": META, "x/templates/a": b"1", "y/templates/./a": b"2"},
        {"x/Chart.yaml": META, **{f"x/{number}": b"0" * (5 * 2**20) for number in range(7)}},
        {"x/Chart.yaml": META, "x/charts/a.tgz": b"no archive"},
    ],
)
def test_archives_that_are_no_charts(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "chart.tgz"
    path.write_bytes(packed(files, ""))
    assert refused(path).reason is Reason.CHART_UNAVAILABLE


def test_what_lies_at_the_top_is_part_of_the_chart(tmp_path: Path) -> None:
    """As Helm reads it: only the first part of a path goes, whatever it is."""
    path = tmp_path / "chart.tgz"
    path.write_bytes(packed({"x/Chart.yaml": META, "./templates/a.yaml": b"helm.sh/hook: x"}, ""))
    assert "templates/a.yaml" in refused(path).message
    path.write_bytes(packed({"x\\Chart.yaml": META, "x\\templates\\a.yaml": b"helm.sh/hook: x"}, ""))
    assert "templates/a.yaml" in refused(path).message


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"\x1f\x8b\x08 broken", packed({"Chart.yaml": META})[:80]],
    ids=["empty", "text", "header", "cut"],  # an archive has the time in it, and processes must agree on names
)
def test_broken_archives(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "chart.tgz"
    path.write_bytes(data)
    assert refused(path).reason is Reason.CHART_UNAVAILABLE
    assert refused(tmp_path / "missing.tgz").reason is Reason.CHART_UNAVAILABLE

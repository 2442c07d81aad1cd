"""A chart as it lies on disk, directory or archive, and whether it is one that may be rendered.

What counts as a template, how names are cleaned and how large files may be: Helm's ``pkg/chart/loader``.
"""

import io
import os
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm_errors import HelmError

CHART_NAME: Final = "rstudio-connect"
_LARGEST_FILE: Final = 5 * 2**20
_LARGEST_CHART: Final = 32 * 2**20
_MOST_FILES: Final = 5000
_DEEPEST: Final = 3
"""Archives of dependencies inside each other."""
_NAMED: Final = 5
_BOM: Final = b"\xef\xbb\xbf"
_CHART_YAML: Final = "Chart.yaml"
_HOOK: Final = re.compile(rb"helm\.sh/hook(?![\w-])")
_TEMPLATE: Final = re.compile(r"(?:charts/[^/]+/)*templates/")
_CRD: Final = re.compile(r"(?:charts/[^/]+/)*crds/")
_BROKEN: Final = (OSError, EOFError, tarfile.TarError, zlib.error, yaml.YAMLError, ValueError)


@dataclass(frozen=True, slots=True)
class ChartFiles:
    """What matters of a chart.

    Attributes:
        name: Of Chart.yaml.
        version: Of Chart.yaml.
        files: Bytes of each file by its path in the chart; archives of dependencies are unpacked.
    """

    name: str
    version: str
    files: Mapping[str, bytes]

    @property
    def templates(self) -> dict[str, bytes]:
        """The templates of the chart itself, without those of dependencies."""
        return {name: data for name, data in self.files.items() if name.startswith("templates/")}


def read(path: Path) -> ChartFiles:
    """Read a chart.

    Args:
        path: A directory with Chart.yaml, or an archive.

    Raises:
        HelmError: CHART_UNAVAILABLE: it is no chart, or larger than any chart is. CHART_NOT_ALLOWED: there are links in
            it, which could lead anywhere.
    """
    try:
        files = _bounded(_directory(path) if path.is_dir() else _archive(_bytes(path, _LARGEST_CHART), depth=0))
        meta: Any = yaml.safe_load(files[_CHART_YAML])
        return ChartFiles(str(meta["name"]), str(meta["version"]), files)
    except (*_BROKEN, KeyError, TypeError) as error:
        raise HelmError(
            Reason.CHART_UNAVAILABLE, f"{path.name} is not a readable chart ({type(error).__name__})"
        ) from None


def verify(path: Path, stored_templates: Mapping[str, bytes] | None, version: str) -> None:
    """Make sure that a chart is Connect's, the one that is installed, and does nothing beside rendering.

    Args:
        path: A directory with Chart.yaml, or an archive.
        stored_templates: The templates of the installed revision by name, such as ``templates/deployment.yaml``; None
            if they are not to be compared.
        version: The installed version of the chart.

    Raises:
        HelmError: UNSUPPORTED_CHART: another chart. CHART_UNAVAILABLE: another version, or no chart at all.
            CHART_NOT_ALLOWED: it has hooks or custom resource definitions. CHART_MISMATCH: other templates.
    """
    chart = read(path)
    if chart.name != CHART_NAME:
        raise HelmError(Reason.UNSUPPORTED_CHART, f"The chart is {chart.name}, not {CHART_NAME}")
    require_version(chart, version, path.name)
    if hooks := [n for n, data in chart.files.items() if _TEMPLATE.match(n) and _HOOK.search(data)]:
        raise HelmError(
            Reason.CHART_NOT_ALLOWED,
            f"The chart declares Helm hooks, which would run programs during an upgrade: {_some(hooks)}",
        )
    if crds := [name for name in chart.files if _CRD.match(name)]:
        raise HelmError(Reason.CHART_NOT_ALLOWED, f"The chart brings custom resource definitions: {_some(crds)}")
    if stored_templates is None:
        return
    here, there = (
        {name: data.removeprefix(_BOM) for name, data in each.items()} for each in (chart.templates, stored_templates)
    )
    if differing := [name for name in here.keys() | there.keys() if here.get(name) != there.get(name)]:
        raise HelmError(
            Reason.CHART_MISMATCH,
            f"The chart at hand is not the installed one, though of the same version: {_some(differing)}",
        )


def require_version(chart: ChartFiles, version: str, where: str) -> None:
    """Refuse another version.

    Args:
        chart: The chart at hand.
        version: The version that is installed.
        where: Its file or directory, for the message.

    Raises:
        HelmError: CHART_UNAVAILABLE.
    """
    if chart.version != version:
        raise HelmError(
            Reason.CHART_UNAVAILABLE,
            f"{where} is version {chart.version[:64]} of the chart, the release has version {version}",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


def _bounded(found: Iterator[tuple[str, bytes]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    size = 0
    for name, data in found:
        if name in files:
            raise ValueError("twice the same file")  # which one would Helm take?
        files[name] = data
        size += len(data)
        if size > _LARGEST_CHART or len(files) > _MOST_FILES:
            raise ValueError("too large")
    return files


def _directory(root: Path) -> Iterator[tuple[str, bytes]]:
    for directory, subdirectories, names in os.walk(root):
        for name in (*subdirectories, *names):
            path = Path(directory, name)
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                raise HelmError(Reason.CHART_NOT_ALLOWED, f"The chart holds a symbolic link: {relative}")
            # Helm, too, ignores hidden files among the templates of a directory.
            if name in names and not relative.startswith("templates/."):
                yield from _unpacked(relative, _bytes(path, _LARGEST_FILE), depth=0)


def _bytes(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError("too large")
    return data


def _archive(data: bytes, *, depth: int) -> Iterator[tuple[str, bytes]]:
    if depth > _DEEPEST:
        raise ValueError("too deep")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
        for number, member in enumerate(archive):
            if member.size > _LARGEST_FILE or number > _MOST_FILES:
                raise ValueError("too large")
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield from _unpacked(_inside(member.name), file.read(), depth=depth)


def _inside(name: str) -> str:
    """Return a path in the chart; exactly as Helm does it, so that no file is one thing here and another one there."""
    separator = "\\" if "\\" in name else "/"
    _, _, rest = name.partition(separator)  # the first part is the directory that was packed
    path = rest.replace(separator, "/")
    cleaned = posixpath.normpath(path)
    if path.startswith("/") or cleaned == "." or cleaned.startswith(".."):
        raise ValueError("leads out of the chart")
    return cleaned


def _unpacked(name: str, data: bytes, *, depth: int) -> Iterator[tuple[str, bytes]]:
    """Yield a file; of the archive of a dependency, what is in it."""
    yield name, data
    parent, _, last = name.rpartition("/")
    if last.endswith(".tgz") and parent.rpartition("/")[2] == "charts":
        stem = last.removesuffix(".tgz")
        for inner, each in _archive(data, depth=depth + 1):
            yield f"{parent}/{stem}/{inner}", each

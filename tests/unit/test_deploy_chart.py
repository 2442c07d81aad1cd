"""The Helm chart of the operator: generated copies of deploy/ and crds/, and what belongs to it.

`UPDATE_GOLDEN=1 python -m pytest -n 0 tests/unit/test_deploy_chart.py` makes the copies anew.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from connect_autoscaler import __version__
from harness import DEPLOY, ROOT

CHART: Final = DEPLOY / "helm" / "connect-autoscaler"
BASE_ALONE: Final[Mapping[str, str | None]] = {
    "namespace.yaml": None,
    "deployment.yaml": ".",
    "networkpolicy.yaml": "network",
}
"""Files of the base that the chart treats apart: helm makes no namespace, and values go into the Deployment."""
NOT_IN_THE_CHART: Final = {"any-node"}  # that is the value `affinity`


def kustomization(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((directory / "kustomization.yaml").read_text())
    return loaded


def copies() -> Iterator[tuple[str, Path]]:
    """Yield what the chart has of other folders: a path below files/, and where it comes from."""
    for folder, name in ((ROOT / "crds", "crds"), (DEPLOY / "content", "content")):
        yield from _resources(folder, name, {})
    yield from _resources(DEPLOY / "base", "base", BASE_ALONE)
    yield from _resources(DEPLOY / "release", "release", {"placement.yaml": "placement"})
    for component in sorted((DEPLOY / "components").iterdir()):
        if component.name not in NOT_IN_THE_CHART:
            yield from _resources(component, component.name, {})
            for patch in kustomization(component).get("patches", ()):
                if "path" in patch:
                    yield f"{component.name}/patches/{patch['path']}", component / patch["path"]


def _resources(source: Path, folder: str, elsewhere: Mapping[str, str | None]) -> Iterator[tuple[str, Path]]:
    for name in kustomization(source).get("resources", ()):
        target = elsewhere.get(name, folder)
        if name.endswith(".yaml") and target:
            yield f"{target}/{name}".removeprefix("./"), source / name


def test_its_files_are_copies_byte_for_byte() -> None:
    wanted = {path: source.read_bytes() for path, source in copies()}
    files = CHART / "files"
    if os.environ.get("UPDATE_GOLDEN"):
        for path in [path for path in files.rglob("*") if path.is_file()]:
            path.unlink()
        for name, content in wanted.items():
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            (files / name).write_bytes(content)
    found = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert found.keys() == wanted.keys()
    stale = [name for name, content in found.items() if content != wanted[name]]
    assert stale == [], "UPDATE_GOLDEN=1 makes them anew"
    assert "crds/connectautoscalingprofiles.yaml" in found


def test_a_copy_says_its_namespace_in_the_form_that_is_replaced() -> None:
    """The chart replaces the words `namespace: connect-autoscaler`, and nothing else."""
    for path, source in copies():
        if path.startswith("crds/"):
            continue
        for line in source.read_text().splitlines():
            if line.strip().startswith("namespace: "):
                assert line.split(": ", 1)[1] in {"connect-autoscaler", "default"}, f"{path}: {line}"


def test_its_version_is_the_operators() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_every_value_is_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}
    for name, value in values.items():
        if isinstance(value, dict) and "properties" in schema["properties"][name]:
            assert value.keys() == schema["properties"][name]["properties"].keys(), name

"""Custom resource definitions of Karpenters whose programs are not built."""

from pathlib import Path
from typing import Any, Final

import yaml

from sandbox.build import find

_CRDS: Final = Path(__file__).with_name("crds")
_SINCE_1_13: Final = {"x-kubernetes-map-type", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}


def karpenter_1_13(directory: Path) -> Path:
    """Fill a directory with the CRDs of Karpenter 1.13, and the NodeClass of the kwok provider; return it."""
    (node_class,) = find("karpenter-1.14-crds").glob("*kwoknodeclasses.yaml")
    for source in (*(_CRDS / "karpenter-1.13").glob("*.yaml"), node_class):
        (directory / source.name).write_text(source.read_text())
    return directory


def karpenter_1_12(directory: Path) -> Path:
    """The same without what came with 1.13: how server-side apply merges maps and lists."""
    for path in karpenter_1_13(directory).glob("karpenter.sh_*.yaml"):
        path.write_text(yaml.safe_dump(_without(yaml.safe_load(path.read_text()), _SINCE_1_13)))
    return directory


def _without(node: Any, keys: set[str]) -> Any:
    if isinstance(node, dict):
        return {key: _without(value, keys) for key, value in node.items() if key not in keys}
    return [_without(each, keys) for each in node] if isinstance(node, list) else node

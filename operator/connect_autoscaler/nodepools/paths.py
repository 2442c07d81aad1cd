"""Paths into a NodePool: how a difference is named, held back and undone.

Karpenter's lists have no order and merge by key, so an element is addressed by its key, never by its index:
``/spec/template/spec/taints[key=workload,effect=NoSchedule]``. A member of a list of words is its own key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connect_autoscaler.api import pointers


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a list, named by its key fields."""

    key: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "[" + ",".join(f"{name}={value}" for name, value in self.key) + "]"

    def matches(self, item: Mapping[str, Any]) -> bool:
        """Whether this is the key of ``item``."""
        return all(item.get(name, "") == value for name, value in self.key)


Path = tuple[str | Element, ...]

TEMPLATE: Final[Path] = ("spec", "template")
KEYED_LISTS: Final[Mapping[Path, tuple[str, ...]]] = {
    ("spec", "template", "spec", "taints"): ("key", "effect"),
    ("spec", "template", "spec", "startupTaints"): ("key", "effect"),
    ("spec", "template", "spec", "requirements"): ("key", "operator"),
}


def pointer(path: Path) -> str:
    """Write a path as a JSON pointer (RFC 6901), elements of keyed lists in brackets."""
    return "".join(str(part) if isinstance(part, Element) else pointers.pointer((part,)) for part in path)


def covers(prefix: str, path: Path) -> bool:
    """Whether a JSON pointer names the path or something above it; ``/`` names everything."""
    return pointers.covers(prefix, pointer(path))


def get(document: Mapping[str, Any], path: Path) -> Any | None:
    """Read the value at a path; None if it is not there. Equal keys give the list of all elements that share it."""
    node: Any = document
    for part in path:
        if isinstance(part, Element):
            found = [item for item in node if part.matches(item)]
            node = found[0] if len(found) == 1 else found or None
        elif isinstance(node, list):
            node = part if part in node else None
        else:
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is None:
            return None
    return node


def transplant(target: dict[str, Any], source: Mapping[str, Any], path: Path) -> None:
    """Make ``target`` at ``path`` what ``source`` is there, absent included. Changes ``target`` in place."""
    *_, last = path
    where = path[:-1]
    if isinstance(last, Element):
        here, there = get(target, where), get(source, where)
        kept = [item for item in here or [] if not last.matches(item)]
        taken = [item for item in there or [] if last.matches(item)]
        # A list that is emptied goes if the source has none: Karpenter's hash tells an empty one from an absent one.
        value = kept + taken or (None if here is None or there is None else [])
    else:
        where, value = path, get(source, path)
    if value is None:
        _drop(target, where)
    else:
        _put(target, where, value)


def _put(target: dict[str, Any], path: Path, value: Any) -> None:
    *above, last = (str(part) for part in path)
    node: Any = target
    for part in above:
        node = node.setdefault(part, {})
    if isinstance(node, list):
        node += [value] if value not in node else []
    else:
        node[last] = value


def _drop(target: dict[str, Any], path: Path) -> None:
    """Remove a field, and what holds nothing without it: the API server answers 422 to an apply of ``limits: {}``."""
    *_, last = path
    parent = get(target, path[:-1])
    if isinstance(parent, list) and last in parent:
        parent.remove(last)
    elif isinstance(parent, dict):
        parent.pop(str(last), None)
    if parent in ([], {}) and len(path) > 1:
        _drop(target, path[:-1])

"""Values documents: what is in effect, what is where, and when two values mean the same."""

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]
Path = tuple[str, ...]
_DEEPEST: Final = 100
"""Levels that values may have: all that walks through them calls itself."""


def checked(document: Any) -> Json:
    """Give back a values document that somebody else has written; nothing is an empty one.

    Raises:
        TypeError: It is no map.
        ValueError: It is nested deeper than 100 levels.
    """
    if not isinstance(document, dict | None):
        raise TypeError("values are a map")
    level: list[Any] = [document or {}]
    for _ in range(_DEEPEST):
        below = (each for node in level for each in (node.values() if isinstance(node, dict) else node))
        level = list({id(each): each for each in below if isinstance(each, dict | list)}.values())
    if level:
        raise ValueError(f"values are nested {_DEEPEST} levels deep at most")
    return document or {}


def effective(defaults: Mapping[str, Any], config: Mapping[str, Any]) -> Json:
    """What templates see: maps are merged, lists replaced, and a null removes the default.

    Source: Helm's ``chartutil.CoalesceValues``.
    """
    merged = dict(defaults)
    for key, value in config.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = effective(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def get(document: Any, path: Path) -> Any | None:
    """The value at a path; None if it is not there."""
    for part in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(part)
    return document


def has(document: Any, path: Path) -> bool:
    """Whether there is anything at a path, and be it null."""
    *above, last = path
    parent = get(document, tuple(above))
    return isinstance(parent, Mapping) and last in parent


def put(document: Json, path: Path, value: Any) -> None:
    """Set the value at a path, in place; what is null or missing above it becomes a map."""
    *above, last = path
    for part in above:
        if not isinstance(document.get(part), dict):
            document[part] = {}
        document = document[part]
    document[last] = value


def drop(document: Json, path: Path) -> None:
    """Remove the key at a path, in place."""
    *above, last = path
    parent = get(document, tuple(above))
    if isinstance(parent, dict):
        parent.pop(last, None)


def same(one: Any, other: Any) -> bool:
    """Whether two values mean the same: ``1`` and ``1.0``, ``true`` and ``"true"``, a missing map key and null.

    A release that went through Helm has floats for integers; charts quote booleans where text is needed.
    """
    return bool(canonical(one) == canonical(other))


def canonical(value: Any) -> Any:
    """Give values of the same meaning one form."""
    if isinstance(value, dict):
        return {str(key): canonical(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [canonical(each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(int(value)) if float(value).is_integer() else repr(float(value))
    return value

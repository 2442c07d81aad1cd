"""What of a CRD may trouble who relied on an older one, by the rules of docs/explanation/upgrades.md."""

from collections.abc import Iterator
from math import inf
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

_NAMES: Final = ("kind", "listKind", "plural", "singular")
_LOWER: Final = {"minimum": -inf, "minLength": 0, "minItems": 0, "minProperties": 0}
_UPPER: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
_EQUAL: Final = ("type", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")
_RULES: Final = "x-kubernetes-validations"
_ELSEWHERE: Final = ("properties", "items", "additionalProperties", "required", "enum", "pattern", "format", "default")
_PROSE: Final = ("description", "title", "example", "externalDocs")
_JUDGED: Final = frozenset({*_LOWER, *_UPPER, *_EQUAL, _RULES, *_ELSEWHERE, *_PROSE})
"""Keywords with a rule of their own. Any other must stay as it is."""


class Change(NamedTuple):
    """A difference.

    Attributes:
        path: Where: names with dots between them, ``[]`` for the items of a list, ``{}`` for the values of a map.
        what: What it is.
        breaks: Whether something that was right is wrong now; else somebody should think about it.
    """

    path: str
    what: str
    breaks: bool = True


def changes(old: Json, new: Json) -> Iterator[Change]:
    """Compare two definitions of a resource.

    Args:
        old: What users have.
        new: What they would get.

    Yields:
        What breaks something, or may do so; nothing for additions and for what is loosened.
    """
    before, after = old["spec"], new["spec"]
    for key in ("group", "scope"):
        yield from _unequal("spec", key, before, after)
    for key in _NAMES:
        yield from _unequal("spec.names", key, before["names"], after["names"])
    for name in set(before["names"].get("shortNames", ())) - set(after["names"].get("shortNames", ())):
        yield Change("spec.names.shortNames", f"{name} is gone")
    versions = {each["name"]: each for each in after["versions"]}
    for version in before["versions"]:
        if version["served"]:
            yield from _version(version, versions.get(version["name"]))


def _version(old: Json, new: Json | None) -> Iterator[Change]:
    name = old["name"]
    if new is None or not new["served"]:
        yield Change(name, "the version is gone")
        return
    if old["storage"] and not new["storage"]:
        yield Change(name, "another version is stored: objects have to be migrated", breaks=False)
    for each in old.get("subresources", {}).keys() - new.get("subresources", {}).keys():
        yield Change(name, f"the subresource {each} is gone")
    yield from _schema(name, old["schema"]["openAPIV3Schema"], new["schema"]["openAPIV3Schema"])


def _schema(path: str, old: Json, new: Json) -> Iterator[Change]:
    for key in _EQUAL:
        yield from _unequal(path, key, old, new)
    yield from _narrowed(path, old, new)
    if old.get("default") != new.get("default"):
        yield Change(path, f"the default was {old.get('default')}, and is {new.get('default')}")
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        if "default" not in new["properties"].get(name, {}):  # defaults are filled in before anything is judged
            yield Change(f"{path}.{name}", "is required")
    for rule in new.get(_RULES, ()):
        if rule["rule"] not in {each["rule"] for each in old.get(_RULES, ())}:
            yield Change(path, f"a new rule, which old objects may break: {rule['rule']}", breaks=False)
    for key in sorted((old.keys() | new.keys()) - _JUDGED):
        yield from _unequal(path, key, old, new)
    yield from _below(path, old, new)


def _below(path: str, old: Json, new: Json) -> Iterator[Change]:
    properties = new.get("properties", {})
    for name, below in old.get("properties", {}).items():
        if name in properties:
            yield from _schema(f"{path}.{name}", below, properties[name])
        else:
            yield Change(f"{path}.{name}", "is gone")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from _schema(path + mark, old[key], new[key])
        else:
            yield from _unequal(path, key, old, new)


def _narrowed(path: str, old: Json, new: Json) -> Iterator[Change]:
    for key, least in _LOWER.items():
        if new.get(key, least) > old.get(key, least):
            yield Change(path, f"{key} is raised to {new[key]}")
    for key in _UPPER:
        if new.get(key, inf) < old.get(key, inf):
            yield Change(path, f"{key} is lowered to {new[key]}")
    if "enum" in new and (lost := [each for each in old.get("enum", ("anything",)) if each not in new["enum"]]):
        yield Change(path, f"enum has no {', '.join(map(str, lost))} any more")
    for key in ("pattern", "format"):  # of two patterns nobody can say which one allows more
        if key in new:
            yield from _unequal(path, key, old, new)


def _unequal(path: str, key: str, old: Json, new: Json) -> Iterator[Change]:
    if old.get(key) != new.get(key):
        yield Change(path, f"{key} was {old.get(key)}, and is {new.get(key)}")

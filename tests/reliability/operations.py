"""Every property of a spec with values to give it: good ones, bad ones, and what no schema can know to be bad.

A campaign deals these operations out to chains (`operations_chain`), which change profiles by them one after another.
The CRD says which properties there are; the values are those on either side of its bounds, patterns and rules.
"""

import copy
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import ValidationError

from connect_autoscaler.api.spec import ProfileSpec
from crd_schema import POOLS, Field, fields, root
from harness import NODE_CLASS
from integration.crd_pattern_cases import PATTERNS
from integration.crd_spec_cases import CASES
from profile_specs import FULL, Spec, merged, on, with_value

GONE: Final = "<absent>"
"""Value of an operation that removes the property."""
NODE_CLASSES: Final = ("default", "other", "a.b-c.9", "0")
"""Names of the NodeClasses that exist in a campaign."""
LIST: Final = ("serverPool", "contentPool", "additionalContentPools")
WHOLE: Final[Spec] = json.loads(json.dumps(FULL).replace(', "Unhealthy"', ""))
"""The full spec, without what needs a Karpenter newer than the campaign's."""
_IMMUTABLE: Final = (
    *(("nodeClassRef", field) for field in ("group", "kind")),
    *(("placement", field) for field in ("labelKey", "server", "content")),
    *((pool, field) for pool in ("serverPool", "contentPool") for field in ("name", "management")),
    *(("release", field) for field in ("namespace", "name")),
)
_WORDS: Final = ("kubectl-edit", "a", "ä" * 20)
_NOTHING: Final = (LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Operation:
    """One change of a spec.

    Attributes:
        path: Of the property, as in the CRD, without `spec.`; empty: the value is a merge patch of the whole spec.
        value: JSON text of what it becomes, or `GONE`.
        of: The property that it is a value of.
    """

    path: str
    value: str
    of: str

    def __str__(self) -> str:
        return f"{self.path or 'patch'} = {self.value[:160]}"

    def applied(self, spec: Spec, own: str) -> Spec:
        """Return the spec after it; whatever must stay as it was stays unless the operation is about that.

        Where the value fits nothing that the spec has, it comes with the rest of its section.
        """
        section = re.split(r"[.\[{]", self.path)[0]
        full = localized(WHOLE, own)
        candidates = [spec]
        if self.path:
            candidates += [{**spec, section: full[section]}]
            candidates += (
                [{**spec, section: with_value(full, "release.chart", {})[section]}] if section == "release" else []
            )
        tried = [changed for each in candidates if (changed := self._changed(each, spec, own)) is not None]
        return next((each for each in tried if valid(each)), tried[0] if tried else spec)

    def _changed(self, base: Spec, spec: Spec, own: str) -> Spec | None:
        if not self.path:
            return localized(merged(spec, json.loads(self.value)), own)
        try:
            result = (
                _without(base, self.path) if self.value == GONE else with_value(base, self.path, json.loads(self.value))
            )
        except _NOTHING:
            return None
        if self.path.partition(".")[0] != self.path and not self.path.endswith((".name", ".namespace", ".management")):
            result = _keeping(result, spec, self.path)
        return localized(result, own)


def valid(spec: Spec) -> bool:
    """Tell whether the models take the spec, as the API server does according to tests of their own."""
    try:
        ProfileSpec.model_validate(spec)
    except ValidationError:
        return False
    return True


def movable(old: Spec, new: Spec) -> bool:
    """Tell whether nothing is changed that is immutable; both specs are as the API server fills them in."""
    if any(_get(old, *path) != _get(new, *path) for path in _IMMUTABLE[:-2]):
        return False
    if old.get("release") and new.get("release") and any(_get(old, *p) != _get(new, *p) for p in _IMMUTABLE[-2:]):
        return False
    before = {pool["name"]: pool for pool in pools(old)}
    for pool in pools(new):
        was = before.get(pool["name"])
        if was is None:
            continue
        if was.get("management") != pool.get("management"):
            return False
        if _kind(was, old) != _kind(pool, new):
            return False
    return True


def pools(spec: Spec) -> list[Spec]:
    """Return all pools, the server pool first."""
    return [spec["serverPool"], spec["contentPool"], *spec.get("additionalContentPools", ())]


def node_class(pool: Spec, spec: Spec) -> Spec:
    """Return the NodeClass of a pool."""
    return dict(pool.get("nodeClassRef") or spec["nodeClassRef"])


def _kind(pool: Spec, spec: Spec) -> tuple[str, str]:
    ref = node_class(pool, spec)
    return ref["group"], ref["kind"]


def localized(spec: Spec, own: str) -> Spec:
    """Return the spec with names of its own: NodePools, placement and release belong to one profile each."""
    result = copy.deepcopy(spec)
    for key in LIST:
        for pool in result[key] if isinstance(result.get(key), list) else [result.get(key)]:
            if isinstance(pool, dict):
                _own(pool, "name", own)
                _existing(pool.get("nodeClassRef"))
    _existing(result.get("nodeClassRef"))
    _own(result.get("release"), "name", own)
    for key in ("server", "content"):
        _own(result.get("placement"), key, own)
    return result


def _own(node: Any, key: str, own: str) -> None:
    if isinstance(node, dict) and isinstance(text := node.get(key), str) and re.fullmatch(r"[A-Za-z0-9._-]+", text):
        node[key] = text if text.startswith(own) else f"{own}-{text}".removesuffix("-")[:53]


def _existing(reference: Any) -> None:
    if isinstance(reference, dict) and reference.get("group") == "karpenter.k8s.aws" and reference.get("name"):
        reference.update(group=NODE_CLASS["group"], kind=NODE_CLASS["kind"])


@cache
def catalogue() -> tuple[Operation, ...]:
    """Return every operation once, in the order of the CRD."""
    found = [
        operation
        for field in fields(root())
        if field.path.startswith("spec.")
        for value in _values(field)
        for operation in [Operation(field.path[5:], _text(value), re.sub(r"(\[\]|\{\})+$", "", field.path[5:]))]
    ]
    patches = [(case.path, patch) for case in CASES for patch in (*case.accept, *case.reject) if patch]
    found += [Operation("", _text(patch), path.removeprefix("spec.")) for path, patch in patches]
    found += [Operation("", _text(patch), path) for path, patch in _together()]
    return tuple(dict.fromkeys(found))


def properties() -> list[str]:
    """Return every property of the spec, as in the CRD, without `spec.`."""
    return [field.path[5:] for field in fields(root()) if field.path.startswith("spec.") and field.is_property]


def deck(rounds: int, seed: int) -> list[Operation]:
    """Return all operations in a random order, as often as asked, each time in another one."""
    dealt: list[Operation] = []
    for number in range(rounds):
        some = list(catalogue())
        random.Random(f"{seed}/{number}").shuffle(some)  # noqa: S311 - it is to be the same every time
        dealt += some
    return dealt


def _together() -> Iterator[tuple[str, Spec]]:
    """Yield properties with patches that give them values which need others beside them."""
    numbers, words = {"values": ["4"]}, {"values": ["b"]}
    operators = {"In": words, "NotIn": words, "Exists": {}, "DoesNotExist": {}}
    operators |= dict.fromkeys(("Gt", "Lt", "Gte", "Lte"), numbers)
    for pool in POOLS:
        for operator, more in operators.items():
            requirement = {"key": "example.com/size", "operator": operator, **more}
            yield f"{pool}.requirements[].operator", on(pool, {"requirements": [requirement]})
    for nodes, release in (("Retain", "Keep"), ("Retain", "Restore"), ("Delete", "Restore")):
        yield "deletionPolicy.nodePools", {"deletionPolicy": {"nodePools": nodes, "release": release}}
    for target in ({"kind": "Release"}, {"kind": "NodePool"}, {"kind": "NodePool", "name": "other"}):
        rule = {"target": target, "paths": ["/example"]}
        yield "driftPolicy.ignore[].target.kind", {"driftPolicy": {"ignore": [rule]}}


def _values(field: Field) -> Iterator[Any]:
    schema = field.schema
    if field.is_property:
        yield GONE
    if field.path in PATTERNS:
        _, good, bad = PATTERNS[field.path]
        yield from (*good, *bad)
    elif "enum" in schema:
        yield from (*schema["enum"], "nonsense")
    elif schema.get("type") == "boolean":
        yield from (True, False, "true")
    elif schema.get("type") == "integer":
        low, high = schema["minimum"], schema["maximum"]
        yield from (low, (low + high) // 2, high, low - 1, high + 1, "1")
    elif schema.get("type") == "string":
        yield from (*_WORDS, 5)
    elif schema.get("type") in {"array", "object"}:
        yield from _containers(field)


def _containers(field: Field) -> Iterator[Any]:
    """Return what a list, a map or an object may be: empty, as in the full spec, and with one thing in it changed."""
    path = field.path[5:]
    yield from ([] if field.schema["type"] == "array" else {}, "text")
    try:
        yield _at(WHOLE, path)
    except _NOTHING:
        return
    below = [each for each in fields(field.schema, field.path) if each.path != field.path and each.path in PATTERNS]
    for each in below[:3]:
        for value in PATTERNS[each.path][1][1:3]:
            yield _at(with_value(WHOLE, each.path[5:], value), path)
    if field.schema["type"] == "array" and "enum" in field.schema.get("items", {}):
        yield from ([each] for each in field.schema["items"]["enum"])
    elif field.schema["type"] == "array":
        yield [*_at(WHOLE, path), *_at(WHOLE, path)]
        if field.schema["items"].get("type") == "string":
            yield from ([word] for word in _WORDS)


def _at(spec: Spec, path: str) -> Any:
    """Return what stands at a path: the first entry of lists and maps on the way is meant."""
    mark = object()
    changed = with_value(spec, path, mark)
    return _where(spec, changed, mark)


def _where(was: Any, now: Any, mark: object) -> Any:
    """Return what is in one document where the other has the mark."""
    if isinstance(now, dict):
        keys = [
            key for key in now if now[key] is mark or (isinstance(now[key], dict | list) and _holds(now[key], mark))
        ]
    else:
        keys = [
            n for n, each in enumerate(now) if each is mark or (isinstance(each, dict | list) and _holds(each, mark))
        ]
    (key,) = keys
    return was[key] if now[key] is mark else _where(was[key], now[key], mark)


def _holds(node: Any, mark: object) -> bool:
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(each is mark or _holds(each, mark) for each in below)


def _without(spec: Spec, path: str) -> Spec:
    marked = with_value(spec, path, GONE)
    return dict(_pruned(marked))


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(below) for key, below in value.items() if below != GONE}
    return [_pruned(below) for below in value if below != GONE] if isinstance(value, list) else value


def _keeping(result: Spec, spec: Spec, path: str) -> Spec:
    """Return it with what is immutable as it was, but for what the operation is about."""
    for section, key in _IMMUTABLE:
        if (
            f"{section}.{key}" != path
            and isinstance(result.get(section), dict)
            and _get(spec, section, key) is not None
        ):
            result = {**result, section: {**result[section], key: _get(spec, section, key)}}
    return result


def _get(spec: Spec, section: str, key: str) -> Any:
    return (spec.get(section) or {}).get(key)


def _text(value: Any) -> str:
    return GONE if value is GONE else json.dumps(value, sort_keys=True)

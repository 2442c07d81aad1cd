"""Every way to bend a NodePool, made from the pool itself: each field changed, removed, or joined by an extra one."""

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from harness import Json

_TEMPLATE: Final = "/spec/template/spec"
_BUDGETS: Final = "/spec/disruption/budgets"
_KEYED: Final = {
    f"{_TEMPLATE}/taints": ("key", "effect"),
    f"{_TEMPLATE}/startupTaints": ("key", "effect"),
    f"{_TEMPLATE}/requirements": ("key", "operator"),
}
_DEFAULTS: Final = {
    f"{_TEMPLATE}/expireAfter": "720h",
    "/spec/disruption/consolidationPolicy": "WhenEmptyOrUnderutilized",
    "/spec/disruption/consolidateAfter": "0s",
    _BUDGETS: [{"nodes": "10%"}],
}
"""What the API server puts in the place of a removed field."""
_IMMUTABLE: Final = {f"{_TEMPLATE}/nodeClassRef/group", f"{_TEMPLATE}/nodeClassRef/kind"}
_REQUIRED: Final = _IMMUTABLE | {
    "/spec/template",
    _TEMPLATE,
    f"{_TEMPLATE}/nodeClassRef",
    f"{_TEMPLATE}/nodeClassRef/name",
    f"{_TEMPLATE}/requirements",
    "/spec/disruption/consolidateAfter",  # up to Karpenter 1.14
}
_OTHER: Final[dict[str, Any]] = {
    "consolidateAfter": "77m",
    "duration": "7h",
    "effect": "PreferNoSchedule",
    "expireAfter": "123h",
    "key": "example.com/bent",
    "minValues": 1,
    "nodes": "17%",
    "schedule": "5 5 * * *",
    "terminationGracePeriod": "123m",
    "weight": 77,
}
_OPPOSITE: Final = {"In": "NotIn", "NotIn": "In", "Gt": "Lt", "Lt": "Gt", "Exists": "DoesNotExist"}
_POLICIES: Final = {"WhenEmpty": "WhenEmptyOrUnderutilized", "WhenEmptyOrUnderutilized": "WhenEmpty"}
_MARKS: Final = {"labels", "annotations"}


@dataclass(frozen=True)
class Item:
    """What status has to say: the path, and the wanted and the found value; None: not there."""

    path: str
    expected: Any
    actual: Any


@dataclass(frozen=True)
class Bend:
    """A JSON patch of a NodePool, and the drift that it makes; without items the API server refuses the patch."""

    operations: tuple[Json, ...]
    items: tuple[Item, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{operation['op']} {operation['path']}" for operation in self.operations)

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(item.path for item in self.items)


def changed(pool: Json) -> Iterator[Bend]:
    """Every field with another value."""
    for at, value in _nodes(pool["spec"], "/spec"):
        if at in _KEYED:
            for index, element in enumerate(value):
                for name in element:
                    new = {**element, name: _other(name, element[name])}
                    yield Bend((_replace(f"{at}/{index}", new),), _exchanged(at, element, new))
        elif at == _BUDGETS:
            for index, budget in enumerate(value):
                for name in budget:
                    new = copy.deepcopy(value)
                    new[index][name] = _other(name, budget[name])
                    yield Bend((_replace(at, new),), (Item(at, value, new),))
        elif not isinstance(value, dict):
            other = "7" if at.startswith("/spec/limits/") else _other(at.rpartition("/")[2], value)
            yield Bend((_replace(at, other),), () if at in _IMMUTABLE else (Item(at, value, other),))
    for at, value in _marks(pool):
        yield Bend((_replace(at, "bent"),), (Item(at, value, "bent"),))


def removed(pool: Json) -> Iterator[Bend]:
    """Every field, list element, list and map without what is there."""
    for at, value in _nodes(pool["spec"], "/spec"):
        if at == "/spec":
            continue
        items = tuple(_items(at, value))
        if items or at in _REQUIRED:  # else it was the API server's default, and comes back
            yield _removal(at, () if at in _REQUIRED else items)
        if at in _KEYED:
            yield from _fewer_elements(at, value)
        elif at == _BUDGETS:
            yield from _fewer_budgets(value)
    marks = dict(_marks(pool))
    for at, value in marks.items():
        yield _removal(at, (Item(at, value, None),))
    for field in _MARKS:
        at = f"/metadata/{field}"
        yield _removal(at, tuple(Item(mark, value, None) for mark, value in marks.items() if mark.startswith(at)))
    if finalizers := pool["metadata"].get("finalizers"):
        items = tuple(Item(f"/metadata/finalizers/{_escaped(each)}", each, None) for each in finalizers)
        yield _removal("/metadata/finalizers", items)
        yield Bend((_replace("/metadata/finalizers", ["example.com/other"]),), items)


def _fewer_elements(at: str, elements: list[Json]) -> Iterator[Bend]:
    for index, element in enumerate(elements):
        item = Item(_named(at, element), element, None)
        yield _removal(f"{at}/{index}", (item,))
        for name in sorted(element.keys() & {"value", "minValues"}):
            less = {key: element[key] for key in element if key != name}
            yield _removal(f"{at}/{index}/{name}", (replace(item, actual=less),))


def _fewer_budgets(budgets: list[Json]) -> Iterator[Bend]:
    for index, budget in enumerate(budgets):
        before, after = budgets[:index], budgets[index + 1 :]
        yield _removal(f"{_BUDGETS}/{index}", (Item(_BUDGETS, budgets, before + after),))
        for names in (["reasons"], ["schedule", "duration"]):
            if budget.keys() >= set(names):
                less = {key: budget[key] for key in budget if key not in names}
                operations = tuple(_remove(f"{_BUDGETS}/{index}/{name}") for name in names)
                yield Bend(operations, (Item(_BUDGETS, budgets, [*before, less, *after]),))


def joined(pool: Json) -> Iterator[Bend]:
    """Every list and map with one more in it, and every field that is not there."""
    spec = pool["spec"]
    template, disruption = spec["template"], spec["disruption"]
    metadata = template["metadata"]
    taint = {"key": "example.com/extra", "effect": "NoExecute", "value": "yes"}
    for name in ("taints", "startupTaints"):
        yield _extra(f"{_TEMPLATE}/{name}", template["spec"].get(name), taint)
    for requirement in (
        {"key": "example.com/extra", "operator": "Exists"},
        {"key": "kubernetes.io/os", "operator": "NotIn", "values": ["windows"]},
    ):
        yield _extra(f"{_TEMPLATE}/requirements", template["spec"]["requirements"], requirement)
    first = template["spec"]["requirements"][0]
    twin = {**first, "values": ["twin"]}
    at = f"{_TEMPLATE}/requirements"
    yield Bend((_add(f"{at}/-", twin),), (Item(_named(at, first), first, [first, twin]),))
    for at, present in (
        ("/spec/template/metadata/labels", metadata["labels"]),
        ("/spec/template/metadata/annotations", metadata.get("annotations")),
        ("/spec/limits", spec.get("limits")),
    ):
        key, value = ("cpu" if "cpu" not in (present or {}) else "pods", "7") if "limits" in at else ("extra", "yes")
        operation = _add(at, {key: value}) if present is None else _add(f"{at}/{key}", value)
        yield Bend((operation,), (Item(f"{at}/{key}", None, value),))
    absent: tuple[tuple[str, Json, Any], ...] = (
        # Karpenter's hash tells an empty map or list from an absent one: nodes would be replaced.
        ("/spec/template/metadata/annotations", metadata, {}),
        (f"{_TEMPLATE}/taints", template["spec"], []),
        (f"{_TEMPLATE}/startupTaints", template["spec"], []),
        (f"{_TEMPLATE}/terminationGracePeriod", template["spec"], "1h"),
        ("/spec/weight", spec, 7),
    )
    for at, parent, new in absent:
        if at.rpartition("/")[2] not in parent:
            yield Bend((_add(at, new),), (Item(at, None, new),))
    budgets = disruption["budgets"]
    more = {"nodes": "3", "reasons": ["Drifted"]}
    yield Bend((_add(f"{_BUDGETS}/-", more),), (Item(_BUDGETS, budgets, [*budgets, more]),))
    yield Bend((_replace(_BUDGETS, []),), (Item(_BUDGETS, budgets, []),))
    yield Bend((_add("/spec/replicas", 1),))


def fields(schema: Json, at: str = "") -> Iterator[str]:
    """Every field that a structural schema knows, keys of maps and places in lists left out."""
    for name, child in schema.get("properties", {}).items():
        yield f"{at}/{name}"
        yield from fields(child, f"{at}/{name}")
    if isinstance(items := schema.get("items"), dict):
        yield from fields(items, at)


def touched(bends: Iterable[Bend], at: str = "/spec") -> set[str]:
    """Every field that JSON patches write or remove, in the words of `fields`."""
    return {
        re.sub(r"(/(labels|annotations|limits))/.*|/(\d+|-)(?=/|$)", r"\1", path)
        for bend in bends
        for operation in bend.operations
        for path, _ in [(operation["path"], None), *_written(operation.get("value"), operation["path"])]
        if path.startswith(at)
    }


def _written(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for element in value:
            yield from _written(element, at)
    else:
        yield from _nodes(value, at)


def rounds(bends: Iterable[Bend], *, most: int) -> list[list[Bend]]:
    """Share bends out so that none of a round hides another in status: no path twice, at most so many items."""
    result: list[list[Bend]] = []
    for bend in bends:
        if not bend.items:
            continue
        for group in result:
            taken = [path for other in group for path in other.paths]
            if bend.paths.isdisjoint(taken) and len(taken) + len(bend.paths) <= most:
                group.append(bend)
                break
        else:
            result.append([bend])
    return result


def _nodes(node: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Every map, list and value of a spec, with its JSON pointer; lists are not taken apart."""
    yield at, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _nodes(value, f"{at}/{_escaped(key)}")


def _marks(pool: Json) -> Iterator[tuple[str, str]]:
    for field in sorted(_MARKS):
        for key, value in pool["metadata"][field].items():
            yield f"/metadata/{field}/{_escaped(key)}", value


def _items(at: str, value: Any) -> Iterator[Item]:
    """What is missing once a node is removed."""
    if at in _KEYED:
        yield from (Item(_named(at, element), element, None) for element in value)
    elif isinstance(value, dict):
        for key in value:
            yield from _items(f"{at}/{_escaped(key)}", value[key])
    elif value != _DEFAULTS.get(at):
        yield Item(at, value, _DEFAULTS.get(at))


def _other(name: str, value: Any) -> Any:
    match name:
        case "consolidationPolicy":
            return _POLICIES[value]
        case "operator":
            return _OPPOSITE[value]
        case "reasons":
            return ["Empty"] if value != ["Empty"] else ["Drifted"]
        case "values":
            return ["7"] if value[0].isdigit() else ["bent", "too"]
    return _OTHER.get(name, "7" if str(value)[0].isdigit() else "bent")


def _exchanged(at: str, old: Json, new: Json) -> tuple[Item, ...]:
    before, after = _named(at, old), _named(at, new)
    return (Item(before, old, new),) if before == after else (Item(before, old, None), Item(after, None, new))


def _extra(at: str, present: list[Json] | None, element: Json) -> Bend:
    operation = _add(at, [element]) if present is None else _add(f"{at}/-", element)
    return Bend((operation,), (Item(_named(at, element), None, element),))


def _named(at: str, element: Json) -> str:
    return f"{at}[{','.join(f'{name}={element[name]}' for name in _KEYED[at])}]"


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _removal(at: str, items: tuple[Item, ...]) -> Bend:
    return Bend((_remove(at),), items)


def _remove(at: str) -> Json:
    return {"op": "remove", "path": at}


def _replace(at: str, value: Any) -> Json:
    return {"op": "replace", "path": at, "value": value}


def _add(at: str, value: Any) -> Json:
    return {"op": "add", "path": at, "value": value}

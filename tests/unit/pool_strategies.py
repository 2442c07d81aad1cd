"""NodePools by chance: their other spellings, and single edits of them."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from connect_autoscaler.nodepools.compare import Difference
from connect_autoscaler.nodepools.paths import KEYED_LISTS, Element, Path, get

Json = dict[str, Any]

TEMPLATE: Path = ("spec", "template")
_DEFAULTS: Mapping[Path, Any] = {
    ("spec", "disruption", "consolidationPolicy"): "WhenEmptyOrUnderutilized",
    ("spec", "disruption", "consolidateAfter"): "0s",
    ("spec", "disruption", "budgets"): [{"nodes": "10%"}],
    (*TEMPLATE, "spec", "expireAfter"): "720h",
}
_EMPTY: Mapping[Path, Any] = {("spec", "limits"): {}, (*TEMPLATE, "metadata", "labels"): {}, ("spec", "future"): {}}
_DURATIONS: tuple[Path, ...] = (
    ("spec", "disruption", "consolidateAfter"),
    (*TEMPLATE, "spec", "expireAfter"),
    (*TEMPLATE, "spec", "terminationGracePeriod"),
)

# Catalogues, and not strategies down to the last letter: drawing is what takes the time.
_EFFECTS = ("NoSchedule", "NoExecute")
_KEYS = ("a", "example.com/gpu", "workload")
_TAINTS: tuple[Json, ...] = tuple(
    {"key": key, "effect": effect, **({"value": value} if value else {})}
    for key in _KEYS
    for effect in _EFFECTS
    for value in ("", "x", "y")
)
_REQUIREMENTS: tuple[Json, ...] = (
    *({"key": key, "operator": "In", "values": ["x", "y", "z"][:n]} for key in _KEYS for n in (1, 3)),
    *({"key": key, "operator": "NotIn", "values": ["y", "x"]} for key in _KEYS),
    *({"key": key, "operator": "Exists"} for key in _KEYS),
    {"key": "a", "operator": "DoesNotExist"},
    {"key": "a", "operator": "Gt", "values": ["4"]},
    {"key": "b", "operator": "In", "values": ["x", "y"], "minValues": 2},
)
_BUDGETS: tuple[Json, ...] = tuple(
    {
        "nodes": nodes,
        **({"reasons": reasons} if reasons is not None else {}),
        **({"schedule": "0 9 * * MON-FRI", "duration": duration} if duration else {}),
    }
    for nodes in ("0", "10%")
    for reasons in (None, [], ["Empty"], ["Underutilized", "Empty", "Drifted"])
    for duration in (None, "8h", "90m")
)
_MAPS: tuple[Json, ...] = ({}, {"a": "x"}, {"a": "y", "example.com/b": "x"}, {"workload": "connect-server"})
_LIMITS: tuple[Json, ...] = ({}, {"cpu": "64"}, {"cpu": "64000"}, {"cpu": "0", "memory": "2097152", "a/b": "7"})
_LENGTHS = ("1s", "90s", "3600s", "5400s", "86399s", "2592000s")


def _some(catalogue: Sequence[Json], *key: str) -> st.SearchStrategy[list[Json]]:
    return st.lists(
        st.sampled_from(catalogue), max_size=3, unique_by=lambda item: tuple(str(item.get(name)) for name in key)
    )


_POOLS = st.fixed_dictionaries(
    {
        "requirements": _some(_REQUIREMENTS, "key", "operator"),
        "taints": _some(_TAINTS, "key", "effect"),
        "startupTaints": _some(_TAINTS, "key", "effect"),
        "expireAfter": st.sampled_from(("Never", *_LENGTHS)),
        "terminationGracePeriod": st.sampled_from((None, *_LENGTHS)),
        "labels": st.sampled_from(_MAPS),
        "annotations": st.sampled_from(_MAPS),
        "consolidationPolicy": st.sampled_from(("WhenEmpty", "WhenEmptyOrUnderutilized")),
        "consolidateAfter": st.sampled_from(("Never", *_LENGTHS)),
        "budgets": _some(_BUDGETS, "nodes", "reasons", "duration"),
        "limits": st.sampled_from(_LIMITS),
        "weight": st.sampled_from((None, 1, 100)),
    }
)


def pools() -> st.SearchStrategy[Json]:
    """Return NodePools as the operator renders them, with anything in them that the CRD allows."""
    return _POOLS.map(_pool)


def _pool(fields: Json) -> Json:
    inner = ("requirements", "taints", "startupTaints", "expireAfter", "terminationGracePeriod")
    # Not one copy of the whole, which would keep two fields the same object.
    of = {name: copy.deepcopy(value) for name, value in fields.items()}
    whole = {
        "template": {
            "metadata": _present({name: of[name] for name in ("labels", "annotations")}),
            "spec": {
                "requirements": [],
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
                **_present({name: of[name] for name in inner}),
            },
        },
        "disruption": {name: of[name] for name in ("consolidationPolicy", "consolidateAfter", "budgets")},
        **_present({name: of[name] for name in ("limits", "weight")}),
    }
    ours = {"labels": {"example.com/ours": "x"}, "finalizers": ["example.com/ours"]}
    return {"metadata": {"name": "x", **ours}, "spec": whole}


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


@st.composite
def respelled(draw: st.DrawFn, pool: Json) -> Json:
    """Return the same NodePool in other words: as the API server might hold it, or somebody might write it."""
    result = copy.deepcopy(pool)
    reverse, more, less = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    for path in _DURATIONS:
        _change(result, path, lambda value: value if value == "Never" else draw(_durations(int(value[:-1]))))
    limits = result["spec"].get("limits", {})
    result["spec"]["limits"] = {name: draw(_quantities(int(value))) for name, value in limits.items()}
    for path in KEYED_LISTS:
        _change(result, path, lambda items: [_element(i, reverse=reverse, more=more) for i in _turned(draw, items)])
    _change(
        result,
        ("spec", "disruption", "budgets"),
        lambda items: [_budget(i, reverse=reverse, more=more) for i in _turned(draw, items)],
    )
    for path, default in _DEFAULTS.items():
        if get(result, path) == default and less:
            _remove(result, path)
    for path, empty in _EMPTY.items():
        if get(result, path) in (None, empty):
            _remove(result, path) if less else _set(result, path, copy.deepcopy(empty))
    result["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] = "theirs"
    result["metadata"]["annotations"] = {"karpenter.sh/nodepool-hash": "1"}
    result["metadata"]["finalizers"] += ["theirs"]
    result["status"] = {"nodes": 3}
    return result


def _turned(draw: st.DrawFn, items: list[Json]) -> list[Json]:
    by = draw(st.integers(0, 2))
    return items[by:] + items[:by]


def _durations(length: int) -> st.SearchStrategy[str]:
    hours, minutes, rest = f"{length // 3600}h", f"{length % 3600 // 60}m", f"{length % 60}s"
    spellings = [f"{length}s", f"0{length}s", hours + minutes + rest, rest + minutes + hours]
    return st.sampled_from(spellings)


def _quantities(amount: int) -> st.SearchStrategy[int | str]:
    spellings: list[int | str] = [amount, str(amount), f"+{amount}", f"{amount}.0", f"{amount}000m", f"{amount}e0"]
    spellings += [f"{amount // 1024}Ki"] if amount % 1024 == 0 else []
    spellings += [f"{amount // 1000}k", f"{amount // 1000}e3"] if amount % 1000 == 0 else []
    return st.sampled_from(spellings)


def _element(item: Json, *, reverse: bool, more: bool) -> Json:
    result = dict(item)
    if "values" in item:
        result["values"] = item["values"][:: -1 if reverse else 1]
    elif "operator" in item and more:
        result["values"] = []
    return result


def _budget(item: Json, *, reverse: bool, more: bool) -> Json:
    result = dict(item)
    if "reasons" in item:
        result["reasons"] = item["reasons"][:: -1 if reverse else 1]
    if "duration" in item and more:
        result["duration"] = {"8h": "8h0m0s", "90m": "1h30m"}[item["duration"]]
    if item["nodes"] == "10%" and more:
        del result["nodes"]
    return result


def _change(document: Json, path: Path, how: Callable[[Any], Any]) -> None:
    if (value := get(document, path)) is not None:
        _set(document, path, how(value))


def _set(document: Json, path: Path, value: Any) -> None:
    *above, last = (str(part) for part in path)
    node = document
    for part in above:
        node = node.setdefault(part, {})
    node[last] = value


def _remove(document: Json, path: Path) -> None:
    parent = get(document, path[:-1])
    if parent is not None:
        parent.pop(str(path[-1]), None)


# One thing, and what becomes of it: any other value than these stand nowhere in the pools above.
_SCALARS: Mapping[Path, Any] = {
    ("spec", "weight"): 77,
    ("spec", "replicas"): 3,
    ("spec", "future"): {"field": 1},
    ("spec", "disruption", "consolidationPolicy"): "Balanced",
    ("spec", "disruption", "consolidateAfter"): "4000000s",
    ("spec", "disruption", "budgets"): [],
    (*TEMPLATE, "spec", "expireAfter"): "4000000s",
    (*TEMPLATE, "spec", "terminationGracePeriod"): "4000000s",
    (*TEMPLATE, "spec", "nodeClassRef", "group"): "eks.amazonaws.com",
    (*TEMPLATE, "spec", "nodeClassRef", "kind"): "NodeClass",
    (*TEMPLATE, "spec", "nodeClassRef", "name"): "other",
    ("spec", "limits", "cpu"): "123456789",
    ("spec", "limits", "example.com/new"): "7",
    (*TEMPLATE, "metadata", "labels", "workload"): "bent",
    (*TEMPLATE, "metadata", "annotations", "new"): "",
    (*TEMPLATE, "metadata", "annotations"): {},
    (*TEMPLATE, "spec", "taints"): [],
    (*TEMPLATE, "spec", "startupTaints"): [],
    ("metadata", "labels", "example.com/ours"): "theirs",
}
# Karpenter's hash tells them from absent ones if they are empty.
_CONTAINERS: tuple[Path, ...] = (
    (*TEMPLATE, "metadata", "annotations"),
    (*TEMPLATE, "spec", "taints"),
    (*TEMPLATE, "spec", "startupTaints"),
)
_ELEMENTS: Mapping[str, tuple[Json, ...]] = {
    "taints": ({"key": "new", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute", "value": "bent"}),
    "startupTaints": ({"key": "new", "value": "x", "effect": "NoExecute"},),
    "requirements": (
        {"key": "new", "operator": "Exists"},
        {"key": "a", "operator": "In", "values": ["bent"]},
        {"key": "b", "operator": "Gt", "values": ["77"]},
    ),
}


@st.composite
def edits(draw: st.DrawFn, pool: Json) -> tuple[Json, Difference]:
    """Return the NodePool with one thing changed, added or removed, and the difference that this makes."""
    path, value = draw(st.sampled_from([*_edits_of_fields(pool), *_edits_of_elements(pool), *_FINALIZERS]))
    result, last = copy.deepcopy(pool), path[-1]
    expected = get(pool, path)
    if isinstance(last, Element):
        kept = [item for item in get(pool, path[:-1]) or [] if not last.matches(item)]
        _set(result, path[:-1], kept + ([value] if value else []))
    elif path in (found for found, _ in _FINALIZERS):
        result["metadata"]["finalizers"] = []
    elif value is None:
        _remove(result, path)
    else:
        _set(result, path, value)
    if path == ("spec", "future"):
        return result, Difference((*path, "field"), None, 1)
    return result, Difference(path, expected, value)


_FINALIZERS: list[tuple[Path, Any]] = [(("metadata", "finalizers", "example.com/ours"), None)]


def _edits_of_fields(pool: Json) -> Iterator[tuple[Path, Any]]:
    for path, value in _SCALARS.items():
        current = get(pool, path)
        if current != value and (current is None or path not in _CONTAINERS):
            yield path, value
        if current is not None and path not in {*_DEFAULTS, *_CONTAINERS}:
            yield path, None


def _edits_of_elements(pool: Json) -> Iterator[tuple[Path, Any]]:
    for name, items in _ELEMENTS.items():
        where: Path = (*TEMPLATE, "spec", name)
        there = get(pool, where) or []
        for item in (*items, *there):
            element = Element(tuple((field, item[field]) for field in KEYED_LISTS[where]))
            yield (*where, element), None if item in there else item

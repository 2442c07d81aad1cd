"""What differs between a wanted and a live NodePool, by meaning and not by spelling.

Quantities (``64000m`` = ``64``), durations (``8h`` = ``8h0m0s``), the order of Karpenter's lists and the defaults of
its CRD never count. Undeclared fields of the spec do: the pool is the profile's as a whole. Metadata that is not ours,
status and Karpenter's own annotations do not.
Source: Karpenter's hash (``pkg/apis/v1/nodepool.go``), which treats lists as sets, knows durations by their length,
and calls every node Drifted for an empty map or list where there was none; defaults from its NodePool CRD.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import durationpy
from kubernetes.utils.quantity import parse_quantity

from connect_autoscaler.nodepools.paths import KEYED_LISTS, TEMPLATE, Element, Path, get, pointer

BUDGETS: Final[Path] = ("spec", "disruption", "budgets")
_EXPIRE_AFTER: Final[Path] = (*TEMPLATE, "spec", "expireAfter")
_CONSOLIDATE_AFTER: Final[Path] = ("spec", "disruption", "consolidateAfter")
_DURATIONS: Final = frozenset({_EXPIRE_AFTER, _CONSOLIDATE_AFTER, (*TEMPLATE, "spec", "terminationGracePeriod")})
_LIMITS: Final[Path] = ("spec", "limits")
_DEFAULTS: Final[Mapping[Path, Any]] = {
    ("spec", "disruption", "consolidationPolicy"): "WhenEmptyOrUnderutilized",
    _CONSOLIDATE_AFTER: "0s",
    BUDGETS: [{"nodes": "10%"}],
    _EXPIRE_AFTER: "720h",
}
_HASHED_IF_EMPTY: Final[tuple[Path, ...]] = (
    (*TEMPLATE, "metadata", "annotations"),
    (*TEMPLATE, "spec", "taints"),
    (*TEMPLATE, "spec", "startupTaints"),
)
_IMMUTABLE: Final[frozenset[Path]] = frozenset(
    {(*TEMPLATE, "spec", "nodeClassRef", "group"), (*TEMPLATE, "spec", "nodeClassRef", "kind"), ("spec", "replicas")}
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as wanted."""

    path: Path
    expected: Any | None
    """The wanted value; None: the field must not be there."""
    actual: Any | None
    """The live value; None: the field is missing."""

    @property
    def pointer(self) -> str:
        """The path as users read it."""
        return pointer(self.path)

    @property
    def in_template(self) -> bool:
        """Whether healing or changing it may replace nodes (a change below ``spec.template``)."""
        return self.path[:2] == TEMPLATE

    @property
    def immutable(self) -> bool:
        """Whether the API server refuses to change it (CEL of the NodePool CRD)."""
        return self.path in _IMMUTABLE


def differences(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare the whole spec and the metadata that we declare, sorted by path.

    Args:
        wanted: A rendered NodePool.
        live: The NodePool as the API server gave it.
    """
    found = list(_metadata(wanted, live))
    # To the letter what was applied is the usual case, and a hundred times cheaper to see.
    if wanted["spec"] != live["spec"]:
        found += [*_leaves_that_differ(wanted, live), *_hollow(wanted, live)]
    return tuple(sorted(found, key=lambda d: d.pointer))


def _leaves_that_differ(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Difference]:
    want, have = dict(_spec(wanted)), dict(_spec(live))
    for path, default in _DEFAULTS.items():
        for leaves in (want, have):
            leaves.setdefault(path, default)
    for path in {**want, **have}:
        if _canonical(path, want.get(path)) != _canonical(path, have.get(path)):
            yield Difference(path, want.get(path), have.get(path))


def _metadata(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Difference]:
    for field in ("labels", "annotations"):
        for key, value in wanted["metadata"].get(field, {}).items():
            path: Path = ("metadata", field, key)
            if (actual := get(live, path)) != value:
                yield Difference(path, value, actual)
    present = live["metadata"].get("finalizers", ())
    for finalizer in wanted["metadata"].get("finalizers", ()):
        if finalizer not in present:
            yield Difference(("metadata", "finalizers", finalizer), finalizer, None)


def _hollow(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Difference]:
    for path in _HASHED_IF_EMPTY:
        if (actual := get(live, path)) in ({}, []) and get(wanted, path) is None:
            yield Difference(path, None, actual)


def _spec(pool: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Flatten a spec into its leaves; empty maps and lists (but budgets: [] means no limit) are no leaves."""

    def walk(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
        if path == BUDGETS:
            yield path, node
        elif path in KEYED_LISTS:
            groups: dict[Element, list[Any]] = defaultdict(list)
            for item in node:
                groups[Element(tuple((name, item.get(name, "")) for name in KEYED_LISTS[path]))].append(item)
            for element, items in groups.items():
                yield (*path, element), items[0] if len(items) == 1 else items
        elif isinstance(node, Mapping):
            for key, value in node.items():
                yield from walk(value, (*path, key))
        elif node is not None and node != []:
            yield path, node

    return walk(pool.get("spec", {}), ("spec",))


def _canonical(path: Path, value: Any | None) -> Any:
    """Give values of the same meaning one form."""
    if value is None:
        return None
    if path in _DURATIONS:
        return _duration(value)
    if path[:2] == _LIMITS:
        return _quantity(value)
    if path == BUDGETS:
        return sorted(json.dumps(_budget(budget), sort_keys=True) for budget in value)
    if isinstance(path[-1], Element):
        items = value if isinstance(value, list) else [value]
        return sorted(json.dumps(_element(item), sort_keys=True) for item in items)
    return value


def sooner(actual: str | None, expected: str | None) -> bool:
    """Whether a live duration ends before the wanted one; ``Never``, and what no clock can hold, never ends."""
    ends, wanted = (_duration(value) if value else value for value in (actual, expected))
    if not isinstance(ends, timedelta):
        return False
    return not isinstance(wanted, timedelta) or ends < wanted


def length(value: Any) -> timedelta | None:
    """Read a duration; None for ``Never``, and for what is none. It may be longer than a calendar (``9999999999h``)."""
    try:
        found: timedelta | None = durationpy.from_str(value) if isinstance(value, str) else None
    except durationpy.DurationError:
        return None
    return found


def amount(value: Any) -> Decimal | None:
    """Read a quantity; None for what is none (the CRD's pattern lets ``1e1.5`` through)."""
    try:
        found: Decimal = parse_quantity(value)
    except (ValueError, ArithmeticError):
        return None
    return found if found.is_finite() else None


def _duration(value: Any) -> Any:
    """Give equal durations one form; what is none stays as it is."""
    found = length(value)
    return value if found is None else found


def _quantity(value: Any) -> Decimal | str:
    """Give equal quantities one form; what is none becomes text."""
    found = amount(value)
    return str(value) if found is None else found


def _budget(budget: Mapping[str, Any]) -> dict[str, Any]:
    # Not dropped if empty: Karpenter reads `reasons: []` as no reason at all, and absent as every reason.
    canonical = {"nodes": "10%", **budget}
    if "reasons" in canonical:
        canonical["reasons"] = sorted(set(canonical["reasons"]))
    if "duration" in canonical:
        canonical["duration"] = str(_duration(canonical["duration"]))
    return canonical


def _element(item: Mapping[str, Any]) -> dict[str, Any]:
    canonical = {name: value for name, value in item.items() if value not in (None, "", [])}
    if "values" in canonical:
        canonical["values"] = sorted(set(canonical["values"]))
    return canonical

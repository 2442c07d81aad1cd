"""Values of a Connect release by chance, overlays to lay over them, and what a user might do in between."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from hypothesis import strategies as st

from connect_autoscaler.release.lists import (
    JOB_BASE,
    JOB_POD,
    JOB_SPREAD,
    JOB_TOLERATIONS,
    LISTS,
    RENDERED,
    SERVER_SPREAD,
    SERVER_TOLERATIONS,
    elements,
)
from connect_autoscaler.release.overlay import SERVER_ANNOTATIONS, SERVER_SELECTOR, overlay
from connect_autoscaler.release.values import Path, drop, effective, get, has, put
from unit.builders import profile

Json = dict[str, Any]

OWN_TAINT: Final = {"key": "workload", "value": "connect-server", "effect": "NoSchedule"}
EXTRA_TAINT: Final = {"key": "example.com/critical", "effect": "NoExecute"}
GPU_TAINT: Final = {"key": "example.com/gpu", "value": "a100", "effect": "NoSchedule"}
SELECTOR: Final = {"app.kubernetes.io/name": "rstudio-connect", "app.kubernetes.io/instance": "connect"}


def spread(key: str, when: str = "ScheduleAnyway", skew: float = 1) -> Json:
    return {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when}


ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"

_CONTENTS: Final[tuple[Json, ...]] = (
    {},
    {"topologySpread": []},
    {"topologySpread": [spread(HOST, skew=2), spread(ZONE)]},
)
# Every overlay that a profile with the usual placement can ask for, in small.
OVERLAYS: Final = tuple(
    overlay(
        profile({"server": {"topologySpread": servers}, "content": {"renderedDoNotDisrupt": rendered} | content}),
        [OWN_TAINT, *extra],
        gpu,
        SELECTOR,
    )
    for content, rendered, servers, extra, gpu in product(
        _CONTENTS,
        ("true", "4h"),
        ([], [spread(ZONE, "DoNotSchedule")]),
        ([], [EXTRA_TAINT]),
        ([], [GPU_TAINT]),
    )
)


def overlays() -> st.SearchStrategy[Json]:
    """Return what profiles want of a release."""
    return st.sampled_from(OVERLAYS).map(copy.deepcopy)


def _of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Return maps with some of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def _or_null(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(one, one, one, st.none())


_TOLERATIONS = st.one_of(
    st.sampled_from(
        [
            {"key": "workload", "operator": "Equal", "value": "connect-server", "effect": "NoSchedule"},
            {"key": "workload", "value": "connect-server", "effect": "NoSchedule"},
            {"key": "workload", "operator": "Exists"},
            {"operator": "Exists"},
        ]
    ),
    _of(
        key=st.sampled_from(["workload", "example.com/critical", "example.com/gpu", "team"]),
        operator=st.sampled_from(["Equal", "Exists"]),
        value=st.sampled_from(["connect-server", "a100", "x"]),
        effect=st.sampled_from(["NoSchedule", "NoExecute"]),
        tolerationSeconds=st.sampled_from([0, 300, 300.0]),
    ),
)
_SPREADS = st.builds(
    lambda one, more: {**one, **more},
    st.builds(
        spread,
        st.sampled_from([HOST, ZONE, "rack"]),
        st.sampled_from(["ScheduleAnyway", "DoNotSchedule"]),
        st.sampled_from([1, 1.0, 2]),
    ),
    st.sampled_from(
        [
            {},
            {"labelSelector": {"matchLabels": SELECTOR}},
            {"labelSelector": {"matchLabels": {"app.kubernetes.io/name": "rstudio_connect"}}},
        ]
    ),
)
_ENTRIES = st.sampled_from(
    [
        "karpenter.sh/do-not-disrupt=true",
        "karpenter.sh/do-not-disrupt=4h",
        "karpenter.sh/do-not-disrupt=false",
        "karpenter.sh/do-not-disrupt",
        "example.com/team=data",
        "plain",
        "",
    ]
)
# Kubernetes refuses two spreads of one key, and Connect has one value for an annotation.
_SPREAD_LISTS = st.lists(_SPREADS, max_size=2, unique_by=lambda each: (each["topologyKey"], each["whenUnsatisfiable"]))
_ENTRY_LISTS = st.lists(_ENTRIES, max_size=3, unique_by=lambda each: each.partition("=")[0])
_JOB_POD = _of(
    nodeSelector=_or_null(_of(workload=st.just("connect-content"), disk=st.just("ssd"))),
    tolerations=_or_null(st.lists(_TOLERATIONS, max_size=2)),
    topologySpreadConstraints=_or_null(_SPREAD_LISTS),
    serviceAccountName=st.just("content"),
)
_DOCUMENTS = _of(
    nodeSelector=_or_null(_of(workload=st.sampled_from(["connect-server", None]), disk=st.just("ssd"))),
    tolerations=_or_null(st.lists(_TOLERATIONS, max_size=3)),
    topologySpreadConstraints=_or_null(_SPREAD_LISTS),
    pod=_or_null(
        _of(
            annotations=_or_null(
                st.dictionaries(
                    st.sampled_from(["karpenter.sh/do-not-disrupt", "example.com/a"]),
                    st.sampled_from(["true", True, "false", False, "4h", None, 1048576]),
                )
            ),
            labels=st.just({"team": "data"}),
        )
    ),
    backends=_or_null(
        _of(
            kubernetes=_or_null(
                _of(
                    enabled=st.sampled_from([True, "true", None]),
                    defaultResourceJobBase=_or_null(_of(spec=_or_null(_of(template=_or_null(_of(spec=_JOB_POD)))))),
                )
            )
        )
    ),
    config=_or_null(
        _of(
            Kubernetes=_or_null(
                _of(
                    RenderedContentAnnotation=_or_null(st.one_of(_ENTRIES, _ENTRY_LISTS)),
                    DataDirPVCName=st.just("data"),
                )
            ),
            Server=st.just({"Address": "https://connect.example.com"}),
        )
    ),
    replicas=st.sampled_from([2, 2.0]),
)


def documents() -> st.SearchStrategy[Json]:
    """Return values that a user might have set and that leave room for every overlay."""
    return _DOCUMENTS.map(copy.deepcopy)


def defaults() -> st.SearchStrategy[Json]:
    """Return values of charts: one with empty lists as the vendor's has, and ones that hold elements already."""
    return st.builds(
        _defaults,
        st.lists(_TOLERATIONS, max_size=2),
        _SPREAD_LISTS,
        _ENTRY_LISTS,
        st.booleans(),
    ).map(copy.deepcopy)


def _defaults(tolerations: list[Json], spreads: list[Json], entries: list[str], enabled: bool) -> Json:  # noqa: FBT001
    whole: Json = {
        "nodeSelector": {},
        "pod": {"annotations": {}, "port": 3939},
        "backends": {"kubernetes": {"enabled": enabled, "namespace": "", "defaultResourceJobBase": {}}},
        "config": {"Kubernetes": {}, "Python": {"Enabled": True}},
    }
    for path, items in (
        (SERVER_TOLERATIONS, tolerations),
        (SERVER_SPREAD, spreads),
        (JOB_TOLERATIONS, tolerations),
        (RENDERED, entries),
    ):
        if items or path == SERVER_TOLERATIONS:
            put(whole, path, items)
    return whole


@dataclass(frozen=True)
class Edit:
    """Something that a user does to the values of his release, whatever else is in them."""

    name: str
    do: Callable[[Json, Json], None] = lambda _values, _defaults: None

    def __call__(self, values: Json, chart: Json) -> Json:
        """Return the values after it."""
        result = copy.deepcopy(values)
        self.do(result, chart)
        return result

    def __repr__(self) -> str:
        return self.name


def _set(path: Path, value: Any) -> Edit:
    return Edit(f"set {path}", lambda values, _: put(values, path, copy.deepcopy(value)))


def _remove(path: Path) -> Edit:
    return Edit(f"remove {path}", lambda values, _: drop(values, path))


def _append(path: Path, item: Any) -> Edit:
    """Return an edit that adds to what is in effect, as somebody does who reads the list before he writes it."""

    def do(values: Json, chart: Json) -> None:
        have = get(values if has(values, path) else effective(chart, values), path)
        put(values, path, [*elements(have), copy.deepcopy(item)])

    return Edit(f"append {item} to {path}", do)


# None of them touches an element or a key that an overlay has.
UNRELATED: Final = (
    Edit("nothing"),
    _set(("replicas",), 3),
    _set(("config", "Server", "Address"), "https://other.example.com"),
    _set((*SERVER_SELECTOR, "disk"), "nvme"),
    _set((*SERVER_ANNOTATIONS, "example.com/b"), "c"),
    _set(("pod", "labels", "team"), "ops"),
    _set((*JOB_POD, "serviceAccountName"), "other"),
    _set((*JOB_BASE, "spec", "backoffLimit"), 0),
    _append(SERVER_TOLERATIONS, {"key": "added", "operator": "Exists"}),
    _append(SERVER_SPREAD, spread("added")),
    _append(JOB_TOLERATIONS, {"key": "added", "operator": "Exists"}),
    _append(JOB_SPREAD, spread("added")),
    _append(RENDERED, "example.com/added=1"),
    _remove(("replicas",)),
    _remove(("config", "Server")),
    _remove((*SERVER_SELECTOR, "disk")),
    _remove((*SERVER_ANNOTATIONS, "example.com/a")),
    _remove(("config", "Kubernetes", "DataDirPVCName")),
)


def shuffled(draw: st.DrawFn, values: Json) -> Json:
    """Return the values with their merged lists in another order."""
    result = copy.deepcopy(values)
    for path in LISTS:
        if isinstance(items := get(result, path), list):
            put(result, path, draw(st.permutations(items)))
    return result


def helms(value: Any) -> Any:
    """Return the values as Helm gives them back: every number a float."""
    if isinstance(value, dict):
        return {key: helms(each) for key, each in value.items()}
    if isinstance(value, list):
        return [helms(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

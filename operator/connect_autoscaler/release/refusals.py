"""What makes the overlay impossible: an ordered chain of pure policies over a release, each giving its reason.

Decided from values and rendered objects, before anything is touched and before anything is waited for.
Source: the chart's own validations (NOTES.txt and helpers of ``rstudio-connect`` 0.9.0 to 0.21.0), and what its
rendered objects do on a cluster.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.pointers import parts, pointer
from connect_autoscaler.release.affinity import contradictions
from connect_autoscaler.release.history import Revision
from connect_autoscaler.release.lists import JOB_BASE, JOB_POD
from connect_autoscaler.release.merge import Merged
from connect_autoscaler.release.overlay import BACKEND, JOB_SELECTOR, SERVER_SELECTOR
from connect_autoscaler.release.values import Json, Path, effective, get, has, same

CHART: Final = "rstudio-connect"
_OLDEST_CHART: Final = (0, 9, 0)
_OLDEST_CONNECT: Final = (2026, 4, 0)
_VERSION: Final = re.compile(r"20\d\d\.\d{1,2}\.\d+")
_ONE_NODE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True)
class Subject:
    """Everything that policies look at."""

    revision: Revision
    values: Json = field(repr=False)
    """In effect: defaults and the user's."""
    merged: Merged
    deployment: Json = field(repr=False)
    """The server's Deployment as rendered; empty if the chart rendered none."""
    server_pools: Sequence[Mapping[str, Any]]
    content_pools: Sequence[Mapping[str, Any]]
    """NodePools of the profile, rendered or live."""
    access_modes: Mapping[str, Sequence[str]]
    """Of the claims that the server mounts, by name, as far as known."""


def refusal(subject: Subject) -> Problem | None:
    """The most fundamental reason against the overlay; None: there is none."""
    return next((problem for policy in _POLICIES for problem in policy(subject)), None)


def _chart(subject: Subject) -> Iterator[Problem]:
    revision = subject.revision
    if revision.chart != CHART:
        yield Problem(
            Reason.UNSUPPORTED_CHART,
            f"The release is of chart {revision.chart}; only {CHART} is configured, name its release in spec.release",
        )
    elif (version := _numbers(revision.chart_version)) is None or version < _OLDEST_CHART:
        yield Problem(
            Reason.UNSUPPORTED_CHART,
            f"Chart {CHART} {revision.chart_version} ignores half of the overlay; upgrade it to 0.9.0 or newer, "
            "best to 0.20.1 or newer",
        )
    elif revision.has_hooks:
        yield Problem(Reason.UNSUPPORTED_CHART, f"The release has Helm hooks, which {CHART} has not; nothing is run")


def _backend(subject: Subject) -> Iterator[Problem]:
    if get(subject.values, ("launcher", "enabled")):
        yield Problem(
            Reason.LAUNCHER_ENABLED,
            "launcher.enabled is true in the release: content runs by the Launcher, whose jobs the overlay does not "
            "reach; move to backends.kubernetes and set launcher.enabled: false",
        )
    elif not same(get(subject.values, BACKEND), other=True):
        yield Problem(
            Reason.LOCAL_EXECUTION,
            "backends.kubernetes.enabled is not true in the release: content runs in the server's own pod; "
            "turn off-host execution on first, the operator never does that by itself",
        )


def _connect(subject: Subject) -> Iterator[Problem]:
    found = connect_version(subject.values, subject.revision.app_version)
    if found is None:
        yield Problem(
            Reason.VERSION_UNKNOWN,
            "The version of Connect cannot be read from image.tag; set versionOverride to it",
        )
    elif found < _OLDEST_CONNECT:
        yield Problem(
            Reason.UNSUPPORTED_CONNECT,
            f"Connect {'.'.join(map(str, found))} is older than 2026.04.0, which runs content as Kubernetes Jobs; "
            "upgrade it",
        )


def connect_version(values: Mapping[str, Any], app_version: str) -> tuple[int, ...] | None:
    """Connect's version: of ``image.tag``, else ``versionOverride``, else the chart's; None if it cannot be told."""
    tag, override = (str(get(values, path) or "") for path in (("image", "tag"), ("versionOverride",)))
    for text in (tag, override) if tag else (override, app_version):
        if found := _VERSION.search(text):
            return tuple(map(int, found[0].split(".")))
    return None


def _storage(subject: Subject) -> Iterator[Problem]:
    values = subject.values
    shared = get(values, ("sharedStorage", "create")) or get(values, ("sharedStorage", "mount"))
    if not shared and not get(values, ("config", "Kubernetes", "DataDirPVCName")):
        yield Problem(
            Reason.STORAGE_MISSING,
            "The release has no shared storage, which off-host execution needs; set sharedStorage.create, "
            "sharedStorage.mount or config.Kubernetes.DataDirPVCName",
        )


def _forms(subject: Subject) -> Iterator[Problem]:
    kind = get(subject.values, (*JOB_BASE, "kind"))
    if kind is not None and kind != "Job":
        yield Problem(
            Reason.JOB_BASE_INVALID, f"backends.kubernetes.defaultResourceJobBase.kind is {kind}; it must be Job"
        )
    for wrong in subject.merged.malformed:
        yield Problem(Reason.INVALID_VALUES, f"Value {wrong} of the release has a form that the chart cannot use")


def _revived(subject: Subject) -> Iterator[Problem]:
    """A null takes a whole map of the chart's defaults away; a map in its place would bring most of it back."""
    for change in subject.merged.changes:
        path = parts(change.pointer.partition("[")[0])
        for depth in range(1, len(path)):
            above, below = path[:depth], get(subject.revision.defaults, path[:depth])
            nulled = has(subject.revision.config, above) and get(subject.revision.config, above) is None
            if nulled and isinstance(below, Mapping) and _beside(below, path[depth:]):
                yield Problem(
                    Reason.INVALID_VALUES,
                    f"Value {pointer(above)} of the release is null, and the overlay would bring back the chart's "
                    "defaults that it takes away; set to null, one by one, those below it that are not wanted",
                )


def _beside(defaults: Mapping[str, Any], path: Path) -> bool:
    """Whether a map of defaults holds anything but what a path leads to."""
    if any(value not in (None, {}, []) for key, value in defaults.items() if key != path[0]):
        return True
    below = defaults.get(path[0])
    return isinstance(below, Mapping) and len(path) > 1 and _beside(below, path[1:])


def _selectors(subject: Subject) -> Iterator[Problem]:
    for refused in subject.merged.refused:
        yield Problem(
            Reason.NODE_SELECTOR_CONFLICT,
            f"Value {refused.pointer} of the release is {refused.actual}, the profile needs {refused.expected}; "
            "remove it from the release, or change spec.placement",
        )


def _affinity(subject: Subject) -> Iterator[Problem]:
    merged = effective(subject.revision.defaults, subject.merged.values)
    server = {**(get(merged, ("pod",)) or {}), "nodeSelector": get(merged, SERVER_SELECTOR)}
    for pools, pod, what in (
        (subject.server_pools, server, "The servers"),
        (subject.content_pools, {**(get(merged, JOB_POD) or {}), "nodeSelector": get(merged, JOB_SELECTOR)}, "Content"),
    ):
        unmet = [tuple(contradictions(pool, pod)) for pool in pools]
        if unmet and all(unmet):
            names = ", ".join(pool["metadata"]["name"] for pool in pools)
            yield Problem(
                Reason.AFFINITY_CONFLICT,
                f"{what} could run on no node of NodePool {names}: the release asks for {', '.join(unmet[0])}; "
                "remove that, or give the pool such nodes by labels or requirements",
            )


def _rollout(subject: Subject) -> Iterator[Problem]:
    surge = get(subject.deployment, ("spec", "strategy", "rollingUpdate", "maxUnavailable"))
    if get(subject.deployment, ("spec", "strategy", "type")) == "Recreate" or surge not in (0, "0", "0%"):
        return
    for volume in get(subject.deployment, ("spec", "template", "spec", "volumes")) or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        modes = subject.access_modes.get(claim or "")
        if modes and set(modes) <= _ONE_NODE:
            yield Problem(
                Reason.STORAGE_NOT_SHARED,
                f"PersistentVolumeClaim {claim} is {', '.join(modes)}: the new server on another node would wait for "
                "it for ever; use ReadWriteMany storage, or strategy.type: Recreate",
            )


def _numbers(version: str) -> tuple[int, ...] | None:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else None


_POLICIES: Final[tuple[Callable[[Subject], Iterator[Problem]], ...]] = (
    _chart,
    _backend,
    _connect,
    _storage,
    _forms,
    _revived,
    _selectors,
    _affinity,
    _rollout,
)

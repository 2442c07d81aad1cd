"""Gauges that are read off the profiles when somebody asks: their status is the truth, and nothing outlives them.

Labels are names of profiles and pools, and words from enumerations: never a path, a value or the name of a pod.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from connect_autoscaler.api.conditions import ConditionType
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import ConditionStatus, DriftAction, DriftItem, NodePoolStatus

PREFIX: Final = "connect_autoscaling_"
Sample = tuple[tuple[str, ...], float]
"""Values of the labels after `profile`, and the value."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A gauge of a profile.

    Attributes:
        name: Without the prefix.
        text: What it says.
        labels: Beside `profile`.
        read: Gives what a profile has of it.
    """

    name: str
    text: str
    labels: tuple[str, ...]
    read: Callable[[Profile], Iterable[Sample]]

    def of(self, profiles: Iterable[Profile]) -> GaugeMetricFamily:
        """The gauge with the samples of all profiles."""
        family = GaugeMetricFamily(PREFIX + self.name, self.text, labels=("profile", *self.labels))
        for profile in profiles:
            for labels, value in self.read(profile):
                family.add_metric((profile.name, *labels), value)
        return family


def kind_of(target: str) -> str:
    """The kind in the target of a difference, such as NodePool in ``NodePool/connect-server``."""
    return target.partition("/")[0]


def _info(profile: Profile) -> Iterator[Sample]:
    spec, status = profile.spec, profile.status
    manager = status.release.manager if status.release else None
    ready, drifted = (_state(profile, kind) for kind in (ConditionType.READY, ConditionType.DRIFTED))
    yield (ready, drifted, str(spec.suspend).lower(), spec.mode, manager or ""), 1


def _state(profile: Profile, kind: ConditionType) -> str:
    condition = profile.status.condition(kind)
    return condition.status if condition else ConditionStatus.UNKNOWN


def _conditions(profile: Profile) -> Iterator[Sample]:
    for condition in profile.status.conditions:
        for status in ConditionStatus:
            yield (condition.type, status), condition.status is status


def _reasons(profile: Profile) -> Iterator[Sample]:
    for condition in profile.status.conditions:
        yield (condition.type, condition.reason), 1


def _items(profile: Profile) -> tuple[DriftItem, ...]:
    return profile.status.drift.items if profile.status.drift else ()


def _drift(profile: Profile) -> Iterator[Sample]:
    yield from _counted((kind_of(item.target), item.action) for item in _items(profile))


def _first_seen(profile: Profile) -> Iterator[Sample]:
    oldest: dict[tuple[str, str], datetime] = {}
    for item in _items(profile):
        if item.first_seen and item.action is not DriftAction.CORRECTED:
            key = kind_of(item.target), str(item.action)
            oldest[key] = min(item.first_seen, oldest.get(key, item.first_seen))
    for key, time in oldest.items():
        yield key, time.timestamp()


def _deferred(profile: Profile) -> Iterator[Sample]:
    yield from _counted((item.reason or "",) for item in _items(profile) if item.action is DriftAction.DEFERRED)


def _planned(profile: Profile) -> Iterator[Sample]:
    yield from _counted((action.action, action.disruption) for action in profile.status.plan)


def _checks(profile: Profile) -> Iterator[Sample]:
    for check in profile.status.checks:
        yield (check.name, check.result), 1


def _limitations(profile: Profile) -> Iterator[Sample]:
    for limitation in profile.status.limitations:
        yield (limitation.name,), limitation.count


def _foreign_pods(profile: Profile) -> Iterator[Sample]:
    yield from _counted((pod.pool or "",) for pod in profile.status.foreign_pods)


def _orphans(profile: Profile) -> Iterator[Sample]:
    if profile.status.orphans:
        yield (), profile.status.orphans.total


def _revision(profile: Profile) -> Iterator[Sample]:
    if profile.status.release and profile.status.release.revision:
        yield (), profile.status.release.revision


def _attempt(profile: Profile) -> Iterator[Sample]:
    attempt = profile.status.attempt
    if attempt and attempt.started_at:
        yield (attempt.phase or "",), attempt.started_at.timestamp()


def _interval(profile: Profile) -> Iterator[Sample]:
    yield (), profile.spec.resync.total_seconds()


def _counted(keys: Iterable[tuple[str, ...]]) -> Iterable[Sample]:
    return Counter(keys).items()


def _pool_figure(name: str, text: str, value: Callable[[NodePoolStatus], float | None]) -> Figure:
    def read(profile: Profile) -> Iterator[Sample]:
        for pool in profile.status.node_pools:
            if (figure := value(pool)) is not None:
                yield (pool.name, pool.role), figure

    return Figure(name, text, ("pool", "role"), read)


FIGURES: Final = (
    Figure(
        "profile_info",
        "Always 1; the labels tell the state of the profile.",
        ("ready", "drifted", "suspended", "mode", "manager"),
        _info,
    ),
    Figure(
        "condition",
        "1 for the status that a condition has, 0 for the others. Stalled, Suspended, Fighting and Reconciling are "
        "absent unless True.",
        ("type", "status"),
        _conditions,
    ),
    Figure("condition_reason", "Always 1; the reason of a condition at the moment.", ("type", "reason"), _reasons),
    Figure(
        "drift_items",
        "Differences in status.drift.items (20 at most, open ones first), by what became of them; corrected ones are "
        "remembered for an hour.",
        ("target_kind", "action"),
        _drift,
    ),
    Figure(
        "drift_first_seen_timestamp_seconds",
        "When the oldest difference that is still open was seen first, in Unix time.",
        ("target_kind", "action"),
        _first_seen,
    ),
    Figure(
        "heal_deferred",
        "Differences that are to be corrected and are not yet, by what they wait for.",
        ("reason",),
        _deferred,
    ),
    Figure(
        "planned_actions",
        "Actions in status.plan: what waits for its gate, or, with mode Plan, what would be done.",
        ("action", "disruption"),
        _planned,
    ),
    _pool_figure(
        "pool_ready",
        "Whether Karpenter reports the NodePool Ready.",
        lambda pool: None if pool.ready is None else float(pool.ready is ConditionStatus.TRUE),
    ),
    _pool_figure("pool_nodes", "NodeClaims of a NodePool that are not being deleted.", lambda pool: pool.nodes),
    _pool_figure("pool_empty_nodes", "Nodes on which nothing runs but DaemonSets.", lambda pool: pool.empty_nodes),
    _pool_figure(
        "pool_outdated_nodes",
        "Nodes that were made from another template than the NodePool has now.",
        lambda pool: pool.outdated_nodes,
    ),
    _pool_figure(
        "pool_next_expiry_timestamp_seconds",
        "When the next node expires, in Unix time.",
        lambda pool: pool.next_expiry.timestamp() if pool.next_expiry else None,
    ),
    _pool_figure(
        "nodeclaims_drifted", "NodeClaims that Karpenter calls Drifted.", lambda pool: pool.drifted_node_claims
    ),
    _pool_figure(
        "nodeclaims_expiring", "NodeClaims that will expire at some time.", lambda pool: pool.expiring_node_claims
    ),
    _pool_figure(
        "nodeclaims_lost",
        "NodeClaims that are going together with their deleted NodePool and cannot be saved.",
        lambda pool: pool.lost_node_claims,
    ),
    Figure("check", "Always 1; the result of a check of the placement.", ("check", "result"), _checks),
    Figure(
        "limitation", "How often a known limit of the protection is met at the moment.", ("limitation",), _limitations
    ),
    Figure(
        "foreign_pods", "Pods of others on nodes of the profile (20 at most are counted).", ("pool",), _foreign_pods
    ),
    Figure("orphaned_jobs", "Content jobs that lost their server and were not yet dealt with.", (), _orphans),
    Figure("release_revision", "Revision of the Helm release that is deployed.", (), _revision),
    Figure(
        "release_attempt_started_timestamp_seconds",
        "When the work on the release that is under way was begun, in Unix time; absent if there is none.",
        ("phase",),
        _attempt,
    ),
    Figure("profile_interval_seconds", "spec.interval: a pass is made at least so often.", (), _interval),
)
"""Every gauge of a profile."""

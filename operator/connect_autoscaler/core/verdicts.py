"""Every condition of a profile, derived from snapshot, plan and results; none is set anywhere else. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason
from connect_autoscaler.api.names import ANNOTATION_APPROVE, FIELD_MANAGER
from connect_autoscaler.api.spec import Mode
from connect_autoscaler.api.status import (
    Check,
    CheckResult,
    Condition,
    ConditionStatus,
    Disruption,
    DriftAction,
    DriftStatus,
)
from connect_autoscaler.core.errors import Retry
from connect_autoscaler.core.model import (
    OF_RELEASE,
    Action,
    Outcome,
    Plan,
    PoolPlan,
    ReleasePlan,
    Snapshot,
    Verb,
    Verdict,
)
from connect_autoscaler.core.release_words import why_waiting
from connect_autoscaler.nodepools.health import Health, health
from connect_autoscaler.placement.checks import (
    CONTENT_PLACED,
    CONTENT_SCALES_DOWN,
    SERVER_CHECKS,
    SERVER_NODES_PERSIST,
    SERVER_PLACED,
    SERVER_PROTECTED,
)
from connect_autoscaler.placement.scene import Scene

_TRUE: Final = ConditionStatus.TRUE
_FALSE: Final = ConditionStatus.FALSE
_UNKNOWN: Final = ConditionStatus.UNKNOWN
_OPPONENTS: Final = {
    "unknown": "Somebody unknown",
    FIELD_MANAGER: f"Another copy of the operator (field manager {FIELD_MANAGER})",
}
_OPENED_BY_APPROVAL: Final = frozenset(
    {
        Reason.AWAITING_APPROVAL,
        Reason.CONTENT_RUNNING,
        Reason.DAILY_LIMIT,
        Reason.FIGHT_DETECTED,
        Reason.NODES_IN_USE,
        Reason.OUTSIDE_WINDOW,
        Reason.POLICY,
    }
)


def conditions(
    snapshot: Snapshot, plan: Plan, outcome: Outcome, drift: DriftStatus, checks: Sequence[Check], now: datetime
) -> Iterator[Condition]:
    """Derive every condition of the profile."""
    plan, outcome = _by_release(plan, outcome)
    problems = tuple(_problems(snapshot, plan, outcome))
    pools = _node_pools_ready(snapshot, plan, outcome, problems, now)
    release = plan.release
    placed = placement(snapshot.scene, checks) if snapshot.scene else None
    ready = _ready(snapshot, plan, pools, drift, placed)
    spec = snapshot.profile.spec
    yield _condition(ConditionType.READY, ready)
    yield _condition(ConditionType.NODE_POOLS_READY, pools)
    if release:
        yield _condition(ConditionType.RELEASE_CONFIGURED, release.verdict)
    if placed:
        yield _condition(ConditionType.PLACEMENT_VERIFIED, placed)
    yield _condition(ConditionType.DRIFTED, _drifted(plan, drift))
    all_problems = (*problems, *((release.problem,) if release and release.problem else ()))
    stalled = next((problem for problem in all_problems if problem.stalled), None)
    if stalled:
        yield _condition(ConditionType.STALLED, Verdict(_TRUE, stalled.reason, stalled.message))
    elif ready.status is _UNKNOWN or (release and release.verdict.status is _UNKNOWN):
        why = ready if ready.status is _UNKNOWN or release is None else release.verdict
        yield _condition(ConditionType.RECONCILING, Verdict(_TRUE, why.reason, why.message))
    if spec.suspend:
        message = "Nothing is written but status; set spec.suspend: false to resume"
        yield _condition(ConditionType.SUSPENDED, Verdict(_TRUE, Reason.SUSPEND_REQUESTED, message))
    fights = (*_fighting_release(release), *_fighting_pools(snapshot))
    if fights:
        yield _condition(ConditionType.FIGHTING, Verdict(_TRUE, Reason.FIGHT_DETECTED, ". ".join(fights)))


def halted(problems: Iterable[Problem], of: ConditionType = ConditionType.NODE_POOLS_READY) -> Iterator[Condition]:
    """Conditions of a pass that could not be made; the first problem gives the reason.

    Args:
        problems: At least one.
        of: What it could not be made for.
    """
    found = tuple(problems)
    message = "; ".join(dict.fromkeys(problem.message for problem in found))
    stalled = found[0].stalled
    verdict = Verdict(_FALSE if stalled else _UNKNOWN, found[0].reason, message)
    yield _condition(ConditionType.READY, verdict)
    yield _condition(of, verdict)
    yield _condition(ConditionType.DRIFTED, Verdict(_UNKNOWN, Reason.CHECK_FAILED, message))
    abnormal = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    yield _condition(abnormal, Verdict(_TRUE, found[0].reason, message))


def _condition(kind: ConditionType, verdict: Verdict) -> Condition:
    return Condition(type=kind, status=verdict.status, reason=verdict.reason, message=verdict.message)


def _by_release(plan: Plan, outcome: Outcome) -> tuple[Plan, Outcome]:
    """Have a failed write on behalf of the release told of the release, and no more of the NodePools."""
    failed = [(action, error) for action, error in outcome.failed if action.verb in OF_RELEASE]
    if plan.release is None or not failed:
        return plan, outcome
    error = failed[0][1]
    soon = error.retry is Retry.SOON
    verdict = Verdict(_UNKNOWN if soon else _FALSE, error.reason, error.message)
    problem = None if soon else Problem(error.reason, error.message, stalled=error.retry is Retry.USER)
    rest = tuple(each for each in outcome.failed if each not in failed)
    return replace(plan, release=replace(plan.release, verdict=verdict, problem=problem)), replace(outcome, failed=rest)


def _problems(snapshot: Snapshot, plan: Plan, outcome: Outcome) -> Iterator[Problem]:
    """Everything in the way, most fundamental first."""
    yield from plan.problems
    for _, error in outcome.failed:
        if error.retry is not Retry.SOON:
            yield Problem(error.reason, error.message, stalled=error.retry is Retry.USER)
    for pool in plan.pools:
        if pool.problem:
            yield pool.problem
    spec = snapshot.profile.spec
    if not plan.problems and (spec.mode is Mode.PLAN or spec.suspend):
        missing = [p.pool.name for p in plan.pools if p.pool.managed and p.live is None]
        if missing:
            reason = Reason.PLAN_MODE if spec.mode is Mode.PLAN else Reason.SUSPEND_REQUESTED
            yield Problem(reason, f"NodePool {', '.join(missing)} does not exist and is not created now", stalled=False)


def _node_pools_ready(
    snapshot: Snapshot, plan: Plan, outcome: Outcome, problems: tuple[Problem, ...], now: datetime
) -> Verdict:
    if problems:
        return Verdict(_FALSE, problems[0].reason, "; ".join(dict.fromkeys(p.message for p in problems)))
    if soon := [error for _, error in outcome.failed if error.retry is Retry.SOON]:
        return Verdict(_UNKNOWN, soon[0].reason, soon[0].message)
    # Until Karpenter has judged what this generation asks for, its old verdict proves nothing.
    before = snapshot.profile.status.condition(ConditionType.NODE_POOLS_READY)
    settled = (
        snapshot.profile.status.observed_generation == snapshot.profile.generation
        and before is not None
        and before.status is _TRUE
    )
    waiting = []
    for pool in plan.pools:
        verdict = pool_health(pool, outcome, now)
        if verdict is None or verdict.ready is _UNKNOWN:
            waiting.append(pool.pool.name)
        elif verdict.ready is _FALSE:
            return Verdict(_FALSE, verdict.reason, verdict.message)
        elif not verdict.current and not settled:
            waiting.append(pool.pool.name)
    if waiting:
        message = "Waiting for Karpenter to report the NodePools Ready"
        return Verdict(_UNKNOWN, Reason.WAITING_FOR_NODE_POOLS, message)
    names = ", ".join(pool.pool.name for pool in plan.pools)
    return Verdict(_TRUE, Reason.ALL_READY, f"Karpenter reports {names} Ready")


def pool_health(pool: PoolPlan, outcome: Outcome, now: datetime) -> Health | None:
    """What Karpenter says of a pool, as our own writes left it; None: the pool does not exist."""
    written = outcome.pools.get(pool.pool.name)
    return health(written, now) if written else pool.health


def placement(scene: Scene, found: Sequence[Check]) -> Verdict:
    """Whether the checks hold: all of those about servers, and none that failed."""
    if failed := next((check for check in found if check.result is CheckResult.FAILED), None):
        return Verdict(_FALSE, _FAILURES[failed.name], f"{failed.name}: {failed.message}")
    if not scene.servers:
        return Verdict(_UNKNOWN, Reason.NO_PODS, "There is no server pod")
    open_ones = [check for check in found if check.name in SERVER_CHECKS and check.result is CheckResult.UNKNOWN]
    if open_ones:
        return Verdict(_UNKNOWN, Reason.CHECK_FAILED, f"{open_ones[0].name}: {open_ones[0].message}")
    return Verdict(_TRUE, Reason.PODS_ON_SERVER_POOL, found[0].message or "")


_FAILURES: Final = {
    SERVER_PLACED: Reason.PODS_MISPLACED,
    SERVER_PROTECTED: Reason.ANNOTATION_MISSING,
    CONTENT_PLACED: Reason.PODS_MISPLACED,
    SERVER_NODES_PERSIST: Reason.NODES_AT_RISK,
    CONTENT_SCALES_DOWN: Reason.CONTENT_NODES_IDLE,
}


def _ready(snapshot: Snapshot, plan: Plan, pools: Verdict, drift: DriftStatus, placed: Verdict | None) -> Verdict:
    broken = [f"{pool.pool.name}{pointer}" for pool in plan.pools for pointer in pool.broken]
    release = plan.release.verdict if plan.release else None
    if pools.status is not _TRUE:
        # What only the user can mend is said at once, whatever Karpenter is still at.
        refused = plan.release and plan.release.problem and plan.release.problem.stalled
        return release if release and refused and pools.status is _UNKNOWN else pools
    if broken:
        message = f"Not as the protection needs it, and not being corrected: {', '.join(broken)}"
        return Verdict(_FALSE, Reason.GUARANTEE_BROKEN, message)
    for action, reason in plan.deferred:
        if not action.drift and reason is not Reason.ANNOUNCED:
            return Verdict(_FALSE, Reason.DEFERRED, _deferred(snapshot, plan, action, reason))
        if not action.drift and action.verb is Verb.APPLY:
            return Verdict(_UNKNOWN, Reason.PROGRESSING, f"{action.verb} of {action.target} begins, see status.plan")
    if release and release.status is not _TRUE:
        return _unconfigured(snapshot, plan, release)
    if placed and placed.status is _FALSE:
        return placed
    if found := _open(drift):
        return Verdict(_TRUE, Reason.IN_SYNC, f"The server is protected; {found} differ, see Drifted")
    what = "All NodePools and the release are" if release else "All NodePools are"
    return Verdict(_TRUE, Reason.IN_SYNC, f"{what} as the profile asks, and Ready")


def _open(drift: DriftStatus) -> int:
    return sum(item.action in {DriftAction.DEFERRED, DriftAction.REPORTED} for item in drift.items)


def _deferred(snapshot: Snapshot, plan: Plan, action: Action, reason: Reason) -> str:
    """What waits, what it costs, why it waits, and how to have it at once."""
    cost = {
        Disruption.REPLACES_NODES: f"would replace {action.node_claims} nodes",
        Disruption.RESTARTS_SERVER: "would restart the servers",
    }.get(action.disruption, "is planned")
    why = why_waiting(reason, snapshot.release) if snapshot.release else reason.explain
    return f"{action.verb} of {action.target} {cost}. {why}{_approval(snapshot, plan, reason)}"


def _unconfigured(snapshot: Snapshot, plan: Plan, release: Verdict) -> Verdict:
    """Why the release does not do its part; if it did before, the promise is broken."""
    assert plan.release is not None  # noqa: S101 - the verdict is its own
    target = snapshot.release.target if snapshot.release else ""
    drifted = any(f.target == target and f.action is not DriftAction.IGNORED for f in plan.release.findings)
    broken = release.reason is Reason.OVERLAY_MISSING and drifted
    waits = next((_approval(snapshot, plan, reason) for _, reason in plan.release.deferred), "")
    return release._replace(
        reason=Reason.GUARANTEE_BROKEN if broken else release.reason, message=f"{release.message}{waits}"
    )


def _approval(snapshot: Snapshot, plan: Plan, reason: Reason) -> str:
    """How to have at once what waits; empty if approval would not help."""
    spec = snapshot.profile.spec
    if reason not in _OPENED_BY_APPROVAL or plan.digest is None or spec.mode is Mode.PLAN or spec.suspend:
        return ""
    what = "it" if len(plan.deferred) == 1 else "all of status.plan"
    return (
        f" To start {what} now: "
        f"kubectl annotate --overwrite cap {snapshot.profile.name} {ANNOTATION_APPROVE}={plan.digest}"
    )


def _drifted(plan: Plan, drift: DriftStatus) -> Verdict:
    if unseen := [pool.pool.name for pool in plan.pools if not pool.compared]:
        return Verdict(
            _UNKNOWN, Reason.CHECK_FAILED, f"Not compared: NodePool {', '.join(unseen)}; NodePoolsReady says why"
        )
    open_items = [item for item in drift.items if item.action in {DriftAction.DEFERRED, DriftAction.REPORTED}]
    if open_items:
        first = open_items[0]
        more = f" and {len(open_items) - 1} more" if len(open_items) > 1 else ""
        by = f", changed by {first.manager}" if first.manager else ""
        return Verdict(_TRUE, Reason.DRIFT_DETECTED, f"{first.target}{first.path} differs{more} ({first.action}{by})")
    what = "Live NodePools and the release are" if plan.release and not plan.release.problem else "Live NodePools are"
    return Verdict(_FALSE, Reason.NO_DRIFT_DETECTED, f"{what} as the profile asks")


def _fighting_release(release: ReleasePlan | None) -> Iterator[str]:
    if release and any(reason is Reason.FIGHT_DETECTED for _, reason in release.deferred):
        opponents = sorted({f.author.manager for f in release.findings if f.action is not DriftAction.IGNORED})
        yield (
            f"{', '.join(opponents).replace('unknown', 'Somebody unknown')} undid the overlay of the release again; it "
            "is left alone for a day, since each correction restarts the servers. Put the overlay into that pipeline's "
            "values"
        )


def _fighting_pools(snapshot: Snapshot) -> Iterator[str]:
    if not snapshot.fights:
        return
    opponents = sorted({_OPPONENTS.get(fight.manager, fight.manager) for fight in snapshot.fights})
    fields = sorted({f"{fight.target}{fight.pointer}" for fight in snapshot.fights if fight.pointer})
    yield (
        f"{', '.join(opponents)} keeps changing {', '.join(fields) or snapshot.fights[0].target}; "
        "it is now corrected once a minute. Stop the other writer, or list it in spec.driftPolicy.ignore"
    )

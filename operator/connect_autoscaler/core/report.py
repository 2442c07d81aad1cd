"""From snapshot, plan and results to the status that is written. Pure."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from pydantic import ValidationError

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason, merge
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Mode
from connect_autoscaler.api.status import (
    Attempt,
    Check,
    Condition,
    ConditionStatus,
    Disruption,
    DriftAction,
    DriftStatus,
    EffectivePolicies,
    ForeignPod,
    Heals,
    Limitation,
    NodePoolStatus,
    Orphans,
    PlannedAction,
    ProfileStatus,
    ReleaseStatus,
    RenderedRequirement,
)
from connect_autoscaler.core.digest import but_template, digest
from connect_autoscaler.core.drift import drift, unsettled
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.model import Action, Json, Outcome, Plan, PoolPlan, Snapshot, Verb
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.core.verdicts import conditions, halted, pool_health
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.health import Health
from connect_autoscaler.nodepools.ownership import mark
from connect_autoscaler.nodepools.paths import TEMPLATE, get
from connect_autoscaler.placement.checks import checks
from connect_autoscaler.placement.limitations import limitations


def status(snapshot: Snapshot, plan: Plan, outcome: Outcome, now: datetime) -> ProfileStatus:
    """Derive the whole status of a pass.

    Args:
        snapshot: What was seen before acting.
        plan: What was decided.
        outcome: What became of it.
        now: Time of the pass.
    """
    now = now.replace(microsecond=0)
    profile = snapshot.profile
    known = snapshot.known
    found = drift(snapshot, plan, outcome, now)
    made = checks(snapshot.scene) if snapshot.scene else ()
    healed = sum(1 for action in outcome.done if action.drift)
    heals = known.heals or Heals()
    policy = profile.spec.drift_policy
    return ProfileStatus(
        observed_generation=profile.generation,
        conditions=merge(
            profile.status.conditions,
            conditions(snapshot, plan, outcome, found, made, now),
            generation=profile.generation,
            now=now,
        ),
        mode=EffectivePolicies(
            node_pools=_effective(profile, policy.node_pools), release=_effective(profile, policy.release)
        ),
        last_check_time=now,
        last_handled_reconcile_at=requested_at(profile),
        server=_nodes(snapshot, Role.SERVER),
        content=_nodes(snapshot, Role.CONTENT),
        node_pools=tuple(_pool(snapshot, pool, outcome, now) for pool in plan.pools),
        release=_release(snapshot),
        attempt=_attempt(snapshot),
        plan=_planned(plan, outcome.failed),
        plan_digest=plan.digest,
        drift=found,
        checks=tuple(_checks(snapshot, made, now)),
        limitations=(*_limitations(snapshot), *_api_limitations(snapshot)),
        orphans=_orphans(snapshot),
        foreign_pods=tuple(_foreign(snapshot)),
        heals=Heals(total=heals.total + healed, last_time=now if healed else heals.last_time),
    )


def _checks(snapshot: Snapshot, made: Iterable[Check], now: datetime) -> Iterator[Check]:
    before = {check.name: check for check in snapshot.known.checks}
    for check in made:
        old = before.get(check.name)
        since = old.last_changed if old and old.result is check.result else now
        yield check.model_copy(update={"last_changed": since})


def _limitations(snapshot: Snapshot) -> tuple[Limitation, ...]:
    return limitations(snapshot.scene, snapshot.known.limitations) if snapshot.scene else ()


def _api_limitations(snapshot: Snapshot) -> Iterator[Limitation]:
    jobs = snapshot.jobs
    if jobs and jobs.pinned:
        message = "Contents with min_processes keep content nodes even without visitors; set it to 0 where you can"
        yield Limitation(name="PinnedByMinProcesses", count=jobs.pinned, message=message)
    if jobs and jobs.problem:
        yield Limitation(name="ConnectApiUnavailable", count=1, message=jobs.problem.message)


def _orphans(snapshot: Snapshot) -> Orphans | None:
    if snapshot.jobs is None:
        return None
    items = tuple(decision.status for decision in snapshot.jobs.decisions)
    return Orphans(total=len(items), items=items)


def _foreign(snapshot: Snapshot) -> Iterator[ForeignPod]:
    if snapshot.scene and snapshot.scene.survey is None:
        yield from snapshot.known.foreign_pods
    nodes = (snapshot.scene.nodes or {}) if snapshot.scene else {}
    for guest in snapshot.scene.foreign if snapshot.scene else ():
        pool = nodes[guest.node].pool if guest.node in nodes else None
        yield ForeignPod(namespace=guest.namespace, name=guest.name, node=guest.node, pool=pool)


def _release(snapshot: Snapshot) -> ReleaseStatus | None:
    view = snapshot.release
    if view is None:
        return None
    facts = view.facts
    return ReleaseStatus(
        namespace=view.namespace,
        name=view.name,
        manager=view.manager,
        revision=facts.revision if facts and facts.revision else None,
        chart=facts.chart or None if facts else None,
        apply_method=facts.apply_method or None if facts else None,
        overlay_digest=digest(facts.wanted) if facts and not facts.changes else None,
        server_restart_pending=bool(view.prepared and view.prepared.key == view.key and view.prepared.restarts)
        if facts
        else None,
    )


def _attempt(snapshot: Snapshot) -> Attempt | None:
    work = snapshot.release.work if snapshot.release else None
    if work is None or work.again:
        return None
    return Attempt(id=work.id, phase=work.phase, started_at=work.started.replace(microsecond=0))


def stopped(
    profile: Profile,
    problems: Iterable[Problem],
    now: datetime,
    of: ConditionType = ConditionType.NODE_POOLS_READY,
) -> ProfileStatus:
    """The status of a pass that could not be made, or of a deletion that cannot be finished: the rest stays as it was.

    Args:
        profile: The profile with its last status.
        problems: What is in the way, at least one; the most fundamental first.
        now: Time of the pass.
        of: The condition that tells of it, beside Ready.
    """
    now = now.replace(microsecond=0)
    before = profile.status.conditions
    kept = (c for c in before if c.type == ConditionType.NODE_POOLS_READY != of)
    return profile.status.model_copy(
        update={
            "observed_generation": profile.generation,
            "conditions": merge(before, (*halted(problems, of), *kept), generation=profile.generation, now=now),
            "last_check_time": now,
        }
    )


def parting(snapshot: Snapshot, plan: Plan, now: datetime) -> ProfileStatus:
    """The status of a deleted profile whose release is being given back: the rest stays as it was.

    Args:
        snapshot: What was seen.
        plan: What was decided; it has a plan of the release.
        now: Time of the pass.
    """
    assert plan.release is not None  # noqa: S101 - the caller has seen to it
    verdict = plan.release.verdict
    waiting = Problem(verdict.reason, verdict.message, stalled=plan.release.problem is not None)
    return stopped(snapshot.profile, [waiting], now, ConditionType.RELEASE_CONFIGURED).model_copy(
        update={"plan": _planned(plan), "plan_digest": plan.digest, "attempt": _attempt(snapshot)}
    )


def _planned(plan: Plan, failed: Iterable[tuple[Action, KubeError]] = ()) -> tuple[PlannedAction, ...]:
    """What waits, and what was announced and failed: it will be tried again."""
    again = [
        (action, Reason.ANNOUNCED)
        for action, _ in failed
        if action.verb is Verb.APPLY and action.disruption is Disruption.REPLACES_NODES
    ]
    return tuple(
        PlannedAction(
            action=action.verb,
            target=action.target,
            fields=action.fields,
            disruption=action.disruption,
            node_claims=action.node_claims or None,
            reason=reason,
            message=reason.explain,
        )
        for action, reason in (*plan.deferred, *again)
    )


def _empty(snapshot: Snapshot, pool: str, alive: Sequence[NodeClaim]) -> int | None:
    """How many of a pool's nodes are empty; until the first survey after a start, as many as before."""
    scene = snapshot.scene
    if scene is None or scene.survey is not None:
        return scene.empty(alive) if scene else None
    return next((each.empty_nodes for each in snapshot.known.node_pools if each.name == pool), None)


def _pool(snapshot: Snapshot, decided: PoolPlan, outcome: Outcome, now: datetime) -> NodePoolStatus:
    name = decided.pool.name
    live = outcome.pools.get(name) or decided.live
    verdict = pool_health(decided, outcome, now)
    claims = snapshot.claims.get(name, ())
    alive = [claim for claim in claims if not claim.deleting]
    expiries = sorted(claim.expires for claim in alive if claim.expires)
    uid = live["metadata"]["uid"] if live else ""
    terminating = live is not None and "deletionTimestamp" in live["metadata"]
    lost = [
        c
        for c in claims
        if decided.pool.spec.deletion_protection
        and (c.uid in outcome.lost or (c.deleting and c.owners and (terminating or not c.owned_by(uid))))
    ]
    return NodePoolStatus(
        name=name,
        role=decided.pool.role,
        management=decided.pool.spec.management,
        generation=live["metadata"]["generation"] if live else None,
        ready=verdict.ready if verdict else ConditionStatus.FALSE,
        reason=verdict.reason if verdict else Reason.POOL_MISSING,
        message=_message(name, verdict, len(lost)),
        nodes=len(alive),
        empty_nodes=_empty(snapshot, name, alive),
        outdated_nodes=decided.outdated,
        drifted_node_claims=sum(claim.drifted for claim in alive),
        expiring_node_claims=len(expiries),
        lost_node_claims=len(lost),
        next_expiry=expiries[0] if expiries else None,
        owned=live is not None and mark(live)[1] == snapshot.profile.uid,
        spec_hash=_recorded(snapshot, decided, outcome),
        requirements=tuple(_requirements(live)),
    )


def _message(name: str, verdict: Health | None, lost: int) -> str:
    text = verdict.message if verdict else f"NodePool {name} does not exist"
    return f"{text}; {lost} NodeClaims were deleted with it and cannot be saved" if lost else text


def _recorded(snapshot: Snapshot, decided: PoolPlan, outcome: Outcome) -> str | None:
    """Digest of what the pool was last brought to; it tells later differences from changes of the profile."""
    name = decided.pool.name
    before = next((pool.spec_hash for pool in snapshot.known.node_pools if pool.name == name), None)
    applied = any(a.name == name and a.verb in {Verb.APPLY, Verb.CREATE} for a in outcome.done)
    failed = any(a.name == name for a, _ in outcome.failed)
    undone = any(action.verb is Verb.APPLY for action in decided.actions) and not applied
    if not decided.pool.managed or failed or undone or not (applied or decided.in_sync or decided.deferred):
        return before
    return but_template(decided.digest, before) if decided.deferred else decided.digest


def _requirements(live: Json | None) -> Iterator[RenderedRequirement]:
    """The requirements of the live pool, as far as this version's status can hold them."""
    found = get(live, (*TEMPLATE, "spec", "requirements")) if live else ()
    for requirement in found if isinstance(found, list) else ():
        with contextlib.suppress(ValidationError):
            yield RenderedRequirement.model_validate(requirement)


def _nodes(snapshot: Snapshot, role: Role) -> str:
    """``ready/all`` NodeClaims of a role, for the printer columns."""
    names = {pool.name for pool in snapshot.profile.pools if pool.role is role}
    claims = [c for name in names for c in snapshot.claims.get(name, ()) if not c.deleting]
    return f"{sum(claim.ready for claim in claims)}/{len(claims)}"


def _effective(profile: Profile, policy: str) -> str:
    spec = profile.spec
    return "Plan" if spec.mode is Mode.PLAN else "Suspended" if spec.suspend else str(policy)


def same(old: ProfileStatus, new: ProfileStatus) -> bool:
    """Whether two statuses say the same; times that move with every look do not count."""
    return _essence(old) == _essence(new)


def _essence(status: ProfileStatus) -> ProfileStatus:
    return status.model_copy(update={"last_check_time": None, "drift": unsettled(status.drift or DriftStatus())})


def only_figures(old: ProfileStatus, new: ProfileStatus) -> bool:
    """Whether nothing is news but figures that move with every content job: these may be some seconds behind."""
    return _without_figures(old) == _without_figures(new)


def _without_figures(status: ProfileStatus) -> ProfileStatus:
    plain = {"message": None, "observed": None}
    return _essence(status).model_copy(
        update={
            "node_pools": tuple(pool.model_copy(update={"empty_nodes": None}) for pool in status.node_pools),
            "checks": tuple(check.model_copy(update=plain) for check in status.checks),
            "limitations": tuple(each.model_copy(update={"count": 1, "message": None}) for each in status.limitations),
            "foreign_pods": (),
            "conditions": tuple(
                condition.model_copy(update={"message": None})
                if condition.type == ConditionType.PLACEMENT_VERIFIED
                else condition
                for condition in status.conditions
            ),
        }
    )


def urgent(old: ProfileStatus, new: ProfileStatus) -> bool:
    """Whether a status must be written at once: the first of all, every final transition, and every loss.

    NodeClaims that are lost may be gone within the second; the next pass would have nothing to tell.
    """
    if not old.conditions or _lost(new) > _lost(old):
        return True
    # Nothing starts before its plan stands in the status.
    if new.plan_digest != old.plan_digest or new.attempt != old.attempt:
        return True
    if _open_drift(new) - _open_drift(old):
        return True
    if new.condition(ConditionType.RECONCILING):
        return False
    return old.observed_generation != new.observed_generation or _states(old.conditions) != _states(new.conditions)


def _open_drift(status: ProfileStatus) -> set[tuple[str, str]]:
    """What differs and is not corrected in the same pass."""
    items = status.drift.items if status.drift else ()
    return {(item.target, item.path) for item in items if item.action is not DriftAction.CORRECTED}


def _lost(status: ProfileStatus) -> int:
    return sum(pool.lost_node_claims or 0 for pool in status.node_pools)


def _states(conditions: Iterable[Condition]) -> list[tuple[str, str, str]]:
    return [(c.type, c.status, c.reason) for c in conditions]

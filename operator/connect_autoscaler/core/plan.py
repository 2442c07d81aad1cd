"""From what was seen to what is to be done. Pure: no I/O, no clock of its own.

Stages: 1 a profile being deleted is let go; 2 refusals; 3 each pool on its own; 4 pools no longer asked for;
5 mode, suspension and the profile's finalizer; 6 what waits gets a digest.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import ANNOTATION_APPROVE, FINALIZER_PROFILE, FINALIZER_PROTECT, KIND
from connect_autoscaler.api.spec import Mode, PoolDeletion
from connect_autoscaler.api.status import Disruption
from connect_autoscaler.core import gates
from connect_autoscaler.core.digest import digest, joined, parts_of
from connect_autoscaler.core.giving_back import giving_back, is_back, wants_restore
from connect_autoscaler.core.model import Action, Json, Plan, PoolPlan, ReleasePlan, Snapshot, Verb
from connect_autoscaler.core.pools import decide
from connect_autoscaler.core.refusals import refusals
from connect_autoscaler.core.release_plan import decide_release
from connect_autoscaler.nodepools.health import picked_up_by
from connect_autoscaler.nodepools.ownership import Ownership, Peer, ownership
from connect_autoscaler.nodepools.render import render
from connect_autoscaler.placement.checks import scale_down_due

_ASK_AGAIN: Final = timedelta(seconds=16)
_RELEASE: Final = "Release/"
Deferred = tuple[tuple[Action, Reason], ...]


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """Decide everything about one profile.

    Args:
        snapshot: What was gathered.
        now: Time of the pass; decides on windows, fights and "not picked up".
    """
    profile, spec = snapshot.profile, snapshot.profile.spec
    if profile.deleting:
        return _farewell(snapshot, now)
    problems = tuple(refusals(snapshot))

    def pools(*, approved: bool) -> tuple[PoolPlan, ...]:
        return tuple(decide(snapshot, pool, problems, now, approved=approved) for pool in profile.pools)

    def release(plans: tuple[PoolPlan, ...], *, approved: bool) -> ReleasePlan | None:
        return decide_release(snapshot, plans, now, approved=approved, blocked=problems)

    decided = pools(approved=False)
    released = release(decided, approved=False)
    leftovers = () if problems or spec.suspend else tuple(_leftovers(snapshot, now, approved=False))
    deferred = _waiting(decided, leftovers, released)
    pending = _digest(action for action, _ in deferred)
    if _approves(profile.annotations.get(ANNOTATION_APPROVE), pending):
        decided = pools(approved=True)
        released = release(decided, approved=True)
        # What was approved may still have to be announced, after an interruption: it stays the plan that was approved.
        deferred = released.deferred if released else ()
        pending = pending if deferred else None
        leftovers = tuple(_leftovers(snapshot, now, approved=True)) if leftovers else ()
    actions = (
        *(action for pool in decided for action in pool.actions),
        *(action for action, reason in leftovers if reason is None),
        *(released.actions if released else ()),
    )

    if spec.mode is Mode.PLAN:
        deferred = (*((action, Reason.PLAN_MODE) for action in actions), *deferred)
        actions, pending = (), _digest(action for action, _ in deferred)
    elif spec.suspend:
        # What ends a protection is owed to the user even now: a pool deleted on purpose must take its nodes along.
        actions = tuple(action for action in actions if action.verb in {Verb.REATTACH, Verb.UNPROTECT})
    elif FINALIZER_PROFILE not in profile.finalizers and (actions or _owned(snapshot)) and not _slowed(snapshot):
        actions = (Action(Verb.HOLD, _target(snapshot), live=profile.guard), *actions)
    wake_at = _wake_at(snapshot, decided, released, deferred, now)
    return Plan(decided, problems, actions, deferred, pending, released, wake_at)


def _slowed(snapshot: Snapshot) -> bool:
    """Whether somebody strips our finalizer so fast that putting it back has to wait."""
    return any(fight.slowed_until and fight.target == _target(snapshot) for fight in snapshot.fights)


def _target(snapshot: Snapshot) -> str:
    return f"{KIND}/{snapshot.profile.name}"


def _farewell(snapshot: Snapshot, now: datetime) -> Plan:
    """Let go of everything that a deleted profile owns: the release first, then the NodePools, then the memory of both.

    Retain (and deletion while suspended or in mode Plan) leaves pools as they are, less marks and finalizer; Delete
    deletes them. Either way the references go back on live NodeClaims first, and a protected pool that somebody is
    deleting at this moment is saved first.
    """
    profile, spec = snapshot.profile, snapshot.profile.spec
    if FINALIZER_PROFILE not in profile.finalizers:
        return Plan(finished=True)
    keep = spec.suspend or spec.mode is Mode.PLAN or spec.deletion_policy.node_pools is PoolDeletion.RETAIN
    if keep and (rescues := tuple(_rescues(snapshot))):
        return Plan(actions=rescues)
    if (owed := giving_back(snapshot, now)) is not None:
        pending = _digest(action for action, _ in owed.deferred)
        if _approves(profile.annotations.get(ANNOTATION_APPROVE), pending):
            owed, pending = giving_back(snapshot, now, approved=True) or owed, None
        wake_at = gates.next_opening(spec.disruptions.windows, now) if pending else owed.wake_at
        return Plan(actions=owed.actions, deferred=owed.deferred, digest=pending, release=owed, wake_at=wake_at)
    # Servers that still select the pool would lose their nodes for ever.
    keep = keep or (snapshot.release is not None and snapshot.release.selects)
    forget = (Action(Verb.FORGET, _target(snapshot)),) if wants_restore(snapshot) and is_back(snapshot) else ()
    return Plan(
        actions=(
            *(action for live in _owned(snapshot).values() for action in _release(live, keep=keep)),
            *forget,
            Action(Verb.LET_GO, _target(snapshot), live=profile.guard),
        )
    )


def _rescues(snapshot: Snapshot) -> Iterator[Action]:
    """Protected pools that are terminating, or gone while their nodes run on: put back before they are released."""
    if snapshot.karpenter is None:
        return
    owned = _owned(snapshot)
    for pool in snapshot.profile.pools:
        if not (pool.managed and pool.spec.deletion_protection):
            continue
        live = owned.get(pool.name)
        body = render(snapshot.profile, pool, snapshot.karpenter)
        if live and _terminating(live) and FINALIZER_PROTECT in live["metadata"].get("finalizers", ()):
            yield Action(Verb.RECOVER, f"NodePool/{pool.name}", body, live)
        elif pool.name in snapshot.pools or any(pool.name in peer.pools for peer in snapshot.peers):
            continue
        elif any(not claim.deleting for claim in snapshot.claims.get(pool.name, ())):
            yield Action(Verb.CREATE, f"NodePool/{pool.name}", body)


def _release(live: Json, *, keep: bool) -> Iterator[Action]:
    target = f"NodePool/{live['metadata']['name']}"
    yield Action(Verb.REATTACH, target, live=live)
    if keep:
        yield Action(Verb.RELEASE, target, live=live)
        return
    # The marks stay: should the deletion fail, the next pass has to know the pool as its own.
    yield Action(Verb.UNPROTECT, target, live=live)
    if not _terminating(live):
        yield Action(Verb.DELETE, target, live=live, disruption=Disruption.REPLACES_NODES)


def _terminating(live: Json) -> bool:
    return "deletionTimestamp" in live["metadata"]


def _owned(snapshot: Snapshot) -> dict[str, Json]:
    me = Peer.of(snapshot.profile)
    return {
        name: live for name, live in snapshot.pools.items() if ownership(live, me, snapshot.peers) is Ownership.OURS
    }


def _leftovers(snapshot: Snapshot, now: datetime, *, approved: bool) -> Iterator[tuple[Action, Reason | None]]:
    """Let go of pools that carry our mark but that the profile names no more, or names as External.

    Deleting one replaces its nodes, so that waits for its gate; with each action comes the reason why it waits.
    """
    spec = snapshot.profile.spec
    keep = spec.deletion_policy.node_pools is PoolDeletion.RETAIN
    wanted = {pool.name for pool in snapshot.profile.pools if pool.managed}
    for name, live in _owned(snapshot).items():
        if name in wanted:
            continue
        nodes = sum(not claim.deleting for claim in snapshot.claims.get(name, ()))
        reason = None
        if nodes and not keep and not approved and not _terminating(live):
            reason = gates.closed(spec.disruptions, correction=False, corrections_today=0, now=now)
        for action in _release(live, keep=keep):
            if reason is None or action.verb is Verb.DELETE:
                yield replace(action, node_claims=0 if keep else nodes), reason


def _waiting(
    decided: tuple[PoolPlan, ...],
    leftovers: tuple[tuple[Action, Reason | None], ...],
    released: ReleasePlan | None,
) -> Deferred:
    return (
        *(released.deferred if released else ()),
        *(item for pool in decided for item in pool.deferred),
        *((action, reason) for action, reason in leftovers if reason is not None),
    )


def _digest(actions: Iterator[Action]) -> str | None:
    """Name a set of pending actions: what they do, not how many nodes are concerned at the moment.

    It has a part for the release and one for the NodePools, so that the rest of an approved plan is known as such.
    """
    parts: dict[bool, list[Any]] = {}
    for a in actions:
        of_release = a.target.startswith(_RELEASE)
        parts.setdefault(of_release, []).append([a.verb, a.target, list(a.fields), a.disruption, a.digest])
    return joined(digest(parts[which]) for which in sorted(parts)) if parts else None


def _approves(approval: str | None, pending: str | None) -> bool:
    """Whether an approval is of what waits, or of a plan of which that is the rest."""
    return bool(approval and pending) and parts_of(pending or "") <= parts_of(approval or "")


def _wake_at(
    snapshot: Snapshot,
    decided: tuple[PoolPlan, ...],
    released: ReleasePlan | None,
    deferred: Deferred,
    now: datetime,
) -> datetime | None:
    times = [released.wake_at if released else None, *(fight.slowed_until for fight in snapshot.fights)]
    times += [
        picked_up_by(pool.live)
        for pool in decided
        if pool.live and pool.health and pool.health.reason is Reason.PROGRESSING
    ]
    if any(reason is Reason.OUTSIDE_WINDOW for _, reason in deferred):
        times.append(gates.next_opening(snapshot.profile.spec.disruptions.windows, now))
    if snapshot.jobs and any(reason is Reason.CONTENT_RUNNING for _, reason in deferred):
        times.append(now + _ASK_AGAIN)  # nothing announces that renders have ended
    if snapshot.scene:
        times.append(scale_down_due(snapshot.scene))
    return min((time for time in times if time and time > now), default=None)

"""What a deleted profile still owes to the release: the values that were there before. Pure."""

from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.conditions import ConditionType, Reason
from connect_autoscaler.api.spec import ReleaseDeletion, ReleaseManager
from connect_autoscaler.api.status import ConditionStatus, Disruption
from connect_autoscaler.core import gates
from connect_autoscaler.core.model import Action, ReleasePlan, Snapshot, Verb, Verdict
from connect_autoscaler.core.release_model import ReleaseView
from connect_autoscaler.core.release_plan import decide_release
from connect_autoscaler.core.release_words import under_way
from connect_autoscaler.nodepools.ownership import Peer, contested_release

_PATIENCE: Final = timedelta(minutes=10)
"""How long a release that cannot be changed may hold up the deletion of its profile."""


_REFUSALS: Final = frozenset({Reason.FORBIDDEN, Reason.ADMISSION_DENIED, Reason.UNAUTHORIZED})


def giving_back(snapshot: Snapshot, now: datetime, *, approved: bool = False) -> ReleasePlan | None:
    """What is being done, or waited for, before the profile may go; None: nothing more.

    Args:
        snapshot: What was gathered; its release was compared with what was there before the take-over.
        now: Time of the pass.
        approved: Whether the user has approved what waits.
    """
    profile, view = snapshot.profile, snapshot.release
    if view is None:
        return None
    if view.work and view.work.writes:
        return ReleasePlan(Verdict(ConditionStatus.UNKNOWN, Reason.WAITING_FOR_ROLLOUT, under_way(view)))
    if not wants_restore(snapshot) or (view.export is None and is_back(snapshot)):
        return None
    if view.problem and view.problem.reason is Reason.RELEASE_NOT_FOUND:
        return None
    if contested_release(Peer.of(profile), snapshot.peers, view.marks):
        return None  # another profile keeps the release as it is
    if view.problem is None and view.export is not None:
        return _withdrawing(snapshot, view, now, approved=approved)
    if view.problem is None and view.facts is not None and not view.taken_over:
        return None  # nothing was taken over, or what was there before is lost: Keep
    decided = decide_release(snapshot, (), now, approved=approved, wanted=False)
    stuck = decided is not None and decided.problem is not None
    if stuck and profile.deleted_at and now - profile.deleted_at > _PATIENCE:
        return None
    return decided


def _withdrawing(snapshot: Snapshot, view: ReleaseView, now: datetime, *, approved: bool) -> ReleasePlan | None:
    """Delete the overlay that was published for those who write the release: they give its values back themselves."""
    if not view.published or view.export is None:
        return None
    profile, known = snapshot.profile, snapshot.known.condition(ConditionType.RELEASE_CONFIGURED)
    failed = known is not None and known.status is ConditionStatus.FALSE and known.reason in _REFUSALS
    if failed and profile.deleted_at and now - profile.deleted_at > _PATIENCE:
        return None
    meta = view.export["metadata"]
    # Flux rolls the servers as soon as the values go; others take them when they are told to.
    cost = Disruption.RESTARTS_SERVER if view.manager is ReleaseManager.FLUX else Disruption.NONE
    target = f"ConfigMap/{meta['namespace']}/{meta['name']}"
    action = Action(Verb.WITHDRAW, target, view.export, disruption=cost)
    verdict = Verdict(ConditionStatus.UNKNOWN, Reason.PROGRESSING, f"{target} with the overlay is being withdrawn")
    if cost is Disruption.NONE:
        return ReleasePlan(verdict, actions=(action,))
    busy = Reason.CONTENT_RUNNING if view.busy else None
    disruptions = profile.spec.disruptions
    closed = None if approved else gates.closed(disruptions, correction=False, corrections_today=0, now=now, busy=busy)
    told = any((p.action, p.target) == (action.verb, target) for p in profile.status.plan)
    if reason := closed or (None if told else Reason.ANNOUNCED):
        return ReleasePlan(verdict, deferred=((action, reason),))
    return ReleasePlan(verdict, actions=(action,))


def wants_restore(snapshot: Snapshot) -> bool:
    """Whether the user asked for it, and writing is allowed."""
    spec = snapshot.profile.spec
    return spec.may_write and spec.deletion_policy.release is ReleaseDeletion.RESTORE


def is_back(snapshot: Snapshot) -> bool:
    """Whether the release is as it was before the take-over, and runs so."""
    view = snapshot.release
    return view is not None and view.facts is not None and not view.facts.changes and view.rolled_out

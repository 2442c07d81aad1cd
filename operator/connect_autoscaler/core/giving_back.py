"""What a deleted profile still owes to the release: the values that were there before. Pure."""

from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.spec import ReleaseDeletion
from connect_autoscaler.api.status import ConditionStatus
from connect_autoscaler.core.model import ReleasePlan, Snapshot, Verdict
from connect_autoscaler.core.release_model import Phase
from connect_autoscaler.core.release_plan import decide_release
from connect_autoscaler.core.release_words import under_way

_PATIENCE: Final = timedelta(minutes=10)
"""How long a release that cannot be changed may hold up the deletion of its profile."""


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
    if view.work and view.work.phase is not Phase.PREPARING:
        return ReleasePlan(Verdict(ConditionStatus.UNKNOWN, Reason.WAITING_FOR_ROLLOUT, under_way(view)))
    if not wants_restore(snapshot) or is_back(snapshot):
        return None
    if view.problem and view.problem.reason is Reason.RELEASE_NOT_FOUND:
        return None
    if view.problem is None and view.facts is not None and not view.taken_over:
        return None  # nothing was taken over, or what was there before is lost: Keep
    decided = decide_release(snapshot, (), now, approved=approved, wanted=False)
    stuck = decided is not None and decided.problem is not None
    if stuck and profile.deleted_at and now - profile.deleted_at > _PATIENCE:
        return None
    return decided


def wants_restore(snapshot: Snapshot) -> bool:
    """Whether the user asked for it, and writing is allowed."""
    spec = snapshot.profile.spec
    return spec.may_write and spec.deletion_policy.release is ReleaseDeletion.RESTORE


def is_back(snapshot: Snapshot) -> bool:
    """Whether the release is as it was before the take-over, and runs so."""
    view = snapshot.release
    return view is not None and view.facts is not None and not view.facts.changes and view.rolled_out

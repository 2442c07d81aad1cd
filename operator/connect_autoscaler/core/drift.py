"""Drift as status shows it: what differs, since when, by whom, and what became of it. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.spec import Mode
from connect_autoscaler.api.status import DriftAction, DriftItem, DriftStatus, clip, json_text
from connect_autoscaler.core.model import Finding, Outcome, Plan, Snapshot

_REMEMBERED: Final = timedelta(hours=1)
"""How long a corrected difference stays in ``status.drift.items``; it goes with the next write after that."""


def drift(snapshot: Snapshot, plan: Plan, outcome: Outcome, now: datetime) -> DriftStatus:
    """Join this pass's differences with those of earlier ones, which give the time of first sight.

    Args:
        snapshot: What was seen; holds the items of earlier passes.
        plan: What was to become of each difference.
        outcome: What really became of it.
        now: Time of the pass, in whole seconds.
    """
    before = snapshot.known.drift
    old = {(item.target, item.path): item for item in (before.items if before else ())}
    current = []
    for item in _findings(snapshot, plan, outcome):
        known = old.pop((item.target, item.path), None)
        still_open = known is not None and known.action is not DriftAction.CORRECTED
        first = known.first_seen if known and still_open else now
        current.append(item.model_copy(update={"first_seen": first, "last_seen": now}))
    remembered = [
        item
        for item in old.values()
        if item.action is DriftAction.CORRECTED and item.last_seen and now - item.last_seen < _REMEMBERED
    ]
    remembered.sort(key=lambda item: item.last_seen or now, reverse=True)
    current.sort(key=lambda item: item.action is DriftAction.CORRECTED)
    return DriftStatus(total=len(current) + len(remembered), items=(*current, *remembered))


def unsettled(found: DriftStatus) -> DriftStatus:
    """What of it decides whether a status is news: not the corrected (heals counts them), no time of last sight."""
    items = tuple(
        item.model_copy(update={"last_seen": None}) for item in found.items if item.action is not DriftAction.CORRECTED
    )
    return DriftStatus(total=len(items), items=items)


def _findings(snapshot: Snapshot, plan: Plan, outcome: Outcome) -> Iterator[DriftItem]:
    """Say of each difference what really became of it."""
    spec = snapshot.profile.spec
    done = {(action.target, field) for action in outcome.done for field in action.fields}
    failures = {action.target: error.reason for action, error in outcome.failed}
    released = plan.release.findings if plan.release else ()
    for finding in chain(*(pool.findings for pool in plan.pools), released):
        action, reason = finding.action, finding.reason
        if action is DriftAction.CORRECTED and (finding.target, finding.difference.pointer) not in done:
            if spec.mode is Mode.PLAN:
                action, reason = DriftAction.REPORTED, Reason.PLAN_MODE
            elif spec.suspend:
                action, reason = DriftAction.DEFERRED, Reason.SUSPEND_REQUESTED
            else:
                action = DriftAction.DEFERRED
                reason = failures.get(finding.target) or next((p.reason for p in plan.problems), Reason.PROGRESSING)
        yield _item(finding, action, reason)


def _item(finding: Finding, action: DriftAction, reason: Reason | None) -> DriftItem:
    difference = finding.difference
    return DriftItem(
        target=finding.target,
        path=difference.pointer,
        expected=None if difference.expected is None else json_text(difference.expected),
        actual=None if difference.actual is None else json_text(difference.actual),
        manager=clip(finding.author.manager, 128),
        changed_at=datetime.fromisoformat(finding.author.time) if finding.author.time else None,
        action=action,
        reason=reason,
        node_claims=finding.node_claims or None,
    )

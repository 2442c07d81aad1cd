"""Announce, then wait for the gate, then upgrade; and the modes in which nothing is written."""

from dataclasses import replace

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import Disruption
from connect_autoscaler.core import report
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.release_model import Phase, ReleaseView
from unit.builders import NOW, Json
from unit.planning import CONTENT, EXPIRY, OPEN, SHUT, approved, born_elsewhere
from unit.release_views import (
    AT_ONCE,
    EVERYTHING,
    GATELESS,
    JOBS,
    TARGET,
    announced,
    attempted,
    begins,
    begun,
    decided,
    facts,
    message,
    owned,
    prepared,
    told,
    verdict,
    view,
    waits,
    work,
)
from unit.reporting import said

MISSING = ("False", Reason.OVERLAY_MISSING)
APPLIED = ("True", Reason.OVERLAY_APPLIED)


# Announce, then wait for the gate, then upgrade.


def test_nothing_starts_before_its_plan_stands_in_status() -> None:
    seen = owned(view(*EVERYTHING), AT_ONCE)
    assert begins(seen) is None
    assert waits(seen) == [(Verb.UPGRADE, Reason.ANNOUNCED)]
    (planned,) = told(seen).plan
    assert (planned.action, planned.target, planned.disruption) == ("Upgrade", TARGET, "RestartsServer")
    assert planned.fields == tuple(change.pointer for change in EVERYTHING)
    assert said(told(seen))["Ready"] == MISSING
    assert begins(announced(seen)) is Verb.UPGRADE
    assert verdict(announced(seen)) == ("Unknown", Reason.WAITING_FOR_ROLLOUT)
    started = begun(announced(seen))
    assert begins(started) is None
    assert told(started).plan == ()


def test_a_draft_that_was_never_written_announces_nothing() -> None:
    seen = owned(view(*EVERYTHING), AT_ONCE)
    assert begins(replace(seen, draft=told(seen))) is None


@pytest.mark.parametrize(
    "other",
    [
        view(*EVERYTHING[1:]),
        view(*reversed(EVERYTHING)),
        view(*EVERYTHING, prepared=prepared(restarts=False)),
    ],
    ids=["fewer fields", "other fields first", "another cost"],
)
def test_another_plan_than_the_announced_one_is_announced_anew(other: ReleaseView) -> None:
    before = announced(owned(view(*EVERYTHING), AT_ONCE))
    seen = replace(before, release=other)
    assert begins(seen) is None
    assert waits(seen) == [(Verb.UPGRADE, Reason.ANNOUNCED)]
    assert begins(announced(seen)) is Verb.UPGRADE


def test_a_plan_longer_than_status_holds_is_announced_by_its_beginning() -> None:
    many = [replace(JOBS, pointer=f"/tolerations[key={n}]") for n in range(40)]
    assert begins(announced(owned(view(*many), AT_ONCE))) is Verb.UPGRADE


def test_one_piece_of_work_at_a_time() -> None:
    seen = announced(owned(view(*EVERYTHING), AT_ONCE))
    assert seen.release is not None
    proving = replace(seen, release=replace(seen.release, work=work(Phase.PREPARING)))
    assert begins(proving) is None
    assert verdict(proving) == ("Unknown", Reason.PROGRESSING)


def test_what_restarts_nothing_passes_every_gate_but_is_announced_too() -> None:
    quiet = view(*EVERYTHING, prepared=prepared(restarts=False), busy=("render-1",))
    seen = owned(quiet, {"disruptions": {"when": "OnApproval", "windows": [SHUT]}})
    assert waits(seen) == [(Verb.UPGRADE, Reason.ANNOUNCED)]
    assert decided(seen).deferred[0][0].disruption is Disruption.NONE
    assert begins(announced(seen)) is Verb.UPGRADE


BUSY = ("render-1", "render-2")


@pytest.mark.parametrize(
    ("disruptions", "busy", "reason"),
    [
        ({"when": "Immediately"}, BUSY, None),
        ({"when": "WhenIdle"}, (), None),
        ({"when": "WhenIdle"}, BUSY, Reason.CONTENT_RUNNING),
        ({"when": "OnApproval"}, (), Reason.AWAITING_APPROVAL),
        ({"when": "Immediately", "windows": [OPEN]}, (), None),
        ({"when": "Immediately", "windows": [SHUT]}, (), Reason.OUTSIDE_WINDOW),
        ({"when": "WhenIdle", "windows": [SHUT, OPEN]}, (), None),
        ({"when": "WhenIdle", "windows": [SHUT]}, BUSY, Reason.CONTENT_RUNNING),
        ({"when": "Immediately", "maxCorrectionsPerDay": 0}, (), None),
    ],
)
def test_gates(disruptions: Json, busy: tuple[str, ...], reason: Reason | None) -> None:
    seen = announced(owned(view(*EVERYTHING, busy=busy), {"disruptions": disruptions}))
    assert begins(seen) is (None if reason else Verb.UPGRADE)
    assert waits(seen) == ([(Verb.UPGRADE, reason)] if reason else [])
    assert said(told(seen))["Ready"] == (
        ("False", Reason.DEFERRED) if reason else ("Unknown", Reason.WAITING_FOR_ROLLOUT)
    )
    opening = NOW.replace(day=3, hour=3) if reason is Reason.OUTSIDE_WINDOW else None
    assert plan(seen, NOW).wake_at == opening


@pytest.mark.parametrize("when", ["OnApproval", "WhenIdle", "Immediately"])
def test_approval_opens_every_gate_for_exactly_the_plan_it_names(when: str) -> None:
    shut = {"disruptions": {"when": when, "windows": [SHUT], "maxCorrectionsPerDay": 0}}
    seen = announced(owned(view(*EVERYTHING, busy=BUSY), shut))
    digest = told(seen).plan_digest
    assert digest is not None
    assert begins(seen) is None
    assert begins(approved(seen, digest)) is Verb.UPGRADE
    assert plan(approved(seen, digest), NOW).digest is None
    assert seen.release is not None
    for other in (
        view(*EVERYTHING, facts=facts(*EVERYTHING, revision=4)),
        view(*EVERYTHING[:2]),
        view(*EVERYTHING, facts=facts(*EVERYTHING, wanted={"nodeSelector": {"workload": "other"}})),
        view(*EVERYTHING, prepared=prepared(restarts=False), facts=facts(*EVERYTHING, revision=5)),
    ):
        changed = replace(seen, release=replace(other, busy=BUSY))
        assert plan(changed, NOW).digest not in (None, digest)
        assert begins(approved(changed, digest)) is None
    for wrong in (None, "", "sha256:0", f"{digest} "):
        assert begins(approved(seen, wrong)) is None


def test_approval_neither_skips_the_announcement_nor_ends_a_suspension() -> None:
    seen = owned(view(*EVERYTHING), {"disruptions": {"when": "OnApproval"}})
    early = approved(seen, told(seen).plan_digest)
    assert begins(early) is None
    suspended = owned(view(*EVERYTHING), {"suspend": True})
    assert begins(approved(announced(suspended), told(suspended).plan_digest)) is None


def test_an_approved_upgrade_that_was_interrupted_is_announced_again_and_then_made() -> None:
    seen = announced(owned(view(*EVERYTHING), {"disruptions": {"when": "OnApproval"}}))
    started = announced(begun(approved(seen, told(seen).plan_digest)))
    assert told(started).plan == ()
    cut_off = replace(started, release=view(*EVERYTHING, attempted=attempted(Reason.CANCELLED)))
    assert begins(cut_off) is None
    assert begins(announced(cut_off)) is Verb.UPGRADE


def test_one_approval_releases_the_whole_plan_also_when_it_is_interrupted() -> None:
    """The NodePool is done, then the operator starts anew: the upgrade is the rest of what was approved."""
    spec: Json = {"disruptions": {"when": "OnApproval"}}
    pools: Json = {"bend": {CONTENT: EXPIRY}, "claims": born_elsewhere(CONTENT)}
    whole = announced(owned(view(*EVERYTHING), spec, **pools))
    digest = told(whole).plan_digest
    assert {action.verb for action, _ in plan(whole, NOW).deferred} == {Verb.APPLY, Verb.UPGRADE}
    assert begins(approved(whole, digest)) is Verb.UPGRADE
    rest = announced(owned(view(*EVERYTHING), spec))
    assert told(rest).plan_digest not in (None, digest)
    assert begins(rest) is None
    assert begins(approved(rest, digest)) is Verb.UPGRADE
    assert begins(approved(whole, told(rest).plan_digest)) is None, "the rest alone is not the whole"
    other = announced(owned(view(*EVERYTHING, facts=facts(*EVERYTHING, revision=4)), spec))
    assert begins(approved(other, digest)) is None, "nor is the rest of another plan"


# Modes.


def test_mode_plan_shows_everything_and_begins_nothing() -> None:
    seen = announced(owned(view(*EVERYTHING), {**AT_ONCE, "mode": "Plan"}))
    assert begins(seen) is None
    assert waits(seen) == [(Verb.UPGRADE, Reason.PLAN_MODE)]
    assert [(planned.action, planned.disruption) for planned in told(seen).plan] == [("Upgrade", "RestartsServer")]
    assert said(told(seen))["Ready"] == ("False", Reason.DEFERRED)
    assert "To start" not in message(seen, "Ready"), "approval would not help"
    assert begins(approved(seen, told(seen).plan_digest)) is None


def test_a_suspended_profile_shows_what_it_lacks() -> None:
    seen = announced(owned(view(*EVERYTHING, prepared=None), {**AT_ONCE, "suspend": True}))
    assert begins(seen) is None
    assert waits(seen) == [(Verb.UPGRADE, Reason.SUSPEND_REQUESTED)]
    assert said(told(seen))["Ready"] == ("False", Reason.DEFERRED)
    assert "set false to go on" in message(seen, "Ready")
    assert "To start" not in message(seen, "Ready"), "approval would not help"


@pytest.mark.parametrize(
    ("spec", "reported"), [({"mode": "Plan"}, "PlanMode"), ({"suspend": True}, "SuspendRequested")]
)
def test_drift_where_nothing_is_written(spec: Json, reported: str) -> None:
    seen = owned(view(JOBS, applied=True), {**GATELESS, **spec})
    drift = told(seen).drift
    assert drift is not None
    assert [item.reason for item in drift.items] == [reported]
    assert said(told(seen))["Drifted"] == ("True", Reason.DRIFT_DETECTED)


def test_an_upgrade_that_waits_for_its_turn_is_announced_once() -> None:
    seen = announced(owned(view(*EVERYTHING), AT_ONCE))
    waiting = announced(replace(seen, release=view(*EVERYTHING, work=work(Phase.WAITING))))
    assert verdict(waiting) == ("Unknown", Reason.PROGRESSING)
    assert "waits for its turn" in message(waiting)
    assert begins(waiting) is None
    assert waits(waiting) == []
    assert report.same(told(waiting), waiting.profile.status), "however long it takes, nothing is written"
    suspended = announced(owned(view(*EVERYTHING, work=work(Phase.WAITING)), {**AT_ONCE, "suspend": True}))
    assert waits(suspended) == [(Verb.UPGRADE, Reason.SUSPEND_REQUESTED)]

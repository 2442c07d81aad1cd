"""Drift of a release: what is said of it, what is corrected, and when that is a fight."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import Disruption, DriftAction
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.release_model import ReleaseView
from connect_autoscaler.core.release_plan import opponent
from connect_autoscaler.nodepools.managers import Author
from unit.builders import NOW, Json
from unit.planning import approved
from unit.release_views import (
    ANNOTATION,
    AT_ONCE,
    CONFIG,
    CORRECT,
    EVERYTHING,
    GATELESS,
    JOBS,
    RENDERED,
    SELECTS,
    TARGET,
    TOLERATION,
    announced,
    attempted,
    begins,
    decided,
    entries,
    facts,
    live,
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


BUSY = ("render-1", "render-2")


# Drift.


def test_harmless_drift_keeps_ready_and_is_said_with_its_author() -> None:
    seen = owned(view(JOBS, applied=True))
    found = said(told(seen))
    assert found["Ready"] == ("True", Reason.IN_SYNC)
    assert found["ReleaseConfigured"] == APPLIED
    assert found["Drifted"] == ("True", Reason.DRIFT_DETECTED)
    assert not {"Reconciling", "Stalled"} & found.keys()
    drift = told(seen).drift
    assert drift is not None
    (item,) = drift.items
    assert (item.target, item.path, item.action, item.reason, item.manager, item.changed_at) == (
        TARGET, JOBS.pointer, DriftAction.REPORTED, "Policy", "helm revision 3", NOW - timedelta(hours=1),
    )  # fmt: skip
    assert waits(seen) == [(Verb.UPGRADE, Reason.POLICY)]
    assert begins(announced(seen)) is None


@pytest.mark.parametrize("change", [TOLERATION, SELECTS, ANNOTATION], ids=lambda change: change.pointer[:12])
def test_drift_that_breaks_the_promise_costs_ready_under_every_policy(change: object) -> None:
    for spec in ({}, CORRECT, {"mode": "Plan"}, {"suspend": True}):
        seen = owned(view(change, JOBS, applied=True, busy=BUSY), spec)  # type: ignore[arg-type]
        found = said(told(seen))
        assert found["Ready"] == ("False", Reason.GUARANTEE_BROKEN)
        assert found["ReleaseConfigured"] == MISSING
        assert JOBS.pointer not in message(seen), "that one does not break it"


def test_a_new_release_breaks_no_promise() -> None:
    seen = owned(view(*EVERYTHING, facts=facts(*EVERYTHING, kept=(RENDERED,))), AT_ONCE)
    assert told(seen).drift is not None
    assert said(told(seen))["Ready"] == MISSING, "a value that the user keeps is no broken promise"


@pytest.mark.parametrize(
    ("change", "ready"), [(JOBS, ("True", Reason.IN_SYNC)), (SELECTS, ("False", Reason.GUARANTEE_BROKEN))]
)
def test_live_drift(change: object, ready: tuple[str, Reason]) -> None:
    seen = owned(view(applied=True, live=(live(change),)))  # type: ignore[arg-type]
    assert said(told(seen))["Ready"] == ready
    drift = told(seen).drift
    assert drift is not None
    (item,) = drift.items
    assert (item.manager, item.action, item.reason) == ("kubectl-edit", DriftAction.REPORTED, "Policy")
    assert item.target == "Deployment/posit/connect-rstudio-connect"


def test_live_drift_of_the_deployment_restarts_the_servers_though_values_stay() -> None:
    quiet = prepared(restarts=False)
    seen = owned(view(applied=True, live=(live(SELECTS),), prepared=quiet), CORRECT)
    ((action, reason),) = decided(seen).deferred
    assert (action.disruption, reason) == (Disruption.RESTARTS_SERVER, Reason.ANNOUNCED)
    assert action.fields == ("Deployment/posit/connect-rstudio-connect/spec/template/spec/nodeSelector/workload",)
    config = live(RENDERED, target=str(CONFIG))
    mild = owned(view(applied=True, live=(config,), prepared=quiet), CORRECT)
    assert decided(mild).deferred[0][0].disruption is Disruption.NONE


def test_live_differences_of_a_release_not_taken_over_are_shown_and_remembered() -> None:
    seen = owned(view(live=(live(JOBS),)))
    assert verdict(seen) == APPLIED
    assert begins(seen) is Verb.REMEMBER


def test_correct_corrects_through_the_gate() -> None:
    seen = owned(view(JOBS, applied=True), GATELESS)
    assert waits(seen) == [(Verb.UPGRADE, Reason.ANNOUNCED)]
    assert begins(announced(seen)) is Verb.UPGRADE
    action = decided(announced(seen)).work
    assert action is not None
    assert action.drift
    busy = announced(owned(view(JOBS, applied=True, busy=BUSY), CORRECT))
    assert waits(busy) == [(Verb.UPGRADE, Reason.CONTENT_RUNNING)]
    assert said(told(busy))["Ready"] == ("True", Reason.IN_SYNC), "a correction that waits keeps Ready"


def test_drift_stays_what_it_is_while_it_is_looked_into() -> None:
    seen = owned(view(JOBS, applied=True, prepared=None), GATELESS)
    assert begins(seen) is Verb.PREPARE
    assert verdict(seen) == APPLIED
    assert "Reconciling" not in said(told(seen))


@pytest.mark.parametrize("spec", [{}, CORRECT])
def test_approval_corrects_what_policy_or_limits_would_not(spec: Json) -> None:
    corrections = tuple((NOW - timedelta(hours=h), "helm upgrade") for h in (1, 2, 3))
    seen = announced(owned(view(JOBS, applied=True, busy=BUSY, corrections=corrections), spec))
    assert begins(seen) is None
    assert begins(approved(seen, told(seen).plan_digest)) is Verb.UPGRADE


@pytest.mark.parametrize(
    ("ages", "by", "reason"),
    [
        ((1,), "helm upgrade", None),
        ((1, 23), "helm upgrade", Reason.FIGHT_DETECTED),
        ((1, 24), "helm upgrade", None),
        ((1, 2), "helm rollback", Reason.DAILY_LIMIT),
        ((1,), "helm rollback", None),
    ],
)
def test_after_two_corrections_of_one_opponent_in_a_day_it_is_a_fight(
    ages: tuple[int, ...], by: str, reason: Reason | None
) -> None:
    corrections = tuple((NOW - timedelta(hours=age), by) for age in ages)
    seen = announced(owned(view(TOLERATION, applied=True, corrections=corrections), GATELESS))
    assert begins(seen) is (None if reason else Verb.UPGRADE)
    assert waits(seen) == ([(Verb.UPGRADE, reason)] if reason else [])
    assert ("Fighting" in said(told(seen))) is (reason is Reason.FIGHT_DETECTED)
    if reason is Reason.FIGHT_DETECTED:
        assert "helm revision 3" in message(seen, "Fighting"), "the opponent is named"


@pytest.mark.parametrize(
    ("release", "by"),
    [
        (view(JOBS, applied=True), "helm upgrade"),
        (view(applied=True, facts=facts(JOBS, rollback_to=1)), "helm rollback"),
        (view(applied=True, live=(live(JOBS),)), "kubectl-edit"),
        (view(applied=True, live=(live(JOBS, by=Author("unknown", None)),)), "unknown"),
    ],
    ids=["upgrade", "rollback", "edit", "nobody"],
)
def test_opponents_are_told_apart(release: ReleaseView, by: str) -> None:
    corrections = tuple((NOW - timedelta(hours=age), by) for age in (1, 2))
    seen = announced(owned(replace(release, corrections=corrections), GATELESS))
    assert waits(seen) == [(Verb.UPGRADE, Reason.FIGHT_DETECTED)]


def test_a_change_of_the_profile_is_no_correction() -> None:
    corrections = tuple((NOW - timedelta(hours=age), "helm upgrade") for age in (1, 2, 3))
    seen = announced(owned(view(TOLERATION, taken_over=True, corrections=corrections), GATELESS))
    assert begins(seen) is Verb.UPGRADE
    action = decided(seen).work
    assert action is not None
    assert not action.drift


def test_a_rollback_is_named_with_its_goal() -> None:
    drift = told(owned(view(applied=True, facts=facts(JOBS, rollback_to=1)))).drift
    assert drift is not None
    assert drift.items[0].manager == "helm revision 3 (rollback to 1)"


def test_values_that_the_user_keeps_are_shown_and_are_no_drift() -> None:
    seen = owned(view(applied=True, facts=facts(kept=(RENDERED,))))
    drift = told(seen).drift
    assert drift is not None
    assert [(item.path, item.action, item.reason) for item in drift.items] == [
        (RENDERED.pointer, DriftAction.IGNORED, "UserValue")
    ]
    assert said(told(seen))["Drifted"] == ("False", Reason.NO_DRIFT_DETECTED)
    assert said(told(seen))["Ready"] == ("True", Reason.IN_SYNC)


def test_what_admission_changes_is_not_fought() -> None:
    seen = owned(view(applied=True, live=(live(SELECTS, mutated=True),)), GATELESS)
    assert verdict(seen) == ("False", Reason.MUTATED_BY_ADMISSION)
    assert "/spec/template/spec/nodeSelector/workload" in message(seen)
    assert begins(announced(seen)) is None
    drift = told(seen).drift
    assert drift is not None
    assert drift.items[0].reason == "MutatedByAdmission"
    both = owned(view(JOBS, applied=True, live=(live(SELECTS, mutated=True),)), GATELESS)
    assert waits(both) == [(Verb.UPGRADE, Reason.ANNOUNCED)], "values have to be put right all the same"


def test_what_helm_changes_at_this_moment_is_no_drift() -> None:
    """Each watch tells in its own time: the new revision may be known before the new Deployment is."""
    at_work = view(applied=True, live=(live(SELECTS), live(RENDERED)), work=work())
    assert not decided(owned(at_work)).findings
    known = announced(owned(view(applied=True, live=(live(SELECTS),))))
    seen = replace(known, release=at_work)
    assert [each.difference.pointer for each in decided(seen).findings] == [live(SELECTS).change.pointer]


# A correction that failed, and whose way back has put the live objects right.


@pytest.mark.parametrize(
    ("fields", "verb"),
    [
        ({}, Verb.UPGRADE),
        ({"tried": Reason.ROLLBACK_FAILED}, None),
        ({"corrects": None}, None),
        ({"number": 5, "status": "deployed", "deployed": 5}, None),
        ({"number": 7}, None),
        ({"started": NOW}, None),
    ],
    ids=["ours", "final", "no correction", "deployed by its way back", "somebody else's failed", "a breath ago"],
)
def test_a_correction_is_brought_to_its_end_though_nothing_differs_any_more(fields: Json, verb: Verb | None) -> None:
    some = {"tried": Reason.CANCELLED, "corrects": "kubectl", "started": NOW - timedelta(minutes=5), **fields}
    revisions = entries(some.get("number", 5), some.get("status", "failed"), deployed=some.get("deployed", 3))
    tried = attempted(some["tried"], corrects=some["corrects"], started=some["started"])
    seen = owned(view(applied=True, entries=revisions, attempted=tried, prepared=prepared(restarts=False)), CORRECT)
    assert begins(announced(seen)) is verb
    if verb:
        action = decided(announced(seen)).work
        assert action is not None
        assert seen.release is not None
        assert (action.disruption, action.drift) == (Disruption.NONE, True)
        assert opponent(seen.release, facts()) == "kubectl"


def test_nor_is_it_done_without_approval_if_drift_is_only_reported() -> None:
    tried = attempted(Reason.CANCELLED, corrects="kubectl")
    seen = owned(view(applied=True, entries=entries(5, "failed"), attempted=tried), AT_ONCE)
    assert begins(announced(seen)) is None
    assert waits(seen) == [(Verb.UPGRADE, Reason.POLICY)]
    assert begins(approved(announced(seen), told(announced(seen)).plan_digest)) is Verb.UPGRADE

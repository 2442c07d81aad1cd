"""Drift in status: what, where, who, since when, and what became of it."""

import json
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import DriftAction, ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.model import Outcome
from connect_autoscaler.core.plan import plan
from unit.builders import (
    NOW,
    Json,
    settled,
)
from unit.planning import (
    CONTENT,
    EXPIRY,
    SERVER,
    WEIGHT,
    born_elsewhere,
    patch,
)
from unit.reporting import (
    LATER,
    check_bounds,
    items,
    next_pass,
    said,
    status_of,
)


def test_an_item_says_what_where_and_who() -> None:
    (item,) = items(status_of(settled(bend={SERVER: EXPIRY})))
    assert (item.target, item.path) == ("NodePool/connect-server", "/spec/template/spec/expireAfter")
    assert (item.expected, item.actual) == ('"Never"', '"24h"')
    assert (item.manager, item.changed_at) == ("kubectl-edit", NOW)
    assert (item.first_seen, item.last_seen) == (NOW, NOW)
    assert (item.action, item.reason) == (DriftAction.CORRECTED, None)


def test_absent_is_not_null() -> None:
    (item,) = items(status_of(settled(bend={SERVER: WEIGHT})))
    assert item.expected is None
    assert "expected" not in item.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert item.actual == "7"


def test_first_sight_is_remembered_while_a_difference_lasts() -> None:
    seen = settled({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: WEIGHT})
    first = status_of(seen)
    then = next_pass(seen, first)
    later = report.status(then, plan(then, LATER), Outcome(), LATER)
    (item,) = items(later)
    assert (item.first_seen, item.last_seen) == (NOW, LATER)
    assert report.same(first, later), "and the time of last sight alone is no news"


def test_a_corrected_difference_is_remembered_for_an_hour() -> None:
    seen = settled(bend={SERVER: WEIGHT})
    first = status_of(seen)
    assert first.heals is not None
    assert (first.heals.total, first.heals.last_time) == (1, NOW)
    healed = next_pass(seen, first, settled().pools)

    def after(minutes: int) -> ProfileStatus:
        now = NOW + timedelta(minutes=minutes)
        return report.status(healed, plan(healed, now), Outcome(), now)

    assert [(item.path, item.action) for item in items(after(59))] == [("/spec/weight", DriftAction.CORRECTED)]
    assert items(after(60)) == []
    assert said(after(1))["Drifted"] == ("False", Reason.NO_DRIFT_DETECTED)
    assert after(1).heals == first.heals


def test_a_difference_that_comes_back_is_a_new_one() -> None:
    seen = settled(bend={SERVER: WEIGHT})
    again = next_pass(seen, status_of(seen))
    (item,) = items(report.status(again, plan(again, LATER), Outcome(done=plan(again, LATER).actions), LATER))
    assert (item.first_seen, item.action) == (LATER, DriftAction.CORRECTED)


def test_what_the_plan_would_correct_is_only_reported_in_mode_plan_and_held_while_suspended() -> None:
    (item,) = items(status_of(settled({"mode": "Plan"}, bend={SERVER: WEIGHT})))
    assert (item.action, item.reason) == (DriftAction.REPORTED, Reason.PLAN_MODE)
    (item,) = items(status_of(settled({"suspend": True}, bend={SERVER: WEIGHT})))
    assert (item.action, item.reason) == (DriftAction.DEFERRED, Reason.SUSPEND_REQUESTED)


def test_what_is_open_comes_first() -> None:
    spec = {"driftPolicy": {"ignore": [{"paths": ["/spec/limits"]}]}}
    bends = patch({"weight": 7, "limits": {"cpu": 1}, "template": {"spec": {"expireAfter": "1h"}}})
    seen = settled(spec, bend={CONTENT: bends}, claims=born_elsewhere(CONTENT))
    assert [item.action for item in items(status_of(seen))] == ["Ignored", "Deferred", "Corrected"]


def test_items_are_bounded_and_counted() -> None:
    many = {f"example.com/r{n:02}": n for n in range(30)}
    seen = settled({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: patch({"limits": many})})
    status = status_of(seen)
    assert status.drift is not None
    assert (status.drift.total, len(status.drift.items)) == (30, 20)
    check_bounds(status)


def test_long_values_are_cut_and_stay_json() -> None:
    long = {"a/b": "é" * 1000, "k" * 300: "v"}
    seen = settled(bend={SERVER: patch({"template": {"metadata": {"annotations": long}}})})
    status = status_of(seen)
    check_bounds(status)
    text = next(item.actual for item in items(status) if item.path.endswith("a~1b"))
    assert text is not None
    assert json.loads(text).endswith("…")


def test_an_endless_path_is_cut() -> None:
    name = "k" * 600
    status = status_of(settled({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: patch({"future": {name: 1}})}))
    check_bounds(status)
    (item,) = items(status)
    assert item.path.endswith("…")


@pytest.mark.parametrize(
    "strange",
    [
        {"key": "a", "operator": "Soon", "values": ["x"], "future": 1},
        {"key": "a", "operator": "In", "values": ["x" * 100]},
        {"key": "a", "operator": "In", "values": ["x"], "minValues": 51},
    ],
)
def test_requirements_that_only_karpenter_understands_do_not_stop_the_report(strange: Json) -> None:
    """The CRD of 1.14 and 1.15 stores values of any length; a newer one may know more operators."""
    bend = patch({"template": {"spec": {"requirements": [strange]}}})
    check_bounds(status_of(settled({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: bend})))

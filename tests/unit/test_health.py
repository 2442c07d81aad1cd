"""Karpenter's conditions of a NodePool in our words."""

from datetime import timedelta
from typing import Any

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.nodepools.health import PICKED_UP_WITHIN, Health, health, picked_up_by
from unit.builders import NOW, edited, judged, live_pool, profile

Json = dict[str, Any]

POOL = live_pool(profile(), "connect-server", age=30.0)


def conditions(**found: tuple[str, str, str]) -> Json:
    """Return the pool with conditions: status, reason and message by type."""
    return {
        **POOL,
        "status": {
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1}
                for kind, (status, reason, message) in found.items()
            ]
        },
    }


def verdict(live: Json, after: timedelta = timedelta()) -> tuple[str, Reason, bool]:
    found = health(live, NOW + after)
    assert "connect-server" in found.message
    return found.ready, found.reason, found.current


OK = ("True", "Ready", "")


def test_ready() -> None:
    assert verdict(POOL) == ("True", Reason.ALL_READY, True)
    assert verdict(conditions(Ready=OK)) == ("True", Reason.ALL_READY, True)


def test_ready_of_an_older_generation() -> None:
    assert verdict(edited(POOL, {"spec": {"weight": 1}})) == ("True", Reason.ALL_READY, False)
    assert verdict(judged(edited(POOL, {"spec": {"weight": 1}}))) == ("True", Reason.ALL_READY, True)


def test_a_condition_without_observed_generation_is_believed() -> None:
    live = {**POOL, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert verdict(live) == ("True", Reason.ALL_READY, True)


NOT_FOUND = ("False", "NodeClassNotFound", "NodeClass not found on cluster")
NOT_READY = ("False", "SubnetsNotFound", "SubnetSelector did not match any Subnets")
INVALID = ("False", "NodePoolValidationFailed", "duplicate taint Key/Effect pair")
UNHEALTHY = ("False", "UnhealthyDependents", "NodeClassReady=False")
WAITING = ("Unknown", "AwaitingReconciliation", "object is awaiting reconciliation")


@pytest.mark.parametrize(
    ("live", "reason", "words"),
    [
        (
            conditions(Ready=UNHEALTHY, NodeClassReady=NOT_FOUND, ValidationSucceeded=OK),
            Reason.NODE_CLASS_NOT_FOUND,
            NOT_FOUND,
        ),
        (
            conditions(Ready=UNHEALTHY, NodeClassReady=NOT_READY, ValidationSucceeded=OK),
            Reason.NODE_CLASS_NOT_READY,
            NOT_READY,
        ),
        (conditions(Ready=UNHEALTHY, NodeClassReady=OK, ValidationSucceeded=INVALID), Reason.INVALID, INVALID),
        (conditions(Ready=UNHEALTHY, NodeClassReady=NOT_FOUND, ValidationSucceeded=INVALID), Reason.INVALID, INVALID),
        (conditions(Ready=WAITING, NodeClassReady=WAITING, ValidationSucceeded=INVALID), Reason.INVALID, INVALID),
        (conditions(Ready=UNHEALTHY, NodeClassReady=OK, ValidationSucceeded=OK), Reason.NOT_READY, UNHEALTHY),
        (conditions(Ready=("False", "Other", "")), Reason.NOT_READY, ("", "", "Other")),
        (
            conditions(Ready=UNHEALTHY, NodeClassReady=("False", "Gone", "")),
            Reason.NODE_CLASS_NOT_READY,
            ("", "", "Gone"),
        ),
    ],
)
def test_not_ready(live: Json, reason: Reason, words: tuple[str, str, str]) -> None:
    assert verdict(live) == ("False", reason, True)
    assert words[2] in health(live, NOW).message


def test_not_ready_without_a_word() -> None:
    live = {**POOL, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert verdict(live) == ("False", Reason.NOT_READY, True)


@pytest.mark.parametrize("live", [conditions(Ready=WAITING), conditions(ValidationSucceeded=OK)])
def test_not_judged_yet(live: Json) -> None:
    assert verdict(live) == ("Unknown", Reason.PROGRESSING, False)


def test_registration_health_is_only_informative() -> None:
    live = conditions(Ready=OK, NodeRegistrationHealthy=("False", "RegistrationFailed", "no node joined"))
    assert verdict(live) == ("True", Reason.ALL_READY, True)


@pytest.mark.parametrize("status", [{}, {"status": {}}, {"status": {"nodes": 0}}, {"status": {"conditions": []}}])
def test_a_pool_that_no_karpenter_looks_at(status: Json) -> None:
    fresh = {key: value for key, value in POOL.items() if key != "status"} | status
    fresh["metadata"] = {**fresh["metadata"], "annotations": {}}
    deadline = picked_up_by(fresh) - NOW
    assert deadline == PICKED_UP_WITHIN - timedelta(seconds=30)
    assert verdict(fresh) == ("Unknown", Reason.PROGRESSING, False)
    assert verdict(fresh, deadline - timedelta(seconds=1)) == ("Unknown", Reason.PROGRESSING, False)
    assert verdict(fresh, deadline) == ("False", Reason.NOT_PICKED_UP, True)
    assert "EC2NodeClass.karpenter.k8s.aws" in health(fresh, NOW + timedelta(hours=1)).message
    hashed = {**fresh, "metadata": {**fresh["metadata"], "annotations": {"karpenter.sh/nodepool-hash": "1"}}}
    assert verdict(hashed, timedelta(hours=1)) == ("Unknown", Reason.PROGRESSING, False)


def test_verdicts_are_about_the_present_generation_unless_they_say_otherwise() -> None:
    assert Health(health(POOL, NOW).ready, Reason.ALL_READY, "").current

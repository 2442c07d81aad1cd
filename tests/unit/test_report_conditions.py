"""Ready, and what it is made of."""

from dataclasses import replace
from typing import Any

import pytest

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.status import DriftAction
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.model import Fight, Snapshot
from connect_autoscaler.core.release_model import ReleaseView
from unit.builders import (
    edited,
    gone,
    judged,
    live_pool,
    profile,
    settled,
    snapshot,
    terminating,
)
from unit.planning import (
    CONTENT,
    EXPIRY,
    MISSING,
    SERVER,
    WEIGHT,
    born_elsewhere,
    external,
    fight,
    rival,
)
from unit.reporting import (
    ABNORMAL,
    failing,
    next_pass,
    said,
    status_of,
    steady,
)


def test_a_converged_profile_is_ready() -> None:
    status = status_of(settled())
    assert said(status) == {
        "Ready": ("True", Reason.IN_SYNC),
        "NodePoolsReady": ("True", Reason.ALL_READY),
        "Drifted": ("False", Reason.NO_DRIFT_DETECTED),
    }
    assert status.plan == ()
    assert status.plan_digest is None
    assert status.drift is not None
    assert status.drift.total == 0


def test_a_new_profile_waits_for_karpenter() -> None:
    status = status_of(snapshot(profile()))
    assert said(status)["Ready"] == ("Unknown", Reason.WAITING_FOR_NODE_POOLS)
    assert said(status)["Reconciling"] == ("True", Reason.WAITING_FOR_NODE_POOLS)
    assert said(status)["Drifted"] == ("False", Reason.NO_DRIFT_DETECTED)


def conditions_of_server(**found: str) -> Any:
    return lambda live: judged(live, found)


@pytest.mark.parametrize(
    ("bend", "status", "reason"),
    [
        (conditions_of_server(Ready="True"), "True", Reason.IN_SYNC),
        (conditions_of_server(Ready="False"), "False", Reason.NOT_READY),
        (conditions_of_server(Ready="False", NodeClassReady="False"), "False", Reason.NODE_CLASS_NOT_READY),
        (conditions_of_server(Ready="Unknown"), "Unknown", Reason.WAITING_FOR_NODE_POOLS),
        (terminating, "Unknown", Reason.WAITING_FOR_NODE_POOLS),
    ],
)
def test_ready_is_as_its_pools_are(bend: Any, status: str, reason: Reason) -> None:
    assert said(status_of(settled(bend={SERVER: bend})))["Ready"] == (status, reason)


def test_a_heal_does_not_cost_readiness() -> None:
    status = status_of(steady(bend={SERVER: WEIGHT}))
    assert said(status)["Ready"] == ("True", Reason.IN_SYNC)
    assert said(status)["Drifted"] == ("False", Reason.NO_DRIFT_DETECTED)


def test_a_new_generation_is_not_ready_before_karpenter_has_judged_it() -> None:
    old = settled()
    owner = replace(profile({"serverPool": {"weight": 9}}, generation=2), status=status_of(old))
    rolled_out = {**old.pools, SERVER: edited(old.pools[SERVER], {"spec": {"weight": 9}})}
    waiting = status_of(replace(old, profile=owner, pools=rolled_out))
    assert said(waiting)["Ready"] == ("Unknown", Reason.WAITING_FOR_NODE_POOLS)
    found_good = {**rolled_out, SERVER: judged(rolled_out[SERVER])}
    assert said(status_of(replace(old, profile=owner, pools=found_good)))["Ready"] == ("True", Reason.IN_SYNC)


def test_drift_that_is_only_reported_keeps_ready() -> None:
    status = status_of(steady({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: WEIGHT}))
    assert said(status)["Ready"] == ("True", Reason.IN_SYNC)
    assert said(status)["Drifted"] == ("True", Reason.DRIFT_DETECTED)


def test_drift_that_breaks_the_promise_does_not() -> None:
    status = status_of(steady({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: EXPIRY}))
    assert said(status)["Ready"] == ("False", Reason.GUARANTEE_BROKEN)
    ready = status.condition("Ready")
    assert ready is not None
    assert "/spec/template/spec/expireAfter" in ready.message
    shared = next_pass(external(EXPIRY), status_of(external()))
    assert said(status_of(shared))["Ready"] == ("False", Reason.GUARANTEE_BROKEN)


def test_a_roll_out_that_waits_is_not_ready_and_says_how_to_start_it() -> None:
    spec = {"contentPool": {"expireAfter": "100h"}}
    seen = settled(spec, written={}, claims=born_elsewhere(CONTENT))
    status = status_of(seen)
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", Reason.DEFERRED)
    assert f"connect-autoscaler.io/approve={status.plan_digest}" in ready.message
    assert "production" in ready.message
    (planned,) = status.plan
    assert (planned.action, planned.target, planned.disruption, planned.node_claims, planned.reason) == (
        "Apply", "NodePool/connect-content", "ReplacesNodes", 2, "NodesInUse",
    )  # fmt: skip
    assert planned.fields == ("/spec/template/spec/expireAfter",)


def test_a_correction_that_waits_keeps_ready() -> None:
    status = status_of(steady(bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT)))
    assert said(status)["Ready"] == ("True", Reason.IN_SYNC)
    assert said(status)["Drifted"] == ("True", Reason.DRIFT_DETECTED)
    assert status.drift is not None
    (item,) = status.drift.items
    assert (item.action, item.reason, item.node_claims) == (DriftAction.DEFERRED, "NodesInUse", 2)


@pytest.mark.parametrize(
    ("seen", "reason", "stalled"),
    [
        (snapshot(profile(), karpenter=None), Reason.KARPENTER_NOT_INSTALLED, False),
        (snapshot(profile(), node_class=MISSING), Reason.NODE_CLASS_NOT_FOUND, False),
        (snapshot(profile(), peers=(rival(),)), Reason.POOL_CLAIMED_TWICE, True),
        (snapshot(profile({"mode": "Plan"})), Reason.PLAN_MODE, False),
        (snapshot(profile({"suspend": True})), Reason.SUSPEND_REQUESTED, False),
        (external(gone), Reason.POOL_MISSING, False),
    ],
)
def test_refusals(seen: Snapshot, reason: Reason, stalled: bool) -> None:  # noqa: FBT001 - a column
    found = said(status_of(seen))
    assert found["Ready"] == ("False", reason)
    assert found["NodePoolsReady"] == ("False", reason)
    assert ("Stalled" in found) is stalled
    assert "Reconciling" not in found or not stalled


@pytest.mark.parametrize(
    "seen",
    [
        snapshot(profile(), [live_pool(profile(name="rival"), SERVER)], peers=(rival(),)),
        snapshot(profile(), [live_pool(profile(name="other"), SERVER)]),
    ],
    ids=["contested", "taken"],
)
def test_what_was_not_compared_is_not_called_free_of_drift(seen: Snapshot) -> None:
    assert said(status_of(seen))["Drifted"] == ("Unknown", Reason.CHECK_FAILED)


def test_a_release_that_does_not_exist_yet_is_no_dead_end() -> None:
    missing = Problem(Reason.RELEASE_NOT_FOUND, "There is no Helm release connect", stalled=False)
    seen = settled({"release": {"namespace": "posit", "name": "connect"}})
    seen = replace(seen, release=ReleaseView("posit", "connect", problem=missing))
    assert said(status_of(seen))["ReleaseConfigured"] == ("False", Reason.RELEASE_NOT_FOUND)
    assert said(status_of(seen))["Ready"] == ("False", Reason.RELEASE_NOT_FOUND)
    assert "Stalled" not in said(status_of(seen))
    spec = {"release": {"namespace": "posit", "name": "connect"}, "driftPolicy": {"release": "Ignore"}}
    assert said(status_of(settled(spec)))["Ready"] == ("True", Reason.IN_SYNC)
    assert "ReleaseConfigured" not in said(status_of(settled(spec)))


@pytest.mark.parametrize(
    ("error", "ready", "abnormal"),
    [
        (KubeError(403, Reason.FORBIDDEN, "no", Retry.USER), ("False", Reason.FORBIDDEN), "Stalled"),
        (KubeError(503, Reason.API_UNAVAILABLE, "no", Retry.SOON), ("Unknown", Reason.API_UNAVAILABLE), "Reconciling"),
        (KubeError(401, Reason.UNAUTHORIZED, "no", Retry.LATER), ("False", Reason.UNAUTHORIZED), None),
    ],
)
def test_writes_that_fail(error: KubeError, ready: tuple[str, Reason], abnormal: str | None) -> None:
    seen = settled(bend={SERVER: WEIGHT})
    status = status_of(seen, failing(seen, error))
    assert said(status)["Ready"] == ready
    assert [kind for kind in ABNORMAL if kind in said(status)] == ([abnormal] if abnormal else [])
    assert status.drift is not None
    (item,) = status.drift.items
    assert (item.action, item.reason) == (DriftAction.DEFERRED, error.reason)
    assert said(status)["Drifted"] == ("True", Reason.DRIFT_DETECTED)


def test_a_fight_is_said_with_the_name_of_the_opponent() -> None:
    status = status_of(settled(bend={SERVER: WEIGHT}, fights=[fight("/spec/weight")]))
    condition = status.condition("Fighting")
    assert condition is not None
    assert condition.reason == Reason.FIGHT_DETECTED
    assert "bot" in condition.message
    assert "/spec/weight" in condition.message


def test_a_fight_with_a_whole_target_is_said_too() -> None:
    whole = Fight("NodePool/connect-server", "", "bot", None)
    condition = status_of(settled(fights=[whole])).condition("Fighting")
    assert condition is not None
    assert "NodePool/connect-server" in condition.message


def test_suspension_is_said() -> None:
    assert said(status_of(settled({"suspend": True})))["Suspended"] == ("True", Reason.SUSPEND_REQUESTED)
    assert said(status_of(settled({"suspend": True})))["Ready"] == ("True", Reason.IN_SYNC)

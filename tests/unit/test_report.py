"""Status: conditions that keep the rules of their trade, and everything within its bounds."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason, merge
from connect_autoscaler.api.names import ANNOTATION_REQUESTED_AT
from connect_autoscaler.api.status import Condition, ConditionStatus, ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.digest import but_template, template_half
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.model import Outcome, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.requests import requested_at
from unit.builders import (
    NOW,
    Json,
    claim,
    edited,
    peer,
    profile,
    settled,
    snapshot,
    terminating,
)
from unit.planning import (
    CONTENT,
    EXPIRY,
    SERVER,
    WEIGHT,
    born_elsewhere,
)
from unit.release_views import begun
from unit.reporting import (
    ABNORMAL,
    LAST,
    LATER,
    check_bounds,
    check_conditions,
    failing,
    next_pass,
    said,
    status_of,
    steady,
)
from unit.snapshot_strategies import outcomes, releases, snapshots


@settings(max_examples=80)
@given(st.data())
def test_invariants(data: st.DataObject) -> None:
    seen = data.draw(
        snapshots(deleting=st.just(value=False)) | releases().filter(lambda each: not each.profile.deleting)
    )
    if data.draw(st.booleans()):
        before = report.status(seen, plan(seen, NOW), Outcome(), NOW - timedelta(minutes=5))
        seen = next_pass(seen, before)
    seen = begun(seen)
    decided = plan(seen, NOW)
    outcome = data.draw(outcomes(decided))
    status = report.status(seen, decided, outcome, NOW)
    check_conditions(seen, status, seen.profile.status)
    check_bounds(status)
    for _ in range(3):  # announce, begin, be at work
        seen = begun(next_pass(seen, status), LATER)
        status = report.status(seen, plan(seen, LATER), Outcome(), LATER)
    last = next_pass(seen, status)
    assert report.same(status, report.status(last, plan(last, LAST), Outcome(), LAST)), (
        "a pass that changes nothing writes nothing"
    )


@pytest.mark.parametrize("stalled", [True, False])
def test_a_pass_that_could_not_be_made(stalled: bool) -> None:  # noqa: FBT001 - a parameter of the test
    seen = settled()
    problem = Problem(Reason.FORBIDDEN, "list NodeClasses: is forbidden", stalled=stalled)
    status = report.stopped(seen.profile, [problem], NOW)
    check_conditions(seen, status, seen.profile.status)
    assert ("Stalled" in said(status)) is stalled
    assert ("Reconciling" in said(status)) is not stalled
    assert status.node_pools == seen.profile.status.node_pools, "the rest stays as it was"


def test_transition_times_move_with_status_only() -> None:
    old = [Condition(type="Ready", status=ConditionStatus.TRUE, reason="InSync", message="x", last_transition_time=NOW)]

    def told(status: ConditionStatus, reason: str) -> Condition:
        new = Condition(type="Ready", status=status, reason=reason, message="y")
        (result,) = merge(old, [new], generation=4, now=LATER)
        return result

    assert told(ConditionStatus.TRUE, "Other").last_transition_time == NOW
    assert told(ConditionStatus.TRUE, "Other").message == "y"
    assert told(ConditionStatus.FALSE, "Other").last_transition_time == LATER
    assert told(ConditionStatus.FALSE, "Other").observed_generation == 4


def test_conditions_that_are_not_wanted_any_more_are_dropped() -> None:
    old = [Condition(type=kind, status=ConditionStatus.TRUE, reason="X", message="x") for kind in ABNORMAL]
    assert merge(old, [], generation=1, now=NOW) == ()


def test_every_reason_is_explained() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason)
    for reason in Reason:
        assert reason.explain.endswith("."), reason
        assert len(reason.explain) > 20, reason
        assert reason.value.isalnum(), reason
        assert reason.value[0].isupper(), reason


def test_conditions_are_in_the_crd() -> None:
    assert {kind.value for kind in ConditionType} >= {"Ready", "Drifted", *ABNORMAL}


def test_node_claims_are_counted() -> None:
    def nodes(pools: Mapping[str, Json]) -> list[Any]:
        return [
            claim(pools[SERVER], "a", owned=False),
            claim(pools[SERVER], "b", conditions=["Launched", "Drifted"], owned=False),
            claim(pools[SERVER], "c", deleting=True),
            claim(pools[CONTENT], "d"),
            claim(EXPIRY(pools[CONTENT]), "e", created=NOW - timedelta(hours=2)),
        ]

    status = status_of(settled(claims=nodes))
    assert (status.server, status.content) == ("1/2", "2/2")
    server, content = status.node_pools
    assert (server.name, server.role, server.nodes, server.drifted_node_claims) == (SERVER, "Server", 2, 1)
    assert (server.expiring_node_claims, server.next_expiry) == (0, None)
    assert (content.nodes, content.outdated_nodes, content.expiring_node_claims) == (2, 1, 2)
    assert content.next_expiry == NOW + timedelta(hours=22)
    assert server.owned
    assert server.generation == 1


def test_claims_that_went_with_a_deleted_pool_are_lost() -> None:
    def nodes(pools: Mapping[str, Json]) -> list[Any]:
        return [claim(pools[SERVER], "lost", deleting=True), claim(pools[SERVER], "saved", owned=False)]

    status = status_of(settled(bend={SERVER: terminating}, claims=nodes))
    server = status.node_pools[0]
    assert server.lost_node_claims == 1
    assert "1 NodeClaims" in (server.message or "")


def test_a_digest_is_recorded_when_a_pool_is_as_it_should_be() -> None:
    fresh = snapshot(profile())
    digest = {pool.pool.name: pool.digest for pool in plan(fresh, NOW).pools}
    assert {pool.name: pool.spec_hash for pool in status_of(fresh).node_pools} == digest
    assert [pool.spec_hash for pool in status_of(fresh, Outcome()).node_pools] == [None, None]


def test_a_template_that_waits_is_recorded_as_it_was() -> None:
    seen = settled({"contentPool": {"expireAfter": "100h", "weight": 2}}, written={}, claims=born_elsewhere(CONTENT))
    old = {pool.name: pool.spec_hash for pool in seen.profile.status.node_pools}[CONTENT]
    new = {pool.pool.name: pool.digest for pool in plan(seen, NOW).pools}[CONTENT]
    found = {pool.name: pool.spec_hash for pool in status_of(seen).node_pools}[CONTENT]
    assert old is not None
    assert found not in {old, new}
    assert found == but_template(new, old)
    assert template_half(found) == template_half(old)


@pytest.mark.parametrize("held", [{"mode": "Plan"}, {"suspend": True}])
def test_what_was_only_planned_is_not_recorded(held: Json) -> None:
    """Else the change would pass for drift afterwards, and under Warn never be rolled out."""
    spec = {"contentPool": {"expireAfter": "100h", "weight": 2}, "driftPolicy": {"nodePools": "Warn"}}
    seen = settled({**spec, **held}, written={}, claims=born_elsewhere(CONTENT))
    old = {pool.name: pool.spec_hash for pool in seen.profile.status.node_pools}
    status = status_of(seen)
    assert {pool.name: pool.spec_hash for pool in status.node_pools} == old
    freed = replace(seen, profile=replace(profile(spec), status=status))
    assert "/spec/weight" in [field for action in plan(freed, NOW).actions for field in action.fields]


def test_a_change_of_an_ignored_field_only_is_recorded_as_rolled_out() -> None:
    """Else everybody's next edit would pass for a change of the profile."""
    ignore = {"driftPolicy": {"ignore": [{"paths": ["/spec/weight"]}], "nodePools": "Warn"}}
    seen = settled({**ignore, "contentPool": {"weight": 9}}, written=ignore)
    assert plan(seen, NOW).actions == ()
    then = next_pass(seen, status_of(seen))
    bent = {**then.pools, CONTENT: edited(then.pools[CONTENT], {"spec": {"limits": {"cpu": "1"}}})}
    assert plan(replace(then, pools=bent), NOW).actions == (), "driftPolicy says Warn"


def test_a_request_is_answered() -> None:
    seen = settled(annotations={ANNOTATION_REQUESTED_AT: "now"})
    assert status_of(seen).last_handled_reconcile_at == "now"
    long = settled(annotations={ANNOTATION_REQUESTED_AT: "x" * 999})
    assert status_of(long).last_handled_reconcile_at == requested_at(long.profile)
    assert not report.same(status_of(settled()), status_of(seen))


@pytest.mark.parametrize(
    ("spec", "node_pools"),
    [({}, "Correct"), ({"mode": "Plan"}, "Plan"), ({"suspend": True}, "Suspended")],
)
def test_effective_policies(spec: Json, node_pools: str) -> None:
    mode = status_of(settled(spec)).mode
    assert mode is not None
    assert mode.node_pools == node_pools


def test_a_converged_profile_is_not_written_again() -> None:
    seen = settled()
    first = status_of(seen)
    then = next_pass(seen, first)
    later = report.status(then, plan(then, LATER), Outcome(), LATER)
    assert report.same(first, later)
    assert not report.urgent(first, later)
    assert later.last_check_time == LATER


def test_what_is_urgent() -> None:
    good = status_of(settled())
    assert report.urgent(ProfileStatus(), good), "the first of all"
    assert report.urgent(good, status_of(steady({"driftPolicy": {"nodePools": "Warn"}}, bend={SERVER: EXPIRY})))
    assert not report.urgent(good, status_of(snapshot(profile())))
    assert not report.urgent(good, good.model_copy(update={"server": "9/9"}))


def test_peers_are_named() -> None:
    status = status_of(snapshot(profile(), peers=(peer("staging", created=NOW - timedelta(days=99)),)))
    ready = status.condition("Ready")
    assert ready is not None
    assert "staging" in ready.message


def test_nothing_was_done_to_what_failed() -> None:
    seen = settled(bend={SERVER: WEIGHT})
    status = status_of(seen, failing(seen, KubeError(409, Reason.CONFLICT, "no", Retry.SOON)))
    assert status.heals is not None
    assert status.heals.total == 0
    assert Verb.APPLY in [action.verb for action in plan(seen, NOW).actions]

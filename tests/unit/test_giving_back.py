"""What a deleted profile does about its release: give it back in steps, or leave it, and never wait for ever."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason
from connect_autoscaler.api.names import FINALIZER_PROTECT
from connect_autoscaler.api.spec import ReleaseManager
from connect_autoscaler.api.status import Disruption
from connect_autoscaler.core import report
from connect_autoscaler.core.model import Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.release_model import Phase, ReleaseView
from unit.builders import NOW, Json, terminating
from unit.planning import SERVER, SERVER_POOL, SHUT, approved, done
from unit.release_views import (
    AT_ONCE,
    EVERYTHING,
    RESTORE,
    SELECTS,
    attempted,
    begins,
    begun,
    deleted,
    entries,
    exported,
    facts,
    owned,
    prepared,
    view,
    waits,
    work,
)

PATIENCE = timedelta(minutes=10)
KEEP: Json = {"deletionPolicy": {"release": "Keep"}}
DELETE: Json = {"deletionPolicy": {"nodePools": "Delete", "release": "Restore"}}
GONE = Problem(Reason.RELEASE_NOT_FOUND, "There is no Helm release connect", stalled=False)
FORBIDDEN = Problem(Reason.FORBIDDEN, "list Secrets: is forbidden")


def taken(**fields: object) -> ReleaseView:
    """A release that holds our values still: giving them back takes these changes."""
    return view(*EVERYTHING, **{"taken_over": True, "selects": True, **fields})


def back(**fields: object) -> ReleaseView:
    """The same after it was given back."""
    return view(**{"taken_over": True, **fields})


def written(seen: Snapshot) -> Snapshot:
    """The same after the status of this pass was written."""
    status = report.parting(seen, plan(seen, NOW), NOW)
    return replace(seen, profile=replace(seen.profile, status=status))


def lets_go(seen: Snapshot) -> bool:
    """Whether the profile goes now."""
    decided = plan(seen, NOW)
    return bool(decided.actions) and decided.actions[-1].verb is Verb.LET_GO


def test_the_release_goes_back_in_steps_then_the_pools_then_the_memory() -> None:
    unproven = deleted(taken(prepared=None), AT_ONCE)
    assert begins(unproven) is Verb.PREPARE
    proven = deleted(taken(), AT_ONCE)
    assert begins(proven) is None
    assert waits(proven) == [(Verb.RESTORE, Reason.ANNOUNCED)]
    assert plan(proven, NOW).deferred[0][0].disruption is Disruption.RESTARTS_SERVER
    announced = written(proven)
    assert [planned.action for planned in announced.profile.status.plan] == ["Restore"]
    assert begins(announced) is Verb.RESTORE
    assert begins(begun(announced)) is None
    for seen in (unproven, proven, announced, begun(announced)):
        assert done(plan(seen, NOW)) == [], "the pools stay as long as servers need them"
        assert not lets_go(seen)
    over = deleted(back(), AT_ONCE)
    assert plan(over, NOW).release is None
    assert done(plan(over, NOW)) == [
        (Verb.REATTACH, "NodePool/connect-server"),
        (Verb.RELEASE, "NodePool/connect-server"),
        (Verb.REATTACH, "NodePool/connect-content"),
        (Verb.RELEASE, "NodePool/connect-content"),
        (Verb.FORGET, "ConnectAutoscalingProfile/production"),
        (Verb.LET_GO, "ConnectAutoscalingProfile/production"),
    ]


def test_it_is_back_only_when_the_servers_run_so() -> None:
    seen = deleted(back(rolled_out=False), AT_ONCE)
    assert not lets_go(seen)
    decided = plan(seen, NOW).release
    assert decided is not None
    assert decided.verdict.reason is Reason.WAITING_FOR_ROLLOUT


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.PREPARING, Phase.WAITING}))
@pytest.mark.parametrize("spec", [{}, KEEP, {"suspend": True}, {"mode": "Plan"}])
def test_helm_at_work_is_waited_for_in_any_case(phase: Phase, spec: Json) -> None:
    seen = deleted(taken(work=work(phase)), spec, ago=timedelta(days=1))
    assert not lets_go(seen)
    assert begins(seen) is None
    proving = deleted(taken(work=work(Phase.PREPARING)), KEEP)
    assert lets_go(proving), "a dry run is nothing to wait for"


@pytest.mark.parametrize("spec", [KEEP, {"suspend": True}, {"mode": "Plan"}])
def test_keep_leaves_everything_as_it_runs(spec: Json) -> None:
    seen = deleted(taken(), {**AT_ONCE, **spec})
    assert lets_go(seen)
    assert plan(seen, NOW).release is None
    verbs = {action.verb for action in plan(seen, NOW).actions}
    assert verbs == {Verb.REATTACH, Verb.RELEASE, Verb.LET_GO}, (
        "and what is remembered stays for a profile of that name"
    )


@pytest.mark.parametrize("spec", [{"suspend": True}, {"mode": "Plan"}])
def test_where_nothing_is_written_no_pool_is_deleted_either(spec: Json) -> None:
    assert Verb.DELETE not in {action.verb for action in plan(deleted(taken(), {**DELETE, **spec}), NOW).actions}


def test_pools_are_deleted_after_the_servers_have_left_them_and_not_before() -> None:
    assert Verb.DELETE in {action.verb for action in plan(deleted(back(), DELETE), NOW).actions}
    late = PATIENCE + timedelta(seconds=1)
    stuck = deleted(taken(prepared=prepared(problem=FORBIDDEN)), DELETE, ago=late)
    verbs = {action.verb for action in plan(stuck, NOW).actions}
    assert Verb.DELETE not in verbs, "servers still select the pool"
    assert Verb.RELEASE in verbs
    assert Verb.FORGET not in verbs, "what is remembered may still be needed"
    unpinned = deleted(taken(prepared=prepared(problem=FORBIDDEN), selects=False), DELETE, ago=late)
    assert Verb.DELETE in {action.verb for action in plan(unpinned, NOW).actions}


@pytest.mark.parametrize(
    "release",
    [
        taken(prepared=prepared(problem=FORBIDDEN)),
        taken(entries=entries(4, "pending-upgrade")),
        taken(attempted=attempted(Reason.ROLLED_BACK)),
        view(problem=FORBIDDEN, taken_over=True, facts=None),
        ReleaseView("posit", "connect", problem=FORBIDDEN),
    ],
    ids=["obstacle", "locked", "failed", "unreadable", "nothing known"],
)
def test_a_release_that_cannot_be_changed_holds_the_profile_for_some_minutes_only(release: ReleaseView) -> None:
    for ago in (timedelta(), PATIENCE):
        waiting = deleted(release, AT_ONCE, ago=ago)
        assert not lets_go(waiting)
        assert begins(waiting) is None
    assert lets_go(deleted(release, AT_ONCE, ago=PATIENCE + timedelta(seconds=1)))


def test_a_release_that_is_gone_or_was_never_taken_over_holds_nothing() -> None:
    for release in (
        ReleaseView("posit", "connect", problem=GONE, taken_over=True),
        ReleaseView("posit", "connect", problem=GONE),
        view(*EVERYTHING),
        view(SELECTS, entries=entries(4, "pending-upgrade")),
    ):
        assert lets_go(deleted(release, AT_ONCE))
    assert lets_go(replace(deleted(view(), AT_ONCE), release=None))


def test_an_interrupted_restore_is_taken_up_again() -> None:
    locked = taken(entries=entries(4, "pending-upgrade"), attempted=attempted(finished=False))
    assert begins(deleted(locked, AT_ONCE)) is Verb.UNLOCK
    dead = taken(entries=entries(4, "failed"), attempted=attempted(finished=False))
    assert begins(deleted(dead, AT_ONCE)) is Verb.SETTLE
    cut_off = taken(attempted=attempted(Reason.CANCELLED))
    assert begins(written(deleted(cut_off, AT_ONCE))) is Verb.RESTORE


@pytest.mark.parametrize(
    ("disruptions", "reason"),
    [
        ({"when": "OnApproval"}, Reason.AWAITING_APPROVAL),
        ({"when": "WhenIdle"}, Reason.CONTENT_RUNNING),
        ({"when": "Immediately", "windows": [SHUT]}, Reason.OUTSIDE_WINDOW),
    ],
)
def test_giving_back_passes_the_gate_like_any_restart(disruptions: Json, reason: Reason) -> None:
    seen = written(deleted(taken(busy=("render-1",)), {"disruptions": disruptions}, ago=timedelta(days=3)))
    assert waits(seen) == [(Verb.RESTORE, reason)]
    assert not lets_go(seen), "a gate is the user's own, and waits as long as he wants"
    decided = plan(seen, NOW)
    assert (decided.wake_at is not None) is (reason is Reason.OUTSIDE_WINDOW)
    assert begins(approved(seen, decided.digest)) is Verb.RESTORE
    assert begins(approved(seen, "sha256:0")) is None


def test_the_daily_limit_and_policy_are_for_corrections() -> None:
    corrections = tuple((NOW - timedelta(hours=age), "helm upgrade") for age in (1, 2, 3))
    assert begins(written(deleted(taken(corrections=corrections, applied=True), AT_ONCE))) is Verb.RESTORE


def test_restoring_does_not_wait_for_node_pools_or_node_classes() -> None:
    missing = Problem(Reason.NODE_CLASS_NOT_FOUND, "EC2NodeClass default does not exist", stalled=False)
    assert begins(written(deleted(taken(), AT_ONCE, node_class=missing))) is Verb.RESTORE


def test_a_protected_pool_that_somebody_deletes_meanwhile_is_saved_first() -> None:
    seen = deleted(taken(), AT_ONCE, bend={SERVER: terminating})
    assert FINALIZER_PROTECT in seen.pools[SERVER]["metadata"]["finalizers"]
    assert done(plan(seen, NOW)) == [(Verb.RECOVER, SERVER_POOL)]


def test_status_says_what_is_waited_for() -> None:
    seen = deleted(taken(entries=entries(4, "pending-upgrade")), AT_ONCE)
    status = report.parting(seen, plan(seen, NOW), NOW)
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", Reason.PENDING_RELEASE)
    assert "Revision 4" in ready.message


FROM_FLUX = exported(published=True)
OF_PIPELINE = replace(FROM_FLUX, manager=ReleaseManager.EXPORT)


def test_an_overlay_that_was_published_is_withdrawn() -> None:
    seen = deleted(OF_PIPELINE, {"disruptions": {"when": "OnApproval"}})
    assert done(plan(seen, NOW)) == [(Verb.WITHDRAW, "ConfigMap/flux-system/production-values")]
    assert lets_go(deleted(replace(OF_PIPELINE, published=False)))
    assert lets_go(deleted(OF_PIPELINE, KEEP))


def test_an_overlay_that_may_not_be_deleted_holds_the_profile_for_some_minutes_only() -> None:
    for ago, gone in ((PATIENCE, False), (PATIENCE + timedelta(seconds=1), True)):
        seen = deleted(OF_PIPELINE, AT_ONCE, ago=ago)
        status = report.stopped(seen.profile, [FORBIDDEN], NOW, ConditionType.RELEASE_CONFIGURED)
        assert lets_go(replace(seen, profile=replace(seen.profile, status=status))) is gone


def test_flux_restarts_the_servers_for_it_so_that_it_waits() -> None:
    waiting = deleted(FROM_FLUX, {"disruptions": {"when": "OnApproval"}})
    decided = plan(waiting, NOW)
    assert waits(waiting) == [(Verb.WITHDRAW, Reason.AWAITING_APPROVAL)]
    assert decided.deferred[0][0].disruption is Disruption.RESTARTS_SERVER
    assert not lets_go(waiting)
    assert done(plan(approved(written(waiting), decided.digest), NOW)) == [
        (Verb.WITHDRAW, decided.deferred[0][0].target)
    ]
    at_once = deleted(FROM_FLUX, AT_ONCE)
    assert waits(at_once) == [(Verb.WITHDRAW, Reason.ANNOUNCED)]
    assert done(plan(written(at_once), NOW)) == [(Verb.WITHDRAW, decided.deferred[0][0].target)]


def test_while_the_profile_lives_nothing_is_given_back() -> None:
    seen = owned(view(*EVERYTHING, facts=facts(*EVERYTHING), taken_over=True), {**RESTORE, **AT_ONCE})
    assert waits(seen) == [(Verb.UPGRADE, Reason.ANNOUNCED)]

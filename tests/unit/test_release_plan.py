"""What is decided about the release, case by case, through the whole plan and the status that it gives."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.status import DriftAction
from connect_autoscaler.core import report
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.release_model import Phase, ReleaseView
from unit.builders import NOW, Json, gone, judged, peer
from unit.planning import SERVER
from unit.release_views import (
    AT_ONCE,
    EVERYTHING,
    GATELESS,
    JOBS,
    RELEASE,
    RENDERED,
    SELECTS,
    announced,
    attempted,
    begins,
    begun,
    entries,
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


def test_a_release_that_carries_the_overlay() -> None:
    seen = owned(view(applied=True))
    assert said(told(seen)) == {
        "Ready": ("True", Reason.IN_SYNC),
        "NodePoolsReady": ("True", Reason.ALL_READY),
        "ReleaseConfigured": APPLIED,
        "Drifted": ("False", Reason.NO_DRIFT_DETECTED),
    }
    assert begins(seen) is None
    assert told(seen).plan == ()
    found = told(seen).release
    assert found is not None
    assert (found.manager, found.revision, found.chart, found.apply_method) == (
        "Helm", 3, "rstudio-connect-0.21.0", "ssa",
    )  # fmt: skip


# What is impossible, and who else writes.


def test_what_cannot_be_seen_is_said_and_nothing_is_begun() -> None:
    problem = Problem(Reason.RELEASE_NOT_FOUND, "There is no Helm release connect", stalled=False)
    seen = owned(ReleaseView("posit", "connect", problem=problem))
    assert said(told(seen))["ReleaseConfigured"] == said(told(seen))["Ready"] == ("False", Reason.RELEASE_NOT_FOUND)
    assert not {"Stalled", "Reconciling"} & said(told(seen)).keys(), "it may be installed later"
    assert begins(seen) is None


def test_while_helm_is_at_work_nothing_may_be_deployed_for_a_moment() -> None:
    seen = owned(ReleaseView("posit", "connect", entries=entries(4, "pending-upgrade"), work=work()))
    assert verdict(seen) == ("Unknown", Reason.WAITING_FOR_ROLLOUT)
    unread = owned(ReleaseView("posit", "connect", entries=entries()))
    assert verdict(unread) == ("False", Reason.PROGRESSING)
    assert begins(seen) is begins(unread) is None


@pytest.mark.parametrize("lost", [False, True], ids=["ready pools", "pools not ready"])
def test_a_refusal_comes_before_everything(lost: bool) -> None:  # noqa: FBT001 - a parameter of the test
    refused = Problem(Reason.LAUNCHER_ENABLED, "launcher.enabled is true in the release")
    busy = view(facts=facts(*EVERYTHING, problem=refused), entries=entries(4, "pending-upgrade"), attempted=attempted())
    unjudged = {SERVER: lambda pool: judged(pool, {"Ready": "Unknown"})} if lost else None
    seen = owned(busy, bend=unjudged)
    found = said(told(seen))
    assert found["ReleaseConfigured"] == ("False", Reason.LAUNCHER_ENABLED)
    assert found["Stalled"] == ("True", Reason.LAUNCHER_ENABLED)
    assert found["Ready"] == ("False", Reason.LAUNCHER_ENABLED), "Karpenter is not waited for"
    assert "Reconciling" not in found
    assert begins(seen) is None


def test_a_release_that_another_profile_holds_is_left_alone() -> None:
    older = peer("rival", spec={**RELEASE, "serverPool": {"name": "s"}, "contentPool": {"name": "c"},
                                "placement": {"labelKey": "other"}}, created=NOW - timedelta(days=60))  # fmt: skip
    seen = owned(view(*EVERYTHING), AT_ONCE, peers=(older,))
    assert verdict(seen) == ("False", Reason.RELEASE_CLAIMED_TWICE)
    assert said(told(seen))["Stalled"] == ("True", Reason.RELEASE_CLAIMED_TWICE)
    assert begins(seen) is None
    assert waits(seen) == []


# What is under way, and what died.


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.PREPARING, Phase.WAITING}))
def test_work_under_way_is_waited_for(phase: Phase) -> None:
    seen = owned(view(*EVERYTHING, work=work(phase), entries=entries(4, "pending-upgrade")), AT_ONCE)
    assert verdict(seen) == ("Unknown", Reason.WAITING_FOR_ROLLOUT)
    assert said(told(seen))["Reconciling"] == ("True", Reason.WAITING_FOR_ROLLOUT)
    assert begins(seen) is None
    attempt = told(seen).attempt
    assert attempt is not None
    assert (attempt.id, attempt.phase) == ("a1", phase)


def test_the_lock_of_somebody_else_is_his() -> None:
    seen = owned(view(*EVERYTHING, entries=entries(4, "pending-upgrade")), AT_ONCE)
    assert verdict(seen) == ("False", Reason.PENDING_RELEASE)
    assert "Stalled" not in said(told(seen)), "it ends by itself, or by his hand"
    assert "Revision 4" in message(seen)
    assert "helm rollback -n posit connect" in message(seen)
    assert begins(seen) is None


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"])
def test_every_kind_of_lock_counts(status: str) -> None:
    assert verdict(owned(view(*EVERYTHING, entries=entries(4, status)))) == ("False", Reason.PENDING_RELEASE)


def test_our_own_lock_is_undone_only_when_its_process_is_gone() -> None:
    locked = view(*EVERYTHING, entries=entries(4, "pending-upgrade"), attempted=attempted(finished=False))
    assert begins(owned(locked)) is Verb.UNLOCK
    assert verdict(owned(locked)) == ("Unknown", Reason.PENDING_RELEASE)
    alive = replace(locked, attempted=attempted(finished=False, orphaned=False))
    assert begins(owned(alive)) is None
    assert verdict(owned(alive)) == ("False", Reason.PENDING_RELEASE)
    later = replace(locked, entries=entries(5, "pending-upgrade"))
    assert begins(owned(later)) is Verb.SETTLE, "that lock is somebody else's; ours is over"
    back = replace(locked, entries=entries(5, "pending-rollback"))
    assert begins(owned(back)) is Verb.UNLOCK, "helm went back by itself, and died with its operator"
    ended = replace(locked, attempted=attempted(Reason.CANCELLED))
    assert begins(owned(ended)) is None


def test_our_own_lock_is_undone_also_when_helm_died_between_its_last_two_writes() -> None:
    """The revision before is superseded by then, and ours not yet deployed: nothing tells the values."""
    between = view(facts=None, entries=entries(4, "pending-upgrade"), attempted=attempted(finished=False))
    assert begins(owned(between)) is Verb.UNLOCK
    alive = replace(between, attempted=attempted(finished=False, orphaned=False))
    assert begins(owned(alive)) is None


@pytest.mark.parametrize("spec", [{"mode": "Plan"}, {"suspend": True}])
def test_where_nothing_is_written_nothing_is_unlocked_or_judged(spec: Json) -> None:
    for found in (entries(4, "pending-upgrade"), entries(4, "failed")):
        assert begins(owned(view(entries=found, attempted=attempted(finished=False)), spec)) is None


def test_an_upgrade_that_nobody_judged_is_judged_first() -> None:
    seen = owned(view(*EVERYTHING, entries=entries(4, "failed"), attempted=attempted(finished=False)), AT_ONCE)
    assert begins(seen) is Verb.SETTLE
    assert verdict(seen) == ("Unknown", Reason.PROGRESSING)
    assert begins(begun(seen)) is None, "once"


# What is not there yet.


def test_servers_are_not_sent_to_a_pool_that_is_not_ready() -> None:
    for bend in (gone, lambda pool: judged(pool, {"Ready": "Unknown"}), lambda pool: judged(pool, {"Ready": "False"})):
        seen = owned(view(*EVERYTHING, prepared=None), AT_ONCE, bend={SERVER: bend})
        assert waits(seen) == [(Verb.UPGRADE, Reason.WAITING_FOR_NODE_POOLS)]
        assert verdict(seen) == MISSING
        assert begins(seen) is None
        assert said(told(seen))["Ready"][0] != "True"


def test_content_pools_are_not_waited_for() -> None:
    seen = owned(view(*EVERYTHING), AT_ONCE, bend={"connect-content": lambda pool: judged(pool, {"Ready": "False"})})
    assert waits(seen) == [(Verb.UPGRADE, Reason.ANNOUNCED)]


@pytest.mark.parametrize(
    "proof",
    [None, prepared(key="of an earlier revision")],
    ids=["none", "of something else"],
)
def test_what_is_not_proven_is_proven_first(proof: object) -> None:
    seen = owned(view(*EVERYTHING, prepared=proof), AT_ONCE)
    assert begins(seen) is Verb.PREPARE
    assert verdict(seen) == ("Unknown", Reason.PROGRESSING)
    assert said(told(seen))["Reconciling"] == ("True", Reason.PROGRESSING)
    assert waits(seen) == []
    assert begins(begun(seen)) is None, "once"
    assert begins(owned(view(*EVERYTHING, prepared=proof), {"mode": "Plan"})) is Verb.PREPARE, (
        "a dry run writes nothing"
    )


@pytest.mark.parametrize("older", [timedelta(), timedelta(seconds=1)])
def test_what_stays_in_the_way_is_looked_at_again_without_a_word(older: timedelta) -> None:
    problem = Problem(Reason.CHART_MISMATCH, "Chart rstudio-connect-0.21.0 at hand differs")
    fresh = announced(owned(view(*EVERYTHING, prepared=prepared(problem=problem, until=NOW + older)), AT_ONCE))
    seen = announced(owned(view(*EVERYTHING, prepared=prepared(problem=problem, until=NOW - older)), AT_ONCE))
    assert begins(seen) is Verb.PREPARE
    assert seen.release
    looking = replace(seen, release=replace(seen.release, work=replace(work(Phase.PREPARING), again=True)))
    assert begins(looking) is None
    assert report.same(told(seen), told(fresh))
    assert report.same(told(looking), told(fresh))


@pytest.mark.parametrize("stalled", [False, True])
def test_an_obstacle_that_the_proof_found_is_said(stalled: bool) -> None:  # noqa: FBT001 - a parameter of the test
    problem = Problem(Reason.CHART_MISMATCH, "Chart rstudio-connect-0.21.0 at hand differs", stalled=stalled)
    proof = prepared(problem=problem, until=NOW + timedelta(minutes=1))
    seen = owned(view(*EVERYTHING, prepared=proof), AT_ONCE)
    assert verdict(seen) == ("False", Reason.CHART_MISMATCH)
    assert message(seen) == message(seen, "Ready") == problem.message
    assert ("Stalled" in said(told(seen))) is stalled
    assert begins(seen) is None
    assert plan(seen, NOW).wake_at == NOW + timedelta(minutes=1)
    assert begins(seen, NOW + timedelta(minutes=1)) is Verb.PREPARE, "looked at again"


# What was tried before.


def test_a_failed_upgrade_is_not_tried_again_for_the_same_cause() -> None:
    seen = announced(owned(view(*EVERYTHING, attempted=attempted(Reason.ROLLED_BACK)), AT_ONCE))
    assert begins(seen) is None
    assert verdict(seen) == ("False", Reason.ROLLED_BACK)
    assert said(told(seen))["Stalled"] == ("True", Reason.ROLLED_BACK)
    assert message(seen).count("rolled back") == 1
    assert "connect-autoscaler.io/requestedAt" in message(seen)


@pytest.mark.parametrize(
    "tried",
    [attempted(Reason.ROLLED_BACK, cause="other values"), attempted(None), None],
    ids=["another cause", "it worked", "never"],
)
def test_otherwise_it_is(tried: object) -> None:
    first = owned(view(*EVERYTHING, attempted=tried), AT_ONCE)
    assert begins(announced(first)) is Verb.UPGRADE


@pytest.mark.parametrize("cause", ["cause", "other values"])
def test_an_interrupted_upgrade_is_made_again_after_a_breath(cause: str) -> None:
    def seen(age: float) -> ReleaseView:
        started = NOW - timedelta(seconds=age)
        return view(*EVERYTHING, attempted=attempted(Reason.CANCELLED, started=started, cause=cause))

    assert verdict(owned(seen(9), AT_ONCE)) == ("Unknown", Reason.CANCELLED)
    assert begins(owned(seen(9), AT_ONCE)) is None
    assert plan(owned(seen(9), AT_ONCE), NOW).wake_at == NOW + timedelta(seconds=1)
    assert begins(announced(owned(seen(10), AT_ONCE))) is Verb.UPGRADE


@pytest.mark.parametrize(("before", "seconds"), [(1, 20), (4, 160), (99, 5120)])
def test_each_interruption_more_doubles_the_breath(before: int, seconds: int) -> None:
    def seen(age: float) -> ReleaseView:
        started = NOW - timedelta(seconds=age)
        return view(*EVERYTHING, attempted=attempted(Reason.CANCELLED, started=started, interrupted=before))

    assert begins(announced(owned(seen(seconds - 1), AT_ONCE))) is None
    assert begins(announced(owned(seen(seconds), AT_ONCE))) is Verb.UPGRADE


def test_drift_says_why_it_is_still_there() -> None:
    seen = owned(view(JOBS, applied=True, attempted=attempted(Reason.TIMEOUT)), GATELESS)
    drift = told(seen).drift
    assert drift is not None
    assert [(item.action, item.reason) for item in drift.items] == [(DriftAction.DEFERRED, "Timeout")]


# What the values carry and the servers do not.


def test_values_without_effect() -> None:
    seen = owned(view(applied=True, facts=facts(ineffective=(RENDERED, JOBS))))
    assert verdict(seen) == ("False", Reason.OVERLAY_INEFFECTIVE)
    assert said(told(seen))["Stalled"] == ("True", Reason.OVERLAY_INEFFECTIVE)
    assert RENDERED.pointer in message(seen)
    lacking = owned(view(SELECTS, facts=facts(SELECTS, ineffective=(RENDERED,))), AT_ONCE)
    assert waits(lacking) == [(Verb.UPGRADE, Reason.ANNOUNCED)], "what is missing comes first"


def test_a_rollout_under_way_is_waited_for() -> None:
    seen = owned(view(applied=True, rolled_out=False))
    assert verdict(seen) == ("Unknown", Reason.WAITING_FOR_ROLLOUT)
    assert said(told(seen))["Reconciling"] == ("True", Reason.WAITING_FOR_ROLLOUT)
    assert "kubectl get pods -n posit" in message(seen)


def test_what_the_user_has_put_there_himself_is_remembered_once() -> None:
    seen = owned(view())
    assert begins(seen) is Verb.REMEMBER
    assert verdict(seen) == APPLIED
    assert said(told(seen))["Ready"] == ("True", Reason.IN_SYNC)
    assert begins(begun(seen)) is None
    assert begins(owned(view(applied=True))) is None
    assert begins(owned(view(rolled_out=False))) is None, "not before it runs so"
    for spec in ({"mode": "Plan"}, {"suspend": True}):
        assert begins(owned(view(), spec)) is None

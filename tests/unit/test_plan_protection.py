"""NodePools that go or that others own: protection against deletion, leftovers, farewell."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import Disruption, DriftAction
from connect_autoscaler.core.model import Fight, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from unit.builders import (
    NOW,
    Json,
    claim,
    gone,
    profile,
    settled,
    terminating,
)
from unit.planning import (
    CONTENT,
    CONTENT_POOL,
    EXPIRY,
    EXTERNAL,
    MISSING,
    MORE,
    PROFILE,
    SERVER,
    SERVER_POOL,
    UNPROTECTED,
    approved,
    done,
    existing,
    external,
    findings,
    ignoring,
    of,
    only,
    patch,
    rival,
    waiting,
)


def test_an_external_pool_is_checked_and_never_written() -> None:
    decided = plan(external(), NOW)
    assert decided.actions == ()
    assert of(decided, "shared").findings == ()
    assert of(decided, "shared").broken == ()
    decided = plan(external(patch({"weight": 1, "limits": {"cpu": 1}})), NOW)
    assert of(decided, "shared").findings == (), "its owner's business"
    decided = plan(external(EXPIRY), NOW)
    field = "/spec/template/spec/expireAfter"
    assert findings(decided, "shared") == [(field, DriftAction.REPORTED, Reason.EXTERNAL, "kubectl-edit")]
    assert of(decided, "shared").broken == (field,)
    assert decided.actions == ()


def test_a_missing_external_pool_is_a_problem_that_may_pass() -> None:
    decided = plan(external(gone), NOW)
    problem = of(decided, "shared").problem
    assert problem is not None
    assert (problem.reason, problem.stalled) == (Reason.POOL_MISSING, False)
    assert decided.actions == ()


def test_a_terminating_external_pool_is_left_alone() -> None:
    assert plan(external(terminating), NOW).actions == ()


def test_rules_to_ignore_hold_for_external_pools_too() -> None:
    seen = external(EXPIRY)
    spec = {**EXTERNAL, **ignoring(paths=["/spec/template/spec/expireAfter"])}
    decided = plan(replace(seen, profile=replace(profile(spec), status=seen.profile.status)), NOW)
    assert of(decided, "shared").broken == ()


def test_registered_claims_of_a_protected_pool_are_detached() -> None:
    def nodes(pools: Mapping[str, Json]) -> Iterable[NodeClaim]:
        return [
            claim(pools[SERVER], "registered"),
            claim(pools[SERVER], "launching", conditions=["Launched"]),
            claim(pools[SERVER], "detached", owned=False),
            claim(pools[SERVER], "leaving", deleting=True),
            claim(pools[CONTENT], "content"),
        ]

    decided = plan(settled(claims=nodes), NOW)
    assert done(decided) == [(Verb.DETACH, "NodeClaim/registered")]
    detached = only(decided).claim
    assert detached is not None
    assert detached.owners


def test_claims_are_detached_whatever_the_policy() -> None:
    for policy in ("Ignore", "Warn"):
        seen = settled({"driftPolicy": {"nodePools": policy}}, claims=lambda pools: [claim(pools[SERVER])])
        assert done(plan(seen, NOW)) == [(Verb.DETACH, "NodeClaim/claim-1")]


def test_who_attaches_a_claim_again_and_again_is_slowed() -> None:
    over = Fight("NodeClaim/claim-1", "/metadata/ownerReferences", "unknown", NOW + timedelta(seconds=9))
    assert done(plan(settled(claims=lambda pools: [claim(pools[SERVER])], fights=[over]), NOW)) == []


def test_when_protection_ends_references_go_back_before_the_finalizer_goes() -> None:
    decided = plan(settled(UNPROTECTED, written={}), NOW)
    assert done(decided) == [(Verb.REATTACH, SERVER_POOL), (Verb.UNPROTECT, SERVER_POOL)]
    decided = plan(settled({**UNPROTECTED, "serverPool": {"deletionProtection": False, "weight": 2}}, written={}), NOW)
    assert [verb for verb, _ in done(decided)] == [Verb.REATTACH, Verb.UNPROTECT, Verb.APPLY]


def test_an_unprotected_pool_has_nothing_to_guard() -> None:
    assert done(plan(settled(UNPROTECTED, claims=lambda pools: [claim(pools[SERVER])]), NOW)) == []


def test_a_protected_pool_that_is_deleted_is_saved() -> None:
    for policy in ("Ignore", "Warn", "Correct"):
        decided = plan(settled({"driftPolicy": {"nodePools": policy}}, bend={SERVER: terminating}), NOW)
        assert done(decided) == [(Verb.RECOVER, SERVER_POOL)]
        health = of(decided).health
        assert health is not None
        assert (health.ready, health.reason) == ("Unknown", Reason.PROGRESSING)


def test_a_pool_that_goes_without_protection_is_waited_for() -> None:
    decided = plan(settled(bend={CONTENT: terminating}), NOW)
    assert decided.actions == ()
    health = of(decided, CONTENT).health
    assert health is not None
    assert (health.ready, health.reason) == ("False", Reason.NOT_READY)


def test_a_terminating_pool_whose_protection_ended_is_let_go() -> None:
    decided = plan(settled(UNPROTECTED, written={}, bend={SERVER: terminating}), NOW)
    assert done(decided) == [(Verb.REATTACH, SERVER_POOL), (Verb.UNPROTECT, SERVER_POOL)]


def test_a_leftover_is_let_go() -> None:
    assert done(plan(settled({}, written=MORE), NOW)) == [
        (Verb.REATTACH, "NodePool/gpu"),
        (Verb.RELEASE, "NodePool/gpu"),
    ]


def test_a_leftover_is_deleted_if_the_user_says_so() -> None:
    decided = plan(settled({"deletionPolicy": {"nodePools": "Delete"}}, written=MORE), NOW)
    assert [target for _, target in done(decided)] == ["NodePool/gpu"] * len(decided.actions)
    assert done(decided)[-1] == (Verb.DELETE, "NodePool/gpu")


def nodes_of_gpu(pools: Mapping[str, Json]) -> Iterable[NodeClaim]:
    return [claim(pools["gpu"], "gpu-1")]


def test_a_deletion_of_a_leftover_says_what_it_costs() -> None:
    spec = {"mode": "Plan", "deletionPolicy": {"nodePools": "Delete"}}
    decided = plan(settled(spec, written=MORE, claims=nodes_of_gpu), NOW)
    (deletion,) = [action for action, _ in decided.deferred if action.verb is Verb.DELETE]
    assert (deletion.disruption, deletion.node_claims) == (Disruption.REPLACES_NODES, 1)


def test_a_deletion_of_a_leftover_with_nodes_waits_for_its_gate() -> None:
    spec = {"deletionPolicy": {"nodePools": "Delete"}}
    seen = settled(spec, written=MORE, claims=nodes_of_gpu)
    decided = plan(seen, NOW)
    assert decided.actions == ()
    assert waiting(decided) == [(Verb.DELETE, "NodePool/gpu", Reason.NODES_IN_USE, ())]
    assert done(plan(approved(seen, decided.digest), NOW))[-1] == (Verb.DELETE, "NodePool/gpu")


def test_marks_are_not_taken_off_before_the_deletion_that_they_entitle_to() -> None:
    """If the deletion fails, the next pass must still know the pool as its own."""
    decided = plan(settled({"deletionPolicy": {"nodePools": "Delete"}}, written=MORE), NOW)
    order = [verb for verb, _ in done(decided)]
    assert Verb.RELEASE not in order[: order.index(Verb.DELETE)]


def test_leftovers_wait_while_the_profile_is_refused() -> None:
    seen = settled({"contentPool": {"name": "new"}}, written={}, node_class=MISSING)
    assert plan(seen, NOW).actions == ()


def test_a_pool_that_became_external_is_let_go() -> None:
    spec = {"serverPool": {"management": "External"}}
    assert done(plan(settled(spec, written={}), NOW)) == [(Verb.REATTACH, SERVER_POOL), (Verb.RELEASE, SERVER_POOL)]


def test_a_deleted_profile_lets_go_of_everything() -> None:
    decided = plan(settled(deleting=True), NOW)
    assert done(decided) == [
        (Verb.REATTACH, SERVER_POOL),
        (Verb.RELEASE, SERVER_POOL),
        (Verb.REATTACH, CONTENT_POOL),
        (Verb.RELEASE, CONTENT_POOL),
        (Verb.LET_GO, PROFILE),
    ]


def test_a_deleted_profile_deletes_its_pools_if_the_user_says_so() -> None:
    decided = plan(settled({"deletionPolicy": {"nodePools": "Delete"}}, deleting=True), NOW)
    order = done(decided)
    for target in (SERVER_POOL, CONTENT_POOL):
        assert order.index((Verb.REATTACH, target)) < order.index((Verb.DELETE, target))
    assert order[-1] == (Verb.LET_GO, PROFILE)


@pytest.mark.parametrize("spec", [{"suspend": True}, {"mode": "Plan"}])
def test_a_profile_that_may_not_act_deletes_nothing(spec: Json) -> None:
    decided = plan(settled({**spec, "deletionPolicy": {"nodePools": "Delete"}}, deleting=True), NOW)
    assert Verb.DELETE not in [verb for verb, _ in done(decided)]
    assert done(decided)[-1] == (Verb.LET_GO, PROFILE)


def test_a_deleted_profile_without_our_finalizer_is_done_with() -> None:
    decided = plan(settled(deleting=True, finalizers=["example.com/theirs"]), NOW)
    assert decided.finished
    assert decided.actions == ()


def test_a_deleted_profile_saves_a_pool_that_is_being_deleted_first() -> None:
    seen = settled(deleting=True, bend={SERVER: terminating}, claims=lambda pools: [claim(pools[SERVER], owned=False)])
    assert done(plan(seen, NOW)) == [(Verb.RECOVER, SERVER_POOL)]
    missing = replace(seen, pools={CONTENT: seen.pools[CONTENT]})
    assert done(plan(missing, NOW)) == [(Verb.CREATE, SERVER_POOL)]
    back = settled(deleting=True)
    assert done(plan(back, NOW))[-1] == (Verb.LET_GO, PROFILE)


def test_a_deleted_profile_does_not_touch_what_others_own() -> None:
    decided = plan(replace(settled(deleting=True), pools=existing("Never").pools), NOW)
    assert done(decided) == [(Verb.LET_GO, PROFILE)]


def test_a_deleted_profile_does_not_create_a_pool_that_another_one_claims() -> None:
    """The rival's pool is missing for a moment; its nodes are not ours to save."""
    of_rival = settled(peers=(), name="rival", claims=lambda pools: [claim(pools[SERVER], owned=False)])
    me = profile(deleting=True)
    seen = replace(of_rival, profile=me, pools={}, peers=(rival(),))
    assert done(plan(seen, NOW)) == [(Verb.LET_GO, PROFILE)]

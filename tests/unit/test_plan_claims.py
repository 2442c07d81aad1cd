"""Whose a NodePool is: take-over, claims of other profiles, and reasons to write nothing."""

from dataclasses import replace
from typing import Any

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.plan import plan
from unit.builders import (
    KARPENTER_1_15,
    NOW,
    Json,
    gone,
    peer,
    profile,
    settled,
    snapshot,
)
from unit.planning import (
    CONTENT,
    CONTENT_POOL,
    MISSING,
    SERVER,
    SERVER_POOL,
    WEIGHT,
    done,
    existing,
    rival,
    template,
)


def test_a_pool_that_is_there_is_not_touched() -> None:
    for bend in (lambda live: live, WEIGHT):
        decided = plan(existing("Never", bend), NOW)
        assert [(problem.reason, problem.stalled) for problem in decided.problems] == [(Reason.NAME_TAKEN, True)]
        assert decided.actions == ()


def test_it_is_taken_over_if_it_does_not_differ() -> None:
    decided = plan(existing("IfNoDiff"), NOW)
    assert done(decided) == [(Verb.APPLY, SERVER_POOL), (Verb.CREATE, CONTENT_POOL)]
    assert all(field.startswith("/metadata/") for field in decided.actions[0].fields)
    decided = plan(existing("IfNoDiff", WEIGHT), NOW)
    assert [problem.reason for problem in decided.problems] == [Reason.NAME_TAKEN]
    assert "/spec/weight" in decided.problems[0].message
    assert decided.actions == ()


def test_it_is_taken_over_and_changed_if_the_user_says_so() -> None:
    decided = plan(existing("Always", WEIGHT), NOW)
    assert done(decided) == [(Verb.APPLY, SERVER_POOL), (Verb.CREATE, CONTENT_POOL)]
    assert "/spec/weight" in decided.actions[0].fields
    assert not decided.actions[0].drift


@pytest.mark.parametrize("take_over", ["IfNoDiff", "Always"])
def test_it_is_not_taken_over_while_git_could_prune_it(take_over: str) -> None:
    tracked = existing(take_over, annotations={"argocd.argoproj.io/tracking-id": "apps"})
    assert [problem.reason for problem in plan(tracked, NOW).problems] == [Reason.GIT_OWNED]
    assert plan(tracked, NOW).actions == ()


def test_it_is_not_taken_over_if_an_immutable_field_differs() -> None:
    seen = existing("Always", template(nodeClassRef={"kind": "Other"}))
    (problem,) = plan(seen, NOW).problems
    assert problem.reason is Reason.IMMUTABLE_FIELD
    assert "/spec/template/spec/nodeClassRef/kind" in problem.message
    assert plan(seen, NOW).actions == ()


def test_a_pool_with_the_mark_of_another_profile_is_never_taken() -> None:
    other = peer(
        "staging", spec={"serverPool": {"name": "s"}, "contentPool": {"name": "c"}, "placement": {"labelKey": "w"}}
    )
    for take_over in ("Never", "IfNoDiff", "Always"):
        labels = {"connect-autoscaler.io/profile": "staging"}
        seen = replace(existing(take_over, labels=labels), peers=(other,))
        assert [problem.reason for problem in plan(seen, NOW).problems] == [Reason.NAME_TAKEN]
        assert plan(seen, NOW).actions == ()


def test_the_marks_of_a_dead_namesake_are_ours() -> None:
    seen = settled(uid="new")
    before = settled(uid="old")
    decided = plan(replace(seen, pools=before.pools), NOW)
    assert done(decided) == [(Verb.APPLY, SERVER_POOL), (Verb.APPLY, CONTENT_POOL)]
    assert {action.fields for action in decided.actions} == {
        ("/metadata/annotations/connect-autoscaler.io~1profile-uid",)
    }


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (rival(placement=False), Reason.POOL_CLAIMED_TWICE),
        (rival(pool=False), Reason.PLACEMENT_CLAIMED_TWICE),
        (rival(), Reason.POOL_CLAIMED_TWICE),
        (rival(older=False), None),
        (rival(pool=False, placement=False), None),
    ],
)
def test_a_contested_profile_writes_nothing(by: Any, reason: Reason | None) -> None:
    decided = plan(snapshot(profile(), peers=(by,)), NOW)
    assert (decided.problems[0].reason if decided.problems else None) is reason
    assert bool(decided.actions) is (reason is None)
    assert all(problem.stalled and "rival" in problem.message for problem in decided.problems)


def test_a_profile_that_holds_its_pools_keeps_them() -> None:
    seen = settled(peers=(rival(),), bend={SERVER: WEIGHT})
    assert done(plan(seen, NOW)) == [(Verb.APPLY, SERVER_POOL)]


def test_a_contested_profile_does_not_even_heal() -> None:
    by = rival()
    seen = settled(bend={SERVER: WEIGHT, CONTENT: gone}, peers=(by,))
    marks = {
        "labels": {"connect-autoscaler.io/profile": "rival"},
        "annotations": {"connect-autoscaler.io/profile-uid": by.uid},
    }
    taken = {**seen.pools[SERVER], "metadata": {**seen.pools[SERVER]["metadata"], **marks}}
    decided = plan(replace(seen, pools={SERVER: taken}), NOW)
    assert decided.actions == ()
    assert decided.problems[0].reason is Reason.POOL_CLAIMED_TWICE


def test_a_missing_node_class_blocks_creation() -> None:
    decided = plan(snapshot(profile(), node_class=MISSING), NOW)
    assert decided.problems == (MISSING,)
    assert decided.actions == ()


def test_a_missing_node_class_blocks_no_healing() -> None:
    seen = settled(bend={SERVER: WEIGHT}, node_class=MISSING)
    assert done(plan(seen, NOW)) == [(Verb.APPLY, SERVER_POOL)]


def test_a_missing_new_node_class_blocks_its_roll_out() -> None:
    spec = {"contentPool": {"nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "new"}}}
    seen = settled(spec, written={}, node_class=MISSING, bend={SERVER: WEIGHT})
    decided = plan(seen, NOW)
    assert decided.problems == (MISSING,)
    assert done(decided) == [(Verb.APPLY, SERVER_POOL)]


@pytest.mark.parametrize(
    ("karpenter", "reason", "stalled"),
    [
        (None, Reason.KARPENTER_NOT_INSTALLED, False),
        (replace(KARPENTER_1_15, atomic_labels=False), Reason.UNSUPPORTED_KARPENTER, True),
    ],
)
def test_no_karpenter_that_we_know(karpenter: Any, reason: Reason, stalled: bool) -> None:  # noqa: FBT001 - a column
    decided = plan(snapshot(profile(), karpenter=karpenter), NOW)
    assert [(problem.reason, problem.stalled) for problem in decided.problems] == [(reason, stalled)]
    assert decided.actions == ()


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ({"disruption": {"budgets": [{"nodes": "0", "reasons": ["Unhealthy"]}]}}, Reason.INVALID),
        ({"requirements": [{"key": "kubernetes.io/os", "operator": "DoesNotExist"}]}, Reason.UNSATISFIABLE),
    ],
)
def test_pools_that_cannot_work_are_refused(pool: Json, reason: Reason) -> None:
    decided = plan(snapshot(profile({"contentPool": pool})), NOW)
    assert [problem.reason for problem in decided.problems] == [reason]
    assert decided.actions == ()

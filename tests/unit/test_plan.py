"""The planner: what is decided about a profile, given what was seen. Pure values in, pure values out."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import FINALIZER_PROFILE
from connect_autoscaler.api.status import Disruption, DriftAction
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from unit.apply import applied
from unit.builders import (
    KARPENTER_1_15,
    NOW,
    Bend,
    Json,
    claim,
    gone,
    judged,
    live_pool,
    profile,
    recorded,
    settled,
    snapshot,
    stamp,
)
from unit.planning import (
    CONTENT,
    CONTENT_POOL,
    EXPIRY,
    LABEL,
    PROFILE,
    SERVER,
    SERVER_POOL,
    UNPROTECTED,
    WEIGHT,
    born_here,
    done,
    findings,
    of,
    only,
    patch,
    template,
    waiting,
)


def test_a_new_profile_creates_its_pools_behind_its_finalizer() -> None:
    decided = plan(snapshot(profile(finalizers=())), NOW)
    assert done(decided) == [
        (Verb.HOLD, PROFILE),
        (Verb.CREATE, SERVER_POOL),
        (Verb.CREATE, CONTENT_POOL),
    ]
    assert not any(action.drift for action in decided.actions)
    assert [pool.findings for pool in decided.pools] == [(), ()]
    assert decided.deferred == ()
    assert decided.digest is None


def test_a_profile_with_a_finalizer_needs_none() -> None:
    assert done(plan(snapshot(profile()), NOW)) == [(Verb.CREATE, SERVER_POOL), (Verb.CREATE, CONTENT_POOL)]


def test_a_converged_profile_has_nothing_to_do() -> None:
    decided = plan(settled(), NOW)
    assert (decided.actions, decided.deferred, decided.problems, decided.digest) == ((), (), (), None)
    assert all(pool.in_sync and not pool.findings and not pool.broken for pool in decided.pools)
    assert not decided.finished


def test_a_converged_profile_with_nodes_has_nothing_to_do() -> None:
    def nodes(pools: Mapping[str, Json]) -> Iterable[NodeClaim]:
        return [claim(pool, f"{name}-1", owned=name == CONTENT) for name, pool in pools.items()]

    decided = plan(settled(claims=nodes), NOW)
    assert done(decided) == []
    assert [pool.outdated for pool in decided.pools] == [0, 0]


def test_a_converged_profile_whose_finalizer_was_stripped_gets_it_back() -> None:
    assert done(plan(settled(finalizers=["example.com/theirs"]), NOW)) == [(Verb.HOLD, PROFILE)]


def test_a_pool_deleted_by_hand_comes_back() -> None:
    decided = plan(settled(bend={CONTENT: gone}), NOW)
    assert only(decided).verb is Verb.CREATE
    assert only(decided).drift
    assert findings(decided, CONTENT) == [("/", DriftAction.CORRECTED, None, "unknown")]


def test_a_change_of_the_profile_is_rolled_out_and_is_no_drift() -> None:
    decided = plan(settled({"contentPool": {"weight": 5}}, written={}), NOW)
    action = only(decided)
    assert (action.verb, action.target, action.fields, action.drift) == (
        Verb.APPLY, CONTENT_POOL, ("/spec/weight",), False,
    )  # fmt: skip
    assert action.disruption is Disruption.NONE
    assert findings(decided, CONTENT) == []


def test_a_field_that_the_profile_drops_is_removed() -> None:
    seen = settled({}, written={"contentPool": {"limits": {"cpu": "4"}, "weight": 5}})
    action = only(plan(seen, NOW))
    assert action.fields == ("/spec/limits/cpu", "/spec/weight")
    after = applied(seen.pools[CONTENT], action)
    assert "weight" not in after["spec"]
    assert not after["spec"].get("limits")


def test_a_field_that_the_profile_drops_beside_another_change() -> None:
    """The apply removes what we owned already: a JSON patch of the same would be refused (422)."""
    for dropped in (
        {"limits": {"cpu": "4"}},
        {"weight": 5},
        {"annotations": {"a/b": "c"}},
        {"limits": {"cpu": 1, "memory": 1}},
    ):
        seen = settled({"contentPool": {"disruption": {"consolidateAfter": "9h"}}}, written={"contentPool": dropped})
        after = applied(seen.pools[CONTENT], only(plan(seen, NOW)))
        assert of(plan(replace(seen, pools={**seen.pools, CONTENT: after}), NOW), CONTENT).in_sync


def test_a_change_is_rolled_out_whatever_the_drift_policy() -> None:
    for policy in ("Ignore", "Warn"):
        spec = {"driftPolicy": {"nodePools": policy}}
        decided = plan(settled({**spec, "contentPool": {"weight": 5}}, written=spec), NOW)
        assert done(decided) == [(Verb.APPLY, CONTENT_POOL)]


def test_a_newer_karpenter_changes_the_built_in_budgets() -> None:
    seen = replace(settled(), karpenter=KARPENTER_1_15)
    action = only(plan(seen, NOW))
    assert (action.target, action.fields, action.drift) == (SERVER_POOL, ("/spec/disruption/budgets",), False)


def test_drift_is_corrected() -> None:
    seen = settled(bend={SERVER: WEIGHT})
    decided = plan(seen, NOW)
    action = only(decided)
    assert (action.verb, action.target, action.fields, action.drift) == (
        Verb.APPLY, SERVER_POOL, ("/spec/weight",), True,
    )  # fmt: skip
    assert action.body["metadata"]["uid"] == "uid-of-connect-server", "and never creates a pool by applying"
    assert findings(decided) == [("/spec/weight", DriftAction.CORRECTED, None, "kubectl-edit")]
    assert "weight" not in applied(seen.pools[SERVER], action)["spec"]


@pytest.mark.parametrize("policy", ["Warn", "Ignore"])
def test_drift_is_left_alone(policy: str) -> None:
    decided = plan(settled({"driftPolicy": {"nodePools": policy}}, bend={SERVER: WEIGHT}), NOW)
    assert done(decided) == []
    assert decided.deferred == ()
    reported = [("/spec/weight", DriftAction.REPORTED, Reason.POLICY, "kubectl-edit")]
    assert findings(decided) == (reported if policy == "Warn" else [])
    assert not of(decided).in_sync


@pytest.mark.parametrize("policy", ["Warn", "Ignore"])
def test_drift_that_breaks_the_promise_is_said_whatever_the_policy(policy: str) -> None:
    decided = plan(settled({"driftPolicy": {"nodePools": policy}}, bend={SERVER: EXPIRY}), NOW)
    assert of(decided).broken == ("/spec/template/spec/expireAfter",)


@pytest.mark.parametrize(
    ("bend", "broken"),
    [
        (WEIGHT, ()),
        (patch({"limits": {"cpu": "1"}}), ()),
        (patch({"disruption": {"budgets": [{"nodes": "100%"}]}}), ("/spec/disruption/budgets",)),
        (patch({"disruption": {"budgets": [{"nodes": "0"}]}}), ()),
        (patch({"disruption": {"consolidateAfter": "0s"}}), ("/spec/disruption/consolidateAfter",)),
        (patch({"disruption": {"consolidateAfter": "2h"}}), ()),
        (patch({"disruption": {"consolidateAfter": "Never"}}), ()),
        (
            template(requirements=[{"key": "karpenter.sh/capacity-type", "operator": "Exists"}]),
            (
                "/spec/template/spec/requirements[key=karpenter.sh/capacity-type,operator=Exists]",
                "/spec/template/spec/requirements[key=karpenter.sh/capacity-type,operator=In]",
            ),
        ),
        (template(terminationGracePeriod="1m"), ("/spec/template/spec/terminationGracePeriod",)),
        (template(taints=[]), ("/spec/template/spec/taints[key=workload,effect=NoSchedule]",)),
        (
            patch({"template": {"metadata": {"labels": {"workload": "x"}}}}),
            ("/spec/template/metadata/labels/workload",),
        ),
        (LABEL, ()),
        (gone, ("/",)),
    ],
)
def test_what_breaks_the_promise(bend: Bend, broken: tuple[str, ...]) -> None:
    spec = {"driftPolicy": {"nodePools": "Warn"}, **UNPROTECTED}
    assert of(plan(settled(spec, bend={SERVER: bend}), NOW)).broken == broken


def test_a_protected_pool_comes_back_whatever_the_policy() -> None:
    for policy in ("Ignore", "Warn", "Correct"):
        spec = {"driftPolicy": {"nodePools": policy}}
        assert done(plan(settled(spec, bend={SERVER: gone}), NOW)) == [(Verb.CREATE, SERVER_POOL)]
        expected = [(Verb.CREATE, CONTENT_POOL)] if policy == "Correct" else []
        assert done(plan(settled(spec, bend={CONTENT: gone}), NOW)) == expected


def strange(key: str) -> list[Json]:
    return [{"key": key, "effect": "NoExecute"}]


def test_every_kind_of_drift_at_once() -> None:
    bends = patch(
        {
            "weight": 9,
            "limits": {"cpu": "1"},
            "disruption": {"budgets": [{"nodes": "100%"}]},
            "template": {
                "metadata": {"labels": {"team": "x"}, "annotations": {"a/b": "c"}},
                "spec": {"taints": strange("x"), "startupTaints": strange("y")},
            },
        }
    )
    seen = settled(bend={SERVER: bends})
    action = only(plan(seen, NOW))
    assert len(action.fields) == 8
    healed = applied(seen.pools[SERVER], action)
    again = plan(replace(seen, pools={**seen.pools, SERVER: healed}), NOW)
    assert again.actions == ()
    assert of(again).in_sync


def test_drift_is_drift_also_while_a_change_of_the_template_waits() -> None:
    """A roll-out that waits for days must not turn everybody's edits into changes of the profile."""
    spec = {"contentPool": {"expireAfter": "100h"}, "driftPolicy": {"nodePools": "Warn"}}
    seen = settled(
        spec, written={"driftPolicy": {"nodePools": "Warn"}}, claims=born_here(CONTENT), bend={CONTENT: WEIGHT}
    )
    decided = plan(seen, NOW)
    assert [reason for _, _, reason, _ in waiting(decided)] == [Reason.NODES_IN_USE]
    assert done(decided) == [], "driftPolicy says Warn"


def test_a_profile_of_another_name_is_held() -> None:
    decided = plan(snapshot(profile(name="staging", finalizers=["x"])), NOW)
    assert done(decided)[0] == (Verb.HOLD, "ConnectAutoscalingProfile/staging")
    assert decided.actions[0].live["metadata"]["finalizers"] == ["x"]
    assert FINALIZER_PROFILE not in decided.actions[0].live["metadata"]["finalizers"]


def test_a_pool_that_no_karpenter_looks_at_is_looked_at_again_in_time() -> None:
    seen = settled()
    fresh = judged(seen.pools[SERVER], {})
    fresh["metadata"] = {**fresh["metadata"], "annotations": {"connect-autoscaler.io/profile-uid": "uid-of-production"}}
    fresh["metadata"]["creationTimestamp"] = stamp(NOW - timedelta(seconds=20))
    decided = plan(replace(seen, pools={**seen.pools, SERVER: fresh}), NOW)
    assert decided.wake_at == NOW + timedelta(seconds=40)


def test_recording_is_what_makes_a_change_drift() -> None:
    owner = profile()
    bare = snapshot(owner, [WEIGHT(live_pool(owner, SERVER)), live_pool(owner, CONTENT)])
    assert not only(plan(bare, NOW)).drift
    assert only(plan(recorded(bare), NOW)).drift

"""Drift that is left alone: rules to ignore it, and fights that slow its correction."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import Disruption, DriftAction
from connect_autoscaler.core.model import Fight, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.paths import get
from unit.apply import applied
from unit.builders import (
    NOW,
    Json,
    claim,
    edited,
    gone,
    live_pool,
    settled,
)
from unit.planning import (
    CONTENT,
    CONTENT_POOL,
    PROFILE,
    SERVER,
    SERVER_POOL,
    WEIGHT,
    born_here,
    done,
    fight,
    findings,
    ignoring,
    of,
    only,
    patch,
    template,
)


@pytest.mark.parametrize(
    ("rule", "ignored"),
    [
        ({"paths": ["/spec/weight"]}, True),
        ({"paths": ["/spec"]}, True),
        ({"paths": ["/spec/limits", "/spec/weight"]}, True),
        ({"paths": ["/spec/limits"]}, False),
        ({"managers": ["kubectl-edit"]}, True),
        ({"managers": ["other", "kubectl-edit"]}, True),
        ({"managers": ["other"]}, False),
        ({"paths": ["/spec/weight"], "managers": ["kubectl-edit"]}, True),
        ({"paths": ["/spec/weight"], "managers": ["other"]}, False),
        ({"paths": ["/spec/limits"], "managers": ["kubectl-edit"]}, False),
        ({"paths": ["/spec/weight"], "target": {"kind": "NodePool"}}, True),
        ({"paths": ["/spec/weight"], "target": {"kind": "NodePool", "name": SERVER}}, True),
        ({"paths": ["/spec/weight"], "target": {"kind": "NodePool", "name": CONTENT}}, False),
        ({"paths": ["/spec/weight"], "target": {"kind": "Release"}}, False),
    ],
)
def test_ignore_rules(rule: Json, ignored: bool) -> None:  # noqa: FBT001 - a column of the table
    decided = plan(settled(ignoring(**rule), bend={SERVER: WEIGHT}), NOW)
    found = (DriftAction.IGNORED, Reason.IGNORED) if ignored else (DriftAction.CORRECTED, None)
    assert findings(decided) == [("/spec/weight", *found, "kubectl-edit")]
    assert done(decided) == ([] if ignored else [(Verb.APPLY, SERVER_POOL)])


ALSO_EXPIRY: Json = {"template": {"spec": {"expireAfter": "1h"}}}


@pytest.mark.parametrize(
    ("path", "bend"),
    [
        ("/spec/weight", {"weight": 7}),
        ("/spec/limits/cpu", {"limits": {"cpu": "1"}}),
        ("/spec/limits/cpu", {"limits": None}),
        ("/spec/limits", {"limits": {"memory": "1Gi"}}),
        ("/spec/disruption/budgets", {"disruption": {"budgets": [{"nodes": "5"}]}}),
        ("/spec/disruption/consolidateAfter", {"disruption": {"consolidateAfter": "9h"}}),
        ("/spec/template/spec/taints", {"template": {"spec": {"taints": []}}}),
        ("/spec/template/spec/taints", {"template": {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}}),
        ("/spec/template/spec/requirements", {"template": {"spec": {"requirements": []}}}),
        ("/spec/template/metadata/labels/team", {"template": {"metadata": {"labels": {"team": "x"}}}}),
        ("/spec/template/metadata/annotations", {"template": {"metadata": {"annotations": {"a/b": "x"}}}}),
        ("/spec/template/metadata/annotations", {"template": {"metadata": {"annotations": None}}}),
        ("/spec/template/spec/terminationGracePeriod", {"template": {"spec": {"terminationGracePeriod": "1h"}}}),
    ],
)
def test_a_correction_carries_what_is_ignored_as_it_is(path: str, bend: Json) -> None:
    spec = {"serverPool": {"limits": {"cpu": "64"}, "annotations": {"ours": "1"}}, **ignoring(paths=[path])}
    seen = settled(spec, bend={SERVER: lambda live: edited(edited(live, {"spec": bend}), {"spec": ALSO_EXPIRY})})
    action = only(plan(seen, NOW))
    assert action.fields == ("/spec/template/spec/expireAfter",)
    live = seen.pools[SERVER]
    healed = applied(live, action)
    assert get(healed, ("spec", "template", "spec", "expireAfter")) == "Never"
    again = plan(replace(seen, pools={**seen.pools, SERVER: healed}), NOW)
    assert done(again) == []
    assert {reason for _, _, reason, _ in findings(again)} == {Reason.IGNORED}
    before = {found.difference.pointer: found.difference.actual for found in of(plan(seen, NOW)).findings}
    for found in of(again).findings:
        assert found.difference.actual == before[found.difference.pointer], "still the live value"


def test_a_finalizer_that_may_be_missing_stays_missing() -> None:
    strip: Json = {"metadata": {"finalizers": []}}
    spec = ignoring(paths=["/metadata/finalizers"])
    seen = settled(spec, bend={SERVER: lambda live: edited(edited(live, strip), {"spec": {"weight": 3}})})
    action = only(plan(seen, NOW))
    assert action.fields == ("/spec/weight",)
    assert "finalizers" not in action.body["metadata"]


def test_an_ignored_element_of_a_list_that_we_do_not_declare_survives() -> None:
    taints = [{"key": key, "effect": "NoSchedule"} for key in ("theirs", "strange")]
    rule = ignoring(paths=["/spec/template/spec/startupTaints[key=theirs,effect=NoSchedule]"])
    seen = settled(rule, bend={SERVER: template(startupTaints=taints)})
    action = only(plan(seen, NOW))
    assert action.fields == ("/spec/template/spec/startupTaints[key=strange,effect=NoSchedule]",)
    assert applied(seen.pools[SERVER], action)["spec"]["template"]["spec"]["startupTaints"] == taints[:1]


def test_an_ignored_budget_does_not_count_as_protection() -> None:
    """With the budgets of somebody else, healing the template may replace the servers: that has its gate."""
    bends = {"disruption": {"budgets": [{"nodes": "10%"}]}, "template": {"spec": {"expireAfter": "24h"}}}

    def old(pools: Mapping[str, Json]) -> Iterable[NodeClaim]:
        return [claim(edited(pools[SERVER], {"spec": bends}))]

    rule = ignoring(paths=["/spec/disruption/budgets"])
    decided = plan(settled(rule, bend={SERVER: patch(bends)}, claims=old), NOW)
    assert Verb.APPLY not in [verb for verb, _ in done(decided)]
    (found,) = decided.deferred
    assert found[0].disruption is Disruption.REPLACES_NODES
    assert found[1] is Reason.NODES_IN_USE


def test_an_empty_map_or_list_in_the_template_is_drift() -> None:
    """Karpenter's hash tells it from an absent one and calls every node Drifted."""
    changes: list[Json] = [{"spec": {"taints": []}}, {"spec": {"startupTaints": []}}, {"metadata": {"annotations": {}}}]
    for change in changes:
        seen = settled(bend={CONTENT: patch({"template": change})}, claims=born_here(CONTENT))
        action = only(plan(seen, NOW))
        assert (action.drift, action.disruption) == (True, Disruption.NONE)
        healed = applied(seen.pools[CONTENT], action)
        assert healed["spec"] == live_pool(seen.profile, CONTENT)["spec"]


@pytest.mark.parametrize(
    ("fights", "corrected"),
    [
        ((), True),
        ((fight("/spec/weight"),), False),
        ((fight(""),), False),
        ((fight("/spec/weight", slowed=False),), True),
        ((fight("/spec/limits/cpu"),), True),
        ((fight("/spec/weight", CONTENT_POOL),), True),
    ],
)
def test_a_fought_path_waits(fights: tuple[Fight, ...], corrected: bool) -> None:  # noqa: FBT001 - a column
    decided = plan(settled(bend={SERVER: WEIGHT}, fights=fights), NOW)
    assert done(decided) == ([(Verb.APPLY, SERVER_POOL)] if corrected else [])
    expected = (DriftAction.CORRECTED, None) if corrected else (DriftAction.DEFERRED, Reason.FIGHT_DETECTED)
    assert findings(decided) == [("/spec/weight", *expected, "kubectl-edit")]
    slowed = [found.slowed_until for found in fights if found.slowed_until]
    assert decided.wake_at == (slowed[0] if slowed else None)
    assert decided.digest is None, "nobody has to approve it"


def test_other_paths_of_a_fought_pool_are_corrected() -> None:
    bends = patch({"weight": 7, "limits": {"cpu": "1"}})
    seen = settled(bend={SERVER: bends}, fights=[fight("/spec/weight")])
    action = only(plan(seen, NOW))
    assert action.fields == ("/spec/limits/cpu",)
    assert applied(seen.pools[SERVER], action)["spec"]["weight"] == 7


def test_a_fight_over_the_finalizer_of_a_pool() -> None:
    strip = {"metadata": {"finalizers": []}, "spec": {"weight": 7}}
    pointer = "/metadata/finalizers/connect-autoscaler.io~1protect"
    decided = plan(settled(bend={SERVER: lambda live: edited(live, strip)}, fights=[fight(pointer)]), NOW)
    assert only(decided).fields == ("/spec/weight",)


def test_a_fight_over_the_finalizer_of_the_profile() -> None:
    assert done(plan(settled(finalizers=(), fights=[fight("/metadata/finalizers", PROFILE)]), NOW)) == []


def test_a_fight_over_a_deletion() -> None:
    assert done(plan(settled(bend={CONTENT: gone}, fights=[fight("/", CONTENT_POOL)]), NOW)) == []

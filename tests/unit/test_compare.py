"""What counts as a difference between NodePools, and what is only another spelling."""

from typing import Any

import pytest

from connect_autoscaler.nodepools.compare import Difference, differences
from connect_autoscaler.nodepools.paths import Element, Path, transplant
from connect_autoscaler.nodepools.render import render
from profile_specs import merged
from unit.builders import KARPENTER_1_14, edited, live_pool, pool_of, profile

Json = dict[str, Any]


T: Path = ("spec", "template", "spec")


def pool(**spec: Any) -> Json:
    """Return a NodePool with this spec; names of the template's spec go there."""
    inner = {"taints", "startupTaints", "requirements", "expireAfter", "terminationGracePeriod", "nodeClassRef"}
    template = {"metadata": spec.pop("meta", {}), "spec": {key: spec.pop(key) for key in inner & spec.keys()}}
    return {"metadata": {}, "spec": {"template": template, **spec}}


def taint(key: str, value: str | None = None, effect: str = "NoSchedule") -> Json:
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def requirement(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pool(limits={"cpu": 1000}), pool(limits={"cpu": "1000"})),
        (pool(limits={"cpu": "1k"}), pool(limits={"cpu": "1000000m"})),
        (pool(limits={"cpu": "1e3"}), pool(limits={"cpu": "1E3"})),
        (pool(limits={"cpu": "0.5"}), pool(limits={"cpu": "500m"})),
        (pool(limits={"cpu": "+.5"}), pool(limits={"cpu": "500m"})),
        (pool(limits={"memory": "1Ti"}), pool(limits={"memory": "1024Gi"})),
        (pool(limits={"cpu": "1e1.5"}), pool(limits={"cpu": "1e1.5"})),
        (pool(expireAfter="720h"), pool(expireAfter="43200m")),
        (pool(expireAfter="1h30m"), pool(expireAfter="30m1h")),
        (pool(terminationGracePeriod="8h"), pool(terminationGracePeriod="8h0m0s")),
        (pool(taints=[taint("a"), taint("b")]), pool(taints=[taint("b"), taint("a")])),
        (
            pool(requirements=[requirement("a", "In", "x", "y"), requirement("a", "NotIn", "z")]),
            pool(requirements=[requirement("a", "NotIn", "z"), requirement("a", "In", "y", "x")]),
        ),
        (
            pool(requirements=[requirement("a", "Exists")]),
            pool(requirements=[{**requirement("a", "Exists"), "values": []}]),
        ),
        (
            pool(disruption={"budgets": [{"nodes": "0", "reasons": ["Drifted", "Empty"]}, {"nodes": "1"}]}),
            pool(disruption={"budgets": [{"nodes": "1"}, {"nodes": "0", "reasons": ["Empty", "Drifted"]}]}),
        ),
        (
            pool(disruption={"budgets": [{"nodes": "10%", "schedule": "@daily", "duration": "8h"}]}),
            pool(disruption={"budgets": [{"schedule": "@daily", "duration": "8h0m0s"}]}),
        ),
        (pool(disruption={"budgets": [{"nodes": "10%"}]}), pool()),
        (pool(disruption={"consolidateAfter": "0s"}), pool()),
        (pool(disruption={"consolidationPolicy": "WhenEmptyOrUnderutilized"}), pool(disruption={})),
        (pool(expireAfter="720h"), pool()),
        (pool(limits={}, meta={"labels": {}}, future={}), pool()),
    ],
)  # fmt: skip
def test_same(one: Json, other: Json) -> None:
    assert differences(one, other) == ()
    assert differences(other, one) == ()


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        # An empty list of budgets is no limit at all, an absent one is 10%.
        (pool(disruption={"budgets": []}), pool(), ("spec", "disruption", "budgets")),
        # No reasons are none, absent ones are all (pkg/apis/v1/nodepool.go, GetAllowedDisruptionsByReason).
        (
            pool(disruption={"budgets": [{"nodes": "0", "reasons": []}]}),
            pool(disruption={"budgets": [{"nodes": "0"}]}),
            ("spec", "disruption", "budgets"),
        ),
        (pool(expireAfter="Never"), pool(), (*T, "expireAfter")),
        (pool(expireAfter="0s"), pool(expireAfter="Never"), (*T, "expireAfter")),
        (pool(expireAfter="99999999999999h"), pool(expireAfter="99999999999998h"), (*T, "expireAfter")),
        (pool(limits={"cpu": "1"}), pool(limits={"cpu": "1Ki"}), ("spec", "limits", "cpu")),
        (pool(limits={"cpu": "0"}), pool(), ("spec", "limits", "cpu")),
        (pool(limits={"cpu": "-1"}), pool(limits={"cpu": "1"}), ("spec", "limits", "cpu")),
        (pool(weight=10), pool(weight=11), ("spec", "weight")),
        (pool(meta={"labels": {"a": ""}}), pool(), ("spec", "template", "metadata", "labels", "a")),
        (
            pool(taints=[{**taint("a"), "timeAdded": "2026-03-02T12:00:00Z"}]),
            pool(taints=[taint("a")]),
            (*T, "taints", Element((("key", "a"), ("effect", "NoSchedule")))),
        ),
    ],
)
def test_different(one: Json, other: Json, path: Path) -> None:
    assert [d.path for d in differences(one, other)] == [path]
    assert [d.path for d in differences(other, one)] == [path]


MANAGED: tuple[tuple[Json, str, Any, Any], ...] = (
    # somebody's merge patch of the server pool; pointer, expected and actual of the one difference
    ({"spec": {"weight": 10}}, "/spec/weight", None, 10),
    ({"spec": {"replicas": 2}}, "/spec/replicas", None, 2),
    ({"spec": {"limits": {"cpu": "32"}}}, "/spec/limits/cpu", "64", "32"),
    ({"spec": {"limits": {"cpu": None}}}, "/spec/limits/cpu", "64", None),
    ({"spec": {"limits": None}}, "/spec/limits/cpu", "64", None),
    ({"spec": {"limits": {"nvidia.com/gpu": 1}}}, "/spec/limits/nvidia.com~1gpu", None, 1),
    (
        {"spec": {"disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized"}}},
        "/spec/disruption/consolidationPolicy",
        "WhenEmpty",
        "WhenEmptyOrUnderutilized",
    ),
    ({"spec": {"disruption": {"consolidateAfter": "5m"}}}, "/spec/disruption/consolidateAfter", "1h", "5m"),
    # Removed, the API server fills in its default: that is what is there.
    ({"spec": {"disruption": {"consolidateAfter": None}}}, "/spec/disruption/consolidateAfter", "1h", "0s"),
    (
        {"spec": {"disruption": {"budgets": [{"nodes": "100%"}]}}},
        "/spec/disruption/budgets",
        [{"nodes": "0", "reasons": ["Underutilized", "Drifted"]}, {"nodes": "1", "reasons": ["Empty"]}],
        [{"nodes": "100%"}],
    ),
    (
        {"spec": {"disruption": {"budgets": None}}},
        "/spec/disruption/budgets",
        [{"nodes": "0", "reasons": ["Underutilized", "Drifted"]}, {"nodes": "1", "reasons": ["Empty"]}],
        [{"nodes": "10%"}],
    ),
    ({"spec": {"template": {"spec": {"expireAfter": "1h"}}}}, "/spec/template/spec/expireAfter", "Never", "1h"),
    ({"spec": {"template": {"spec": {"expireAfter": None}}}}, "/spec/template/spec/expireAfter", "Never", "720h"),
    (
        {"spec": {"template": {"spec": {"terminationGracePeriod": "1h"}}}},
        "/spec/template/spec/terminationGracePeriod",
        None,
        "1h",
    ),
    (
        {"spec": {"template": {"spec": {"nodeClassRef": {"name": "other"}}}}},
        "/spec/template/spec/nodeClassRef/name",
        "default",
        "other",
    ),
    (
        {"spec": {"template": {"metadata": {"labels": {"workload": "content"}}}}},
        "/spec/template/metadata/labels/workload",
        "connect-server",
        "content",
    ),
    (
        {"spec": {"template": {"metadata": {"labels": {"team": "a"}}}}},
        "/spec/template/metadata/labels/team",
        None,
        "a",
    ),
    (
        {"spec": {"template": {"metadata": {"annotations": {"a/b": "c"}}}}},
        "/spec/template/metadata/annotations/a~1b",
        None,
        "c",
    ),
    (
        {"spec": {"template": {"spec": {"taints": []}}}},
        "/spec/template/spec/taints[key=workload,effect=NoSchedule]",
        {"key": "workload", "value": "connect-server", "effect": "NoSchedule"},
        None,
    ),
    (
        {"spec": {"template": {"spec": {"taints": [taint("workload", "other")]}}}},
        "/spec/template/spec/taints[key=workload,effect=NoSchedule]",
        {"key": "workload", "value": "connect-server", "effect": "NoSchedule"},
        {"key": "workload", "value": "other", "effect": "NoSchedule"},
    ),
    (
        {"spec": {"template": {"spec": {"startupTaints": [taint("agent")]}}}},
        "/spec/template/spec/startupTaints[key=agent,effect=NoSchedule]",
        None,
        {"key": "agent", "effect": "NoSchedule"},
    ),
    (
        {"metadata": {"labels": {"connect-autoscaler.io/profile": "other"}}},
        "/metadata/labels/connect-autoscaler.io~1profile",
        "production",
        "other",
    ),
    (
        {"metadata": {"annotations": {"connect-autoscaler.io/profile-uid": None}}},
        "/metadata/annotations/connect-autoscaler.io~1profile-uid",
        "uid-of-production",
        None,
    ),
    (
        {"metadata": {"finalizers": []}},
        "/metadata/finalizers/connect-autoscaler.io~1protect",
        "connect-autoscaler.io/protect",
        None,
    ),
)


@pytest.mark.parametrize(("change", "where", "expected", "actual"), MANAGED, ids=[case[1] for case in MANAGED])
def test_every_managed_field(change: Json, where: str, expected: Any, actual: Any) -> None:
    owner = profile({"serverPool": {"limits": {"cpu": "64"}}})
    live = live_pool(owner, "connect-server")
    (found,) = differences(live, edited(live, change))
    assert (found.pointer, found.expected, found.actual) == (where, expected, actual)


@pytest.mark.parametrize(
    "path",
    [("spec", "template", "metadata", "annotations"), (*T, "taints"), (*T, "startupTaints")],
)
def test_what_is_empty_in_the_template_is_a_difference_if_it_was_not_there(path: Path) -> None:
    """Karpenter's hash is another one, so it calls every node Drifted; measured with the hash of 1.14.1."""
    empty: Any = {} if path[-1] == "annotations" else []
    live = pool()
    transplant(live, edited_at(path, empty), path)
    assert differences(pool(), live) == (Difference(path, None, empty),)
    assert differences(live, pool()) == (), "nothing of the kind is ever wanted"
    full = edited_at(path, {"a": "b"} if path[-1] == "annotations" else [taint("a")])
    assert path not in [found.path for found in differences(full, live)], "the missing element is the difference"


def edited_at(path: Path, value: Any) -> Json:
    for part in reversed(path):
        value = {str(part): value}
    result: Json = merged(pool(), value)
    return result


def test_metadata_of_others_is_no_difference() -> None:
    owner = profile()
    live = live_pool(owner, "connect-server")
    theirs = {
        "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "karpenter.sh/nodepool-hash": "9"},
        "finalizers": [*live["metadata"]["finalizers"], "example.com/theirs"],
    }
    wanted = render(owner, pool_of(owner, "connect-server"), KARPENTER_1_14)
    assert differences(wanted, edited(live, {"metadata": theirs})) == ()


def test_elements_of_one_key_are_compared_together() -> None:
    one = pool(requirements=[requirement("a", "NotIn", "x"), requirement("a", "NotIn", "y")])
    other = pool(requirements=[requirement("a", "NotIn", "y"), requirement("a", "NotIn", "x")])
    third = pool(requirements=[requirement("a", "NotIn", "x")])
    assert differences(one, other) == ()
    (found,) = differences(one, third)
    assert found.path == (*T, "requirements", Element((("key", "a"), ("operator", "NotIn"))))
    assert found.expected == [requirement("a", "NotIn", "x"), requirement("a", "NotIn", "y")]
    assert found.actual == requirement("a", "NotIn", "x")


def test_differences_are_sorted() -> None:
    found = differences(pool(weight=1, limits={"b": 1, "a": 1}, expireAfter="1h"), pool())
    assert [d.pointer for d in found] == sorted(d.pointer for d in found)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("path", "in_template", "immutable"),
    [
        (("spec", "weight"), False, False),
        (("spec", "replicas"), False, True),
        (("spec", "disruption", "budgets"), False, False),
        ((*T, "expireAfter"), True, False),
        ((*T, "nodeClassRef", "name"), True, False),
        ((*T, "nodeClassRef", "group"), True, True),
        ((*T, "nodeClassRef", "kind"), True, True),
        (("spec", "template", "metadata", "labels", "a"), True, False),
    ],
)
def test_classes_of_differences(path: Path, in_template: bool, immutable: bool) -> None:  # noqa: FBT001 - columns
    found = Difference(path, 1, 2)
    assert (found.in_template, found.immutable) == (in_template, immutable)


def test_an_unreadable_spelling_is_compared_as_text() -> None:
    (found,) = differences(pool(limits={"cpu": "1"}), pool(limits={"cpu": "1e1.5"}))
    assert (found.expected, found.actual) == ("1", "1e1.5")
    (found,) = differences(pool(expireAfter="1h"), pool(expireAfter="99999999999999h"))
    assert (found.expected, found.actual) == ("1h", "99999999999999h")

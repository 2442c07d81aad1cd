"""Whether nodes of a pool can be what a release selects; only what is certain counts."""

from typing import Any

import pytest

from connect_autoscaler.release.affinity import contradictions

Json = dict[str, Any]

POOL: Json = {
    "metadata": {"name": "connect-server"},
    "spec": {
        "template": {
            "metadata": {"labels": {"workload": "connect-server", "disk": "ssd"}},
            "spec": {
                "requirements": [
                    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
                    {"key": "kubernetes.io/arch", "operator": "NotIn", "values": ["s390x"]},
                    {"key": "example.com/rack", "operator": "Exists"},
                    {"key": "example.com/zone", "operator": "In", "values": ["a", "b"]},
                    {"key": "example.com/zone", "operator": "In", "values": ["b", "c"]},
                ]
            },
        }
    },
}
SMALLEST: Json = {"metadata": {"name": "a"}, "spec": {"template": {"spec": {}}}}


def affine(*terms: list[Json]) -> Json:
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def entry(key: str, operator: str, *values: object) -> Json:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"nodeSelector": None, "affinity": None},
        {"nodeSelector": {"workload": "connect-server", "disk": "ssd"}},
        {"nodeSelector": {"karpenter.sh/nodepool": "connect-server"}},
        {"nodeSelector": {"kubernetes.io/arch": "arm64"}},
        {"nodeSelector": {"example.com/rack": "7"}},
        {"nodeSelector": {"example.com/zone": "b"}},
        {"nodeSelector": {"topology.kubernetes.io/zone": "eu-1a"}},
        {"nodeSelector": {"karpenter.k8s.aws/instance-family": "m7i"}},
        affine(),
        affine([]),
        affine([entry("disk", "In", "hdd", "ssd")]),
        affine([entry("disk", "Exists")]),
        affine([entry("disk", "NotIn", "hdd")]),
        affine([entry("missing", "DoesNotExist"), entry("missing", "NotIn", "a")]),
        affine([entry("kubernetes.io/arch", "NotIn", "amd64")]),
        affine([entry("topology.kubernetes.io/zone", "In", "eu-1a")]),
        affine([entry("disk", "In", "hdd")], [entry("disk", "In", "ssd")]),
        affine([entry("example.com/rack", "Gt", "4")]),
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}},
        {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
    ],
)
def test_possible(pod: Json) -> None:
    assert list(contradictions(POOL, pod)) == []


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        ({"nodeSelector": {"workload": "other"}}, ["nodeSelector workload=other"]),
        ({"nodeSelector": {"missing": "a", "disk": "hdd"}}, ["nodeSelector missing=a", "nodeSelector disk=hdd"]),
        ({"nodeSelector": {"example.com/team": "data"}}, ["nodeSelector example.com/team=data"]),
        ({"nodeSelector": {"karpenter.sh/nodepool": "other"}}, ["nodeSelector karpenter.sh/nodepool=other"]),
        ({"nodeSelector": {"kubernetes.io/arch": "s390x"}}, ["nodeSelector kubernetes.io/arch=s390x"]),
        ({"nodeSelector": {"example.com/zone": "a"}}, ["nodeSelector example.com/zone=a"]),
        (affine([entry("disk", "In", "hdd", 5)]), ["pod.affinity.nodeAffinity: disk In hdd,5"]),
        (affine([entry("disk", "NotIn", "ssd")]), ["pod.affinity.nodeAffinity: disk NotIn ssd"]),
        (affine([entry("disk", "DoesNotExist")]), ["pod.affinity.nodeAffinity: disk DoesNotExist"]),
        (affine([entry("missing", "Exists")]), ["pod.affinity.nodeAffinity: missing Exists"]),
        (
            affine([entry("disk", "In", "ssd"), entry("missing", "Exists")]),
            ["pod.affinity.nodeAffinity: missing Exists"],
        ),
        (
            affine([entry("disk", "In", "hdd")], [entry("missing", "Exists")]),
            ["pod.affinity.nodeAffinity: disk In hdd; missing Exists"],
        ),
    ],
)
def test_impossible(pod: Json, told: list[str]) -> None:
    assert list(contradictions(POOL, pod)) == told


def test_a_pool_that_says_nothing() -> None:
    assert list(contradictions(SMALLEST, {"nodeSelector": {"kubernetes.io/os": "linux"}})) == []
    assert list(contradictions(SMALLEST, {"nodeSelector": {"workload": "a"}})) == ["nodeSelector workload=a"]


@pytest.mark.parametrize(
    "required",
    ["text", ["text"], {"nodeSelectorTerms": "text"}, {"nodeSelectorTerms": {"a": 1}}, {"nodeSelectorTerms": ["text"]}],
)
def test_what_is_no_affinity_tells_nothing(required: object) -> None:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    assert list(contradictions(POOL, {"affinity": {"nodeAffinity": node}})) == []
    assert list(contradictions(POOL, {"affinity": node})) == []
    assert list(contradictions(POOL, affine(["text"], [{}]))) == []  # type: ignore[list-item]

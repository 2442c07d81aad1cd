"""The NodePools that profiles render to, pinned as files.

A file of `golden/` holds the spec of a profile and its NodePools. Files are rewritten from the specs in them by
`UPDATE_GOLDEN=1 pytest tests/unit/test_render.py`; what changed then shows in the diff.
"""

import copy
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.profile import Pool, Profile
from connect_autoscaler.nodepools.compare import differences
from connect_autoscaler.nodepools.render import contradictions, render, requirements, unknown_features
from profile_specs import FULL
from unit.apply import _empty_maps
from unit.builders import KARPENTER_1_14, KARPENTER_1_15, pool_of, profile

Json = dict[str, Any]

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.yaml"))
KARPENTERS = {"1.14": KARPENTER_1_14, "1.15": KARPENTER_1_15}


def rendered(owner: Profile, version: str = "1.14") -> list[Json]:
    return [render(owner, pool, KARPENTERS[version]) for pool in owner.pools if pool.managed]


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    golden = yaml.safe_load(file.read_text())
    pools = rendered(profile(golden["spec"]), golden["karpenter"])
    if os.environ.get("UPDATE_GOLDEN"):
        comment = next((line for line in file.read_text().splitlines() if line.startswith("#")), "")
        text = yaml.safe_dump({**golden, "nodePools": pools}, sort_keys=False, width=120)
        file.write_text(f"{comment}\n{text}".lstrip())
    assert pools == golden["nodePools"]
    assert json.dumps(pools) == json.dumps(golden["nodePools"]), "in this order, too"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden_pools_fit_each_other(file: Path) -> None:
    golden = yaml.safe_load(file.read_text())
    owner = profile(golden["spec"])
    assert [list(unknown_features(pool, KARPENTERS[golden["karpenter"]])) for pool in owner.pools if pool.managed] == [
        [] for _ in golden["nodePools"]
    ]
    assert [list(contradictions(pool)) for pool in owner.pools] == [[] for _ in owner.pools]


def test_rendering_changes_nothing_and_repeats_itself() -> None:
    owner = profile(FULL)
    before = copy.deepcopy(owner)
    first = [render(owner, pool, KARPENTER_1_15) for pool in owner.pools]
    second = [render(profile(FULL), pool, KARPENTER_1_15) for pool in before.pools]
    assert json.dumps(first) == json.dumps(second)
    assert owner == before
    first[0]["spec"]["limits"]["cpu"] = "0"
    first[0]["spec"]["template"]["metadata"]["labels"]["x"] = "y"
    assert json.dumps([render(owner, pool, KARPENTER_1_15) for pool in owner.pools]) == json.dumps(second)


def test_marks() -> None:
    for pool in rendered(profile(FULL, name="staging", uid="9")):
        assert pool["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "connect-autoscaler",
            "connect-autoscaler.io/profile": "staging",
        }
        assert pool["metadata"]["annotations"] == {"connect-autoscaler.io/profile-uid": "9"}
        assert pool["metadata"]["finalizers"] == ["connect-autoscaler.io/protect"]


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.sampled_from([{}, {"team": "a"}]),
        "annotations": st.sampled_from([{}, {"karpenter.sh/do-not-repair": "true"}]),
        "taints": st.sampled_from([[], [{"key": "a", "effect": "NoSchedule"}]]),
        "startupTaints": st.sampled_from([[], [{"key": "b", "value": "x", "effect": "NoExecute"}]]),
        "limits": st.sampled_from([{}, {"cpu": 0}, {"memory": "1Ti"}]),
        "weight": st.integers(1, 100),
        "expireAfter": st.sampled_from(["Never", "1h"]),
        "deletionProtection": st.booleans(),
        "requirements": st.sampled_from([[], [{"key": "kubernetes.io/arch", "operator": "Exists"}]]),
        "disruption": st.sampled_from([{}, {"consolidateAfter": "2h"}, {"budgets": [{"nodes": "0"}]}]),
    },
)


@given(SETTINGS, SETTINGS, st.sampled_from(sorted(KARPENTERS)))
def test_invariants(server: Json, content: Json, version: str) -> None:
    owner = profile({"serverPool": server, "contentPool": content})
    for pool, name in zip(rendered(owner, version), ("connect-server", "connect-content"), strict=True):
        assert list(_empty_maps(pool)) == [], "the API server refuses an apply of them"
        assert None not in list(_leaves(pool))
        template = pool["spec"]["template"]
        assert template["metadata"]["labels"]["workload"] == name
        assert template["spec"]["requirements"], "required, and empty would be any machine"
        assert pool["spec"]["disruption"]["budgets"]
        assert differences(pool, json.loads(json.dumps(pool))) == ()
        protected = (server if name == "connect-server" else content).get(
            "deletionProtection", name == "connect-server"
        )
        assert ("finalizers" in pool["metadata"]) is protected


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping | list):
        for below in node.values() if isinstance(node, Mapping) else node:
            yield from _leaves(below)
    else:
        yield node


def content_pool(**fields: Any) -> Pool:
    return pool_of(profile({"contentPool": fields}), "connect-content")


def entry(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


ARCH, SYSTEM, CAPACITY = "kubernetes.io/arch", "kubernetes.io/os", "karpenter.sh/capacity-type"


def test_base_requirements() -> None:
    assert requirements(content_pool()) == [
        entry(CAPACITY, "In", "on-demand"),
        entry(ARCH, "In", "amd64"),
        entry(SYSTEM, "In", "linux"),
    ]


@pytest.mark.parametrize("key", [ARCH, "beta.kubernetes.io/arch"])
def test_an_own_requirement_replaces_the_base_under_either_name_of_its_key(key: str) -> None:
    own = [entry(key, "In", "arm64"), entry("example.com/a", "Exists")]
    base = [entry(CAPACITY, "In", "on-demand"), entry(SYSTEM, "In", "linux")]
    assert requirements(content_pool(requirements=own)) == [*base, *own]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"requirements": [entry(CAPACITY, "In", "spot", "on-demand"), entry(CAPACITY, "NotIn", "spot")]},
        {"requirements": [entry("a/cpu", "Gt", "4"), entry("a/cpu", "Lt", "6")]},
        {"requirements": [entry("a/cpu", "Gte", "5"), entry("a/cpu", "Lte", "5"), entry("a/cpu", "NotIn", "4")]},
        {"requirements": [entry("a", "NotIn", "x"), entry("a", "DoesNotExist")]},
        {"labels": {"a": "x"}, "requirements": [entry("a", "In", "x", "y")]},
        {"labels": {ARCH: "arm64"}, "requirements": [entry(ARCH, "In", "arm64")]},
        {"labels": {ARCH: "amd64"}},
    ],
)
def test_requirements_that_some_node_can_meet(fields: Json) -> None:
    assert list(contradictions(content_pool(**fields))) == []


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"requirements": [entry("a", "In", "x"), entry("a", "NotIn", "x")]}, "a"),
        ({"requirements": [entry("a", "In", "x"), entry("a", "In", "y")]}, "a"),
        ({"requirements": [entry("a", "Exists"), entry("a", "DoesNotExist")]}, "a"),
        ({"requirements": [entry("a", "Gt", "4"), entry("a", "Lt", "5")]}, "a"),
        ({"requirements": [entry("a", "Gt", "4"), entry("a", "Lt", "6"), entry("a", "NotIn", "5")]}, "a"),
        ({"requirements": [entry("a", "Lt", "0")]}, "a"),
        ({"requirements": [entry("a", "In", "large"), entry("a", "Gt", "1")]}, "a"),
        ({"requirements": [entry(ARCH, "In", "arm64"), entry("beta.kubernetes.io/arch", "In", "amd64")]}, ARCH),
        ({"requirements": [entry(ARCH, "DoesNotExist")]}, ARCH),
        ({"labels": {ARCH: "arm64"}}, ARCH),
        ({"labels": {CAPACITY: "spot"}}, CAPACITY),
        ({"labels": {"a": "x"}, "requirements": [entry("a", "In", "y")]}, "a"),
    ],
)
def test_contradictions(fields: Json, key: str) -> None:
    (message,) = contradictions(content_pool(**fields))
    assert message.startswith(f"NodePool connect-content: no node can meet the requirements on {key} (")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"disruption": {"consolidationPolicy": "Balanced"}}, "consolidationPolicy: Balanced"),
        ({"disruption": {"budgets": [{"nodes": "0", "reasons": ["Unhealthy"]}]}}, "reasons: Unhealthy"),
        ({"requirements": [entry("a", "Gte", "4")]}, "operator: Gte"),
    ],
)
def test_features_that_the_installed_karpenter_lacks(fields: Json, words: str) -> None:
    old = type(KARPENTER_1_14)(
        operators=KARPENTER_1_14.operators - {"Gte", "Lte"},
        consolidation_policies=KARPENTER_1_14.consolidation_policies - {"Balanced"},
        budget_reasons=KARPENTER_1_14.budget_reasons,
        atomic_labels=True,
    )
    (message,) = unknown_features(content_pool(**fields), old)
    assert words in message
    assert list(unknown_features(content_pool(**fields), KARPENTER_1_15)) == []

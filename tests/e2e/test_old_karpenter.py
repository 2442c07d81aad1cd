"""Karpenter 1.13, the oldest that is supported, and an older one: their CRDs on an API server, without the program."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from e2e.old_karpenter import karpenter_1_12, karpenter_1_13
from harness import NODE_CLASS, NODE_POOLS, USER, Json, LocalOperator, Workspace
from sandbox import Cluster, Parts, cluster, eventually

# Everything that 1.13 knows; only budgets with a schedule and expirations are left to the defaults of other tests.
EVERYTHING: dict[str, Any] = {
    "serverPool": {
        "requirements": [
            {"key": "karpenter.kwok.sh/instance-cpu", "operator": "Lte", "values": ["16"]},
            {"key": "karpenter.kwok.sh/instance-family", "operator": "In", "values": ["m", "s"], "minValues": 1},
        ],
        "labels": {"example.com/team": "data"},
        "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        "taints": [{"key": "example.com/licence", "value": "pro", "effect": "PreferNoSchedule"}],
        "startupTaints": [{"key": "example.com/agent", "effect": "NoExecute"}],
        "limits": {"cpu": "64", "memory": "256Gi"},
        "weight": 10,
    },
    "contentPool": {
        "disruption": {
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "consolidateAfter": "1m",
            "budgets": [{"nodes": "20%", "reasons": ["Empty"], "schedule": "0 9 * * MON-FRI", "duration": "8h"}],
        },
        "expireAfter": "168h",
        "terminationGracePeriod": "4h",
    },
    "additionalContentPools": [{"name": "gpu-1-13", "limits": {"nvidia.com/gpu": 4}}],
}


@pytest.fixture
async def workspace(oldest: LocalOperator) -> AsyncIterator[Workspace]:
    async with Workspace(oldest.cluster) as opened:
        yield opened


async def test_every_field_is_accepted(workspace: Workspace) -> None:
    """Writes are strict: a field or value that the CRD does not know would be refused."""
    profile = workspace.profile(**EVERYTHING)
    await profile.ready()
    server = profile.pool()["spec"]
    assert server["template"]["metadata"]["labels"]["example.com/team"] == "data"
    assert server["disruption"]["budgets"][0] == {"nodes": "0", "reasons": ["Underutilized", "Drifted"]}
    assert profile.pool("gpu-1-13")["spec"]["limits"] == {"nvidia.com/gpu": 4}
    await profile.condition_is("Drifted", "False")


async def test_bends_are_healed(workspace: Workspace) -> None:
    profile = workspace.profile(**{**EVERYTHING, "additionalContentPools": []})
    await profile.ready()
    wanted = profile.pool()["spec"]
    template = {"metadata": {"labels": {"bent": "yes"}, "annotations": {"bent": "yes"}}, "spec": {"taints": []}}
    budgets = [{"nodes": "100%"}]
    bent = {"template": template, "disruption": {"budgets": budgets}, "limits": None, "weight": 3}
    assert workspace.api.merge(NODE_POOLS, profile.server, {"spec": bent})["spec"] != wanted
    await eventually(lambda: profile.pool()["spec"] == wanted, timeout=30)
    await profile.condition_is("Drifted", "False")


@pytest.mark.parametrize(
    ("disruption", "words"),
    [
        ({"consolidationPolicy": "Balanced"}, "consolidationPolicy: Balanced"),
        ({"budgets": [{"nodes": "1", "reasons": ["Unhealthy"]}]}, "reasons: Unhealthy"),
    ],
)
async def test_what_is_too_new_is_refused_before_anything_is_written(
    workspace: Workspace, disruption: Json, words: str
) -> None:
    profile = workspace.profile(contentPool={"disruption": disruption})
    refused = await profile.condition_is("Ready", "False", "Invalid")
    (stalled,) = (each for each in refused["status"]["conditions"] if each["type"] == "Stalled")
    assert words in stalled["message"]
    assert "upgrade Karpenter" in stalled["message"]
    assert [workspace.api.find(NODE_POOLS, name) for name in (profile.server, profile.content)] == [None, None]


async def test_a_karpenter_that_is_too_old(tmp_path: Path) -> None:
    """Nothing is written; after an upgrade of its CRDs a request to reconcile is enough."""
    older, newer = tmp_path / "1.12", tmp_path / "1.13"
    older.mkdir()
    newer.mkdir()
    async with (
        cluster(parts=Parts.API, crds=karpenter_1_12(older)) as running,
        LocalOperator(running),
        Workspace(running) as workspace,
    ):
        profile = workspace.profile()
        refused = await profile.condition_is("Ready", "False", "UnsupportedKarpenter")
        assert "upgrade Karpenter" in str(refused["status"]["conditions"])
        await profile.condition_is("Stalled", "True", "UnsupportedKarpenter")
        assert _writes_of_pools(running) == 0
        running.apply(karpenter_1_13(newer))
        profile.annotate(requestedAt="upgraded")
        await profile.condition_is("Ready", "Unknown", "WaitingForNodePools")
        assert profile.pool()["spec"]["template"]["spec"]["nodeClassRef"] == NODE_CLASS


def _writes_of_pools(running: Cluster) -> int:
    return sum(entry.resource == NODE_POOLS.plural for entry in running.audit.writes(user=USER))

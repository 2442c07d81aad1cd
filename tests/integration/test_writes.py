"""How often the operator writes: the judge is the API server's audit log."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import (
    EVENTS,
    NODE_CLAIMS,
    NODE_POOLS,
    PROFILES,
    Api,
    Json,
    LocalOperator,
    Operator,
    Profile,
    Workspace,
    stamp_ready,
)
from integration.claims import node_claim
from integration.written import FINALIZER, POOLS, STATUS, Written
from profile_specs import Spec
from sandbox import Cluster, Parts, cluster, eventually

HERD = 200
MINUTE = 67.0
"""Seconds in which every profile with an interval of 1m, give or take a tenth, has been looked at again."""
CHURN = 30
SPEC: Spec = {
    "serverPool": {
        "taints": [{"key": "example.com/a", "effect": "NoExecute"}, {"key": "example.com/b", "effect": "NoExecute"}],
        "limits": {"cpu": "64"},
    },
    "contentPool": {"weight": 5, "limits": {"cpu": 64, "memory": "1Gi"}, "disruption": {"consolidateAfter": "1h"}},
}


@dataclass
class Herd:
    """Many converged profiles on a cluster of their own, where nobody touches them."""

    cluster: Cluster
    operator: Operator
    workspace: Workspace
    written: Written
    since: float = 0.0

    @property
    def events(self) -> int:
        """Number of Kubernetes Events about them."""
        return sum(each["regarding"].get("name", "").startswith("herd-") for each in self.workspace.api.list(EVENTS))

    def begin(self) -> None:
        """Count from now on."""
        self.written, self.since = Written(self.cluster), time.monotonic()


@pytest.fixture(scope="module")
async def herd() -> AsyncIterator[Herd]:
    async with cluster(parts=Parts.API) as it, Operator(it) as operator:
        workspace = Workspace(it)  # never closed: what it made goes with the cluster
        names = [f"herd-{number}" for number in range(HERD)]
        await asyncio.gather(*(asyncio.to_thread(workspace.profile, name, interval="1m") for name in names))
        await eventually(lambda: len(workspace.api.list(NODE_POOLS)) == 2 * HERD, timeout=120)
        pools = [pool["metadata"]["name"] for pool in workspace.api.list(NODE_POOLS)]
        status = {"status": stamp_ready(workspace.api, pools[0])["status"]}
        await asyncio.gather(*(asyncio.to_thread(_stamp, workspace.api, pool, status) for pool in pools[1:]))
        await eventually(lambda: all(is_ready(each) for each in workspace.api.list(PROFILES)), timeout=120)
        result = Herd(it, operator, workspace, Written(it))
        await eventually(lambda: result.events == 3 * HERD, timeout=120)
        await result.written.settled(seconds=120)
        result.begin()
        yield result


def _stamp(api: Api, pool: str, status: Json) -> None:
    api.merge(NODE_POOLS, pool, status, manager="karpenter", subresource="status")


def is_ready(profile: Json) -> bool:
    conditions = profile.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def settled(workspace: Workspace) -> Profile:
    made = workspace.profile(**SPEC)
    await Written.about(workspace.cluster, made).settled(lambda: is_ready(made.read()))
    return made


@pytest.fixture(scope="module")
async def profile(local_operator: LocalOperator) -> AsyncIterator[Profile]:
    """A profile that has settled, and is left so by every test."""
    async with Workspace(local_operator.cluster) as workspace:
        yield await settled(workspace)


@pytest.fixture
def written(local_workspace: Workspace, profile: Profile) -> Written:
    """What the operator writes about that profile, from now on."""
    return Written.about(local_workspace.cluster, profile)


async def test_a_restart_of_the_operator_costs_nothing(herd: Herd) -> None:
    events = herd.events
    herd.begin()
    await herd.operator.restart()
    # Whoever comes last shows that the others have had their turn.
    last = herd.workspace.profile()
    await last.condition_is("Ready", "Unknown")
    own = {last.name, last.server, last.content}
    assert [each for each in herd.written.entries if each.name not in own] == []
    assert herd.events == events
    for pool in (last.server, last.content):
        stamp_ready(herd.workspace.api, pool)
    await last.ready()
    await herd.written.settled()
    herd.begin()


async def test_a_new_profile(local_workspace: Workspace) -> None:
    written = Written(local_workspace.cluster)
    profile = local_workspace.profile(**SPEC)
    counts = await written.settled(lambda: is_ready(profile.read()))
    assert (counts[POOLS], counts[FINALIZER]) == (2, 1)
    assert counts[STATUS] <= 2
    assert counts.total() <= 5


async def test_a_change_of_both_pools(profile: Profile, written: Written) -> None:
    """Fields that are added, changed and dropped."""
    profile.patch({"serverPool": {"weight": 7}, "contentPool": {"weight": 7, "limits": None, "labels": {"a": "b"}}})
    counts = await written.settled(lambda: _caught_up(profile))
    assert counts[POOLS] == 2
    assert counts.total() <= 3


async def test_a_change_of_nothing_that_pools_show(profile: Profile, written: Written) -> None:
    profile.patch({"interval": "7m"})
    assert await written.settled(lambda: _caught_up(profile)) == {STATUS: 1}


def _caught_up(profile: Profile) -> bool:
    body = profile.read()
    return bool(body["status"]["observedGeneration"] == body["metadata"]["generation"]) and is_ready(body)


async def test_one_drift(profile: Profile, written: Written) -> None:
    spec = profile.pool(profile.content)["spec"]
    profile.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 99}})
    counts = await written.settled(lambda: profile.pool(profile.content)["spec"] == spec)
    assert counts[POOLS] == 1
    assert 1 <= counts[STATUS] <= 2
    assert counts.total() == counts[POOLS] + counts[STATUS]


async def test_a_deleted_pool(profile: Profile, written: Written) -> None:
    uid = profile.pool(profile.content)["metadata"]["uid"]
    profile.api.delete(NODE_POOLS, profile.content)

    def back() -> bool:
        pool = profile.api.find(NODE_POOLS, profile.content)
        return pool is not None and pool["metadata"]["uid"] != uid and _caught_up(profile)

    counts = await written.settled(back)
    assert counts[POOLS] == 1
    assert 1 <= counts[STATUS] <= 2
    assert counts.total() <= 3


async def test_what_others_do_costs_nothing(local_workspace: Workspace, tmp_path: Path) -> None:
    api, profile = local_workspace.api, await settled(local_workspace)
    claim = node_claim(local_workspace, profile.pool(profile.content))
    await eventually(lambda: profile.status["content"] == "1/1")
    written = Written.about(local_workspace.cluster, profile)
    _play_karpenter(profile, claim)
    own = {"labels": {"team": "data"}, "annotations": {"note": "mine"}}
    api.merge(PROFILES, profile.name, {"metadata": own})
    api.merge(NODE_POOLS, profile.server, {"metadata": own})
    _apply_again(local_workspace.cluster, profile, tmp_path)
    await _come_past(local_workspace)
    assert await written.settled() == {}


async def test_the_same_in_other_words_costs_no_correction(local_workspace: Workspace) -> None:
    profile = await settled(local_workspace)
    written = Written.about(local_workspace.cluster, profile)
    _say_the_same_in_other_words(profile)
    await _come_past(local_workspace)
    counts = await written.settled()
    assert counts <= Counter({STATUS: 2})  # it tells the generation of each pool


async def _come_past(workspace: Workspace) -> None:
    """Bend another profile's pool: its correction shows that the operator has seen all that happened before."""
    other = workspace.profile(contentPool={"weight": 5})
    await other.ready()
    workspace.api.merge(NODE_POOLS, other.content, {"spec": {"weight": 6}})
    await eventually(lambda: other.pool(other.content)["spec"]["weight"] == 5)


def _play_karpenter(profile: Profile, claim: str) -> None:
    """Write what Karpenter writes while a node works."""
    api = profile.api
    for number in range(CHURN):
        hashes = {"karpenter.sh/nodepool-hash": str(number), "karpenter.sh/nodepool-hash-version": "v3"}
        api.merge(NODE_POOLS, profile.content, {"metadata": {"annotations": hashes}}, manager="karpenter")
        counters = {"nodes": number, "resources": {"cpu": str(number)}}
        api.merge(NODE_POOLS, profile.content, {"status": counters}, manager="karpenter", subresource="status")
        time = {"lastPodEventTime": f"2026-01-01T00:00:{number:02}Z"}
        api.merge(NODE_CLAIMS, claim, {"status": time}, manager="karpenter", subresource="status")


def _say_the_same_in_other_words(profile: Profile) -> None:
    spec = profile.pool()["spec"]["template"]["spec"]
    turned = {"taints": spec["taints"][::-1], "requirements": spec["requirements"][::-1]}
    budgets = profile.pool()["spec"]["disruption"]["budgets"][::-1]
    profile.api.merge(
        NODE_POOLS,
        profile.server,
        {"spec": {"limits": {"cpu": "64000m"}, "template": {"spec": turned}, "disruption": {"budgets": budgets}}},
    )
    same = {"limits": {"cpu": "64", "memory": "1024Mi"}, "disruption": {"consolidateAfter": "60m"}}
    profile.api.merge(NODE_POOLS, profile.content, {"spec": {**same, "template": {"spec": {"expireAfter": "43200m"}}}})


def _apply_again(cluster: Cluster, profile: Profile, directory: Path) -> None:
    """Apply the profile's manifest twice with kubectl: the first time adds kubectl's own annotation."""
    body = profile.read()
    manifest = directory / "profile.json"
    manifest.write_text(
        json.dumps({key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": profile.name}})
    )
    for arguments in ((), (), ("--server-side", "--force-conflicts")):
        applied = cluster.kubectl("apply", "-f", manifest, *arguments)
        assert applied.returncode == 0, applied.stderr
    assert profile.read()["metadata"]["generation"] == body["metadata"]["generation"]


async def test_an_idle_minute_costs_nothing(herd: Herd) -> None:
    await asyncio.sleep(max(0.0, herd.since + MINUTE - time.monotonic()))
    assert herd.written.entries == []
    assert herd.operator.healthy()

"""One protection after the other is taken away: checks tell of each; without the last one the server is evicted."""

import time
from typing import Final

from e2e.scenarios.crowd import LARGE, crowd
from e2e.scenarios.protected import DO_NOT_DISRUPT, PATIENCE, Figures, protected
from e2e.stage import Stage
from e2e.tenant import POLL
from harness import EVENTS, NODE_CLASS, NODE_POOLS, Json, unique
from sandbox import eventually

_AMD64: Final = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
_ON_DEMAND: Final = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}


async def a_server_pool_of_somebody_else(stage: Stage) -> Figures:
    """An External pool that consolidates: the annotation alone still holds the server; without it nothing does."""
    name = unique("external")
    external = {"serverPool": {"name": name, "management": "External"}, "placement": {"server": name}}
    async with protected(stage, **external) as it:
        it.tenant.workspace.create(NODE_POOLS, _open_to_consolidation(name))
        fits = {"nodeSelector": {"workload": name}, "tolerations": [{"key": "workload", "operator": "Exists"}]}
        async with crowd(stage, fits) as fillers:
            await fillers.fill(LARGE)
            await it.says("ServerNodesPersist", "Failed", f"NodePool {name} lets Karpenter disrupt nodes in use")
            server = await eventually(it.server, timeout=PATIENCE, interval=POLL)
        node, pod = server["spec"]["nodeName"], server["metadata"]["name"]
        await eventually(lambda: _blocked(it.api.list(EVENTS), node, pod), timeout=PATIENCE, interval=POLL)
        assert it.server()["metadata"]["uid"] == server["metadata"]["uid"]

        began = time.monotonic()
        bare = {"metadata": {"annotations": {DO_NOT_DISRUPT: None}}}
        it.api.merge(it.release.kind("pods"), pod, bare)
        await it.says("ServerProtected", "Failed", f"{pod} lacks {DO_NOT_DISRUPT}")
        # Karpenter drops a decision when pods come or go within its fifteen seconds, on whatever nodes.
        await eventually(
            lambda: pod not in {each["metadata"]["name"] for each in it.release.servers()}, timeout=5 * PATIENCE
        )
        return {"seconds from the last protection's end to the eviction": time.monotonic() - began}


def _open_to_consolidation(name: str) -> Json:
    template = {
        "metadata": {"labels": {"workload": name}},
        "spec": {
            "nodeClassRef": NODE_CLASS,
            "requirements": [_AMD64, _ON_DEMAND],
            "taints": [{"key": "workload", "value": name, "effect": "NoSchedule"}],
            "expireAfter": "Never",
        },
    }
    disruption = {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "0s"}
    return {"kind": "NodePool", "metadata": {"name": name}, "spec": {"template": template, "disruption": disruption}}


def _blocked(events: list[Json], node: str, pod: str) -> bool:
    """Tell whether Karpenter says that it would disrupt a node but for a pod."""
    return any(
        event["reason"] == "DisruptionBlocked"
        and event["regarding"].get("name") == node
        and DO_NOT_DISRUPT in event["note"]
        and pod in event["note"]
        for event in events
    )

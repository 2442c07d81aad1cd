"""Pods that come and go, so that nodes are bought, emptied and consolidated; a NodePool as many clusters have it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from demo.connect import open_pool
from e2e.scenarios.protected import PATIENCE
from e2e.stage import Stage
from e2e.tenant import POLL, UNREGISTERED
from harness import NODE_POOLS, NODES, PODS, Api, Json, Workspace, unique
from sandbox import eventually

LARGE: Final = "29"
"""Cores: with such a pod Karpenter buys a node of 32 cores, which leaves room for a server or content."""
_INITIALIZED: Final = "karpenter.sh/initialized=true"


@dataclass
class Crowd:
    """Pods for one kind of nodes.

    Attributes:
        api: The administrator's.
        fits: What makes a pod fit to those nodes: of its spec.
    """

    api: Api
    fits: Json
    _pods: list[str] = field(default_factory=list)

    async def fill(self, *cores: str, apart: bool = False) -> None:
        """Have a pod for each number of cores, and wait until all of them run on nodes that anybody may use.

        A node that Karpenter has not finished yet takes the crowd, which tolerates that, but no content: what is
        started then would crowd on the other node, or be evicted by a taint manager that has not seen the taint go.

        Args:
            cores: What they request.
            apart: Whether each has a node of its own.
        """
        came = unique("crowd")
        names = [f"{came}-{number}" for number in range(len(cores))]
        for name, each in zip(names, cores, strict=True):
            self._pods.append(name)
            self.api.create(PODS, self._pod(name, came, each, apart=apart))
        await eventually(lambda: self._run(came) == len(cores), timeout=PATIENCE, interval=POLL)

    def leave(self) -> None:
        """Take all of them away."""
        while self._pods:
            self.api.delete(PODS, self._pods.pop())

    def _run(self, came: str) -> int:
        pods = self.api.list(PODS, labelSelector=f"crowd={came}")
        open_to_all = {node["metadata"]["name"] for node in self.api.list(NODES, labelSelector=_INITIALIZED)}
        return sum(pod["status"]["phase"] == "Running" and pod["spec"]["nodeName"] in open_to_all for pod in pods)

    def _pod(self, name: str, came: str, cores: str, *, apart: bool) -> Json:
        others = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"crowd": came}}}
        alone = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [others]}}
        container: dict[str, Any] = {"name": "main", "image": "none", "resources": {"requests": {"cpu": cores}}}
        tolerations = [*self.fits.get("tolerations", ()), UNREGISTERED]
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0, **self.fits, "tolerations": tolerations}
        return {
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"crowd": came}},
            "spec": {**spec, "affinity": alone} if apart else spec,
        }


@asynccontextmanager
async def crowd(stage: Stage, fits: Json) -> AsyncIterator[Crowd]:
    """Have a crowd that is gone at the end."""
    it = Crowd(stage.api, fits)
    try:
        yield it
    finally:
        it.leave()


@asynccontextmanager
async def greedy_pool(stage: Stage, **template: Any) -> AsyncIterator[Json]:
    """Have a NodePool that consolidates whatever it can; yield what makes pods fit to its nodes, and only to them.

    Its nodes are on demand: Karpenter does not replace a spot node by a cheaper spot node unless its gate
    SpotToSpotConsolidation is on, so that a server there is safe from consolidation, if from nothing else.

    Args:
        stage: Where.
        template: Over `spec.template.spec`.
    """
    pool, name = open_pool(), unique("greedy")
    on_demand = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}
    pool["metadata"]["name"] = name
    pool["spec"]["disruption"] |= {"consolidateAfter": "0s", "budgets": [{"nodes": "100%"}]}
    inner = pool["spec"]["template"]["spec"]
    inner["requirements"] = [each for each in inner["requirements"] if each["key"] != on_demand["key"]] + [on_demand]
    inner |= {"taints": [{"key": "greedy", "value": name, "effect": "NoSchedule"}], **template}
    pool["spec"]["template"]["metadata"] = {"labels": {"greedy": name}}
    async with Workspace(stage.cluster) as workspace:
        workspace.create(NODE_POOLS, pool)
        yield {"nodeSelector": {"greedy": name}, "tolerations": [{"key": "greedy", "operator": "Exists"}]}

"""Content: spread over nodes with the profile's constraint, in a heap without it; and what keeps its nodes."""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Final

from e2e.scenarios.crowd import crowd
from e2e.scenarios.protected import DO_NOT_DISRUPT, PATIENCE, Figures, Protected, protected
from e2e.stage import Stage, side_by_side
from e2e.tenant import POLL, condition
from harness import NODE_CLAIMS, NODES, Json, Kind
from sandbox import eventually

_APPS: Final = 6
_ROOMS: Final = ("30", "30", "17")
"""Cores that are taken on three nodes of 32: a scheduler that is not told to spread takes the roomy one."""


async def spread(stage: Stage) -> Figures:
    """Six contents on three nodes: two on each, or all on the one with most room."""
    still = {"disruption": {"consolidateAfter": "1h"}}
    async with AsyncExitStack() as stack:
        with_it = await stack.enter_async_context(protected(stage, contentPool=still))
        without = await stack.enter_async_context(protected(stage, contentPool=still, content={"topologySpread": []}))
        heaps = await side_by_side({"with": _placed(with_it), "without": _placed(without)})
    assert sorted(heaps["with"].values()) == [2, 2, 2]
    assert sorted(heaps["without"].values()) == [_APPS]
    return {"skew with the constraint": 0, "skew without": _APPS}


async def _placed(it: Protected) -> Counter[str]:
    await it.at_home()
    async with crowd(it.tenant.stage, it.content_nodes) as fillers:
        await fillers.fill(*_ROOMS, apart=True)
        pods = [await it.start("app", "run_app") for _ in range(_APPS)]
        nodes = Counter(str(pod["spec"]["nodeName"]) for pod in pods)
        await it.says("ContentOnContentPool", "Passed", f"{_APPS} content pods run on {len(nodes)} nodes")
        it.end_all()
    return nodes


async def idle_nodes_that_stay(stage: Stage) -> Figures:
    """Each is held by one thing, which the check names; when that ends, the pool goes to zero, and the check passes."""
    cases = (_held_by_a_budget, _held_by_an_annotation, _held_by_a_disruption_budget)
    await side_by_side({case.__name__: case(stage) for case in cases})
    return {}


async def _held_by_a_budget(stage: Stage) -> None:
    async with protected(stage, **_quick(budgets=[{"nodes": "0"}])) as it:
        await _idle(it)
        await it.says("ContentScalesDown", "Failed", "1 idle nodes stay", "has a budget of 0 for empty nodes")
        it.profile.patch(_quick())
        await _empty(it)


async def _held_by_an_annotation(stage: Stage) -> None:
    async with protected(stage, **_quick()) as it:
        await it.at_home()
        async with crowd(stage, it.content_nodes) as fillers:
            await fillers.fill("1")
            claim = await eventually(lambda: _registered(it), timeout=PATIENCE, interval=POLL)
            _annotate(it, claim, "true")
        await it.says("ContentScalesDown", "Failed", f"NodeClaim {claim['metadata']['name']} carries {DO_NOT_DISRUPT}")
        _annotate(it, claim, None)
        await _empty(it)


async def _held_by_a_disruption_budget(stage: Stage) -> None:
    async with protected(stage, **_quick()) as it:
        await it.at_home()
        namespace, labels = it.release.namespace, {"app": "cache"}
        budgets = Kind("policy/v1", "poddisruptionbudgets", namespace)
        spec = {"minAvailable": 1, "selector": {"matchLabels": labels}}
        it.api.create(budgets, {"kind": "PodDisruptionBudget", "metadata": {"name": "cache"}, "spec": spec})
        replicas = {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {**it.content_nodes, "containers": [{"name": "main", "image": "none"}]},
            },
        }
        sets = it.release.kind("replicasets")
        it.api.create(sets, {"kind": "ReplicaSet", "metadata": {"name": "cache"}, "spec": replicas})
        await it.says("ContentScalesDown", "Failed", f"pod {namespace}/cache-", "is held by a PodDisruptionBudget")
        it.api.delete(sets, "cache")
        await _empty(it)


def _quick(**disruption: Any) -> Json:
    return {"contentPool": {"disruption": {"consolidateAfter": "1s", "budgets": [{"nodes": "100%"}], **disruption}}}


async def _idle(it: Protected) -> None:
    """Have a content node that nothing runs on."""
    await it.at_home()
    async with crowd(it.tenant.stage, it.content_nodes) as fillers:
        await fillers.fill("1")


async def _empty(it: Protected) -> None:
    await it.says("ContentScalesDown", "Passed", "have no node")
    await it.profile.ready(seconds=PATIENCE)


def _registered(it: Protected) -> Json:
    """Return the only content NodeClaim; it has a node."""
    (claim,) = it.tenant.claims(it.profile.content)
    assert condition(claim, "Registered"), claim["status"]
    return claim


def _annotate(it: Protected, claim: Json, value: str | None) -> None:
    """Set Karpenter's annotation of a node and its NodeClaim; None removes it."""
    patch = {"metadata": {"annotations": {DO_NOT_DISRUPT: value}}}
    it.api.merge(NODE_CLAIMS, claim["metadata"]["name"], patch)
    it.api.merge(NODES, claim["status"]["nodeName"], patch)

"""A profile and a real Karpenter: where pods land, what changes of a template do to nodes, what Karpenter says.

Each scene waits most of its time, for Karpenter's polls of ten seconds and more. So all of them begin at once, on
both stages, under names of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from e2e.stage import Stage, Stages, on_each
from e2e.tenant import POLL, Tenant, condition, pod
from harness import EVENTS, NODE_CLASS, NODE_CLASSES, NODE_POOLS, Json, Kind, Operator
from sandbox import Parts, cluster, eventually

DEPLOYMENTS: Final = Kind("apps/v1", "deployments", "default")
DRIFT_IS_SEEN: Final = 15.0
"""Seconds after which Karpenter has set or removed Drifted."""
PICKED_UP_WITHIN: Final = 60.0
SLOW: Final = 120.0

Scene = Callable[[Stage], Coroutine[Any, Any, None]]


async def pods_land_where_they_belong(stage: Stage) -> None:
    async with Tenant(stage) as tenant:
        tenant.apply()
        tenant.run("server")
        tenant.run("content")
        await tenant.settle()
        for pool, name in ((tenant.profile.server, "server"), (tenant.profile.content, "content")):
            (node,) = tenant.nodes(pool)
            (there,) = (each for each in tenant.pods() if each["spec"]["nodeName"] == node["metadata"]["name"])
            assert there["metadata"]["name"].startswith(f"{tenant.name}-{name}")
            labels = node["metadata"]["labels"]
            wanted = {
                "workload": f"{tenant.name}-{name}",
                "karpenter.sh/capacity-type": "on-demand",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
            }
            assert labels.items() >= wanted.items()
        kept = tenant.profile.pool()["spec"]["disruption"]["budgets"][0]
        assert ("Unhealthy" in kept["reasons"]) == (stage.karpenter == "1.15")
        counts = {"server": "1/1", "content": "1/1"}
        await eventually(lambda: tenant.profile.status.items() >= counts.items(), interval=POLL)


async def a_bent_template_that_is_healed_outdates_no_node(stage: Stage) -> None:
    async with Tenant(stage) as tenant:
        tenant.apply()
        before = await tenant.settle()
        bend = {"spec": {"template": {"metadata": {"labels": {"bent": "yes"}}}}}
        assert "bent" in str(tenant.api.merge(NODE_POOLS, tenant.profile.server, bend)["spec"])
        await eventually(lambda: "bent" not in str(tenant.profile.pool()["spec"]), interval=POLL)
        await asyncio.sleep(DRIFT_IS_SEEN)  # an absence cannot be waited for in another way
        await tenant.readopted(before)


async def a_changed_server_template_is_announced_and_replaces_no_node(stage: Stage) -> None:
    async with Tenant(stage) as tenant:
        tenant.apply()
        tenant.run(pods=2)
        before = await tenant.settle()
        target = f"NodePool/{tenant.profile.server}"
        tenant.profile.patch({"mode": "Plan", "serverPool": {"labels": {"team": "a"}}})
        planned = await _planned(tenant, target)
        assert planned["fields"] == ["/spec/template/metadata/labels/team"]
        assert (planned["disruption"], planned["nodeClaims"]) == ("OutdatesNodes", 2)
        tenant.profile.patch({"mode": "Enforce"})
        await tenant.condition_is("Ready")
        assert tenant.profile.pool()["spec"]["template"]["metadata"]["labels"]["team"] == "a"

        def outdated() -> bool:
            assert all(condition(claim, "Drifted") for claim in tenant.claims())
            status = tenant.pool_status()
            assert (status["outdatedNodes"], status["driftedNodeClaims"]) == (2, 2)
            notes = [each["note"] for each in tenant.api.list(EVENTS) if _about(each, tenant.profile.server)]
            return any("disruption reason Drifted due to blocking budget" in note for note in notes)

        await eventually(outdated, timeout=SLOW, interval=POLL)
        assert tenant.belongings() == before
        assert not [claim for claim in tenant.claims() if "deletionTimestamp" in claim["metadata"]]
        await tenant.condition_is("Ready")


async def a_changed_content_template_waits_for_approval(stage: Stage) -> None:
    async with Tenant(stage) as tenant:
        tenant.apply()
        await tenant.condition_is("Ready")
        pool, name = tenant.profile.content, f"{tenant.name}-app"
        tenant.workspace.create(DEPLOYMENTS, _deployment(name, pool))
        await eventually(lambda: _available(tenant, name), timeout=SLOW, interval=POLL)
        (old,) = (claim["metadata"]["uid"] for claim in tenant.claims(pool))
        tenant.profile.patch({"contentPool": {"labels": {"team": "a"}}})
        waiting = await tenant.condition_is("Ready", "False", "Deferred")
        (planned,), digest = waiting["status"]["plan"], waiting["status"]["planDigest"]
        assert (planned["target"], planned["reason"]) == (f"NodePool/{pool}", "NodesInUse")
        assert (planned["disruption"], planned["nodeClaims"]) == ("ReplacesNodes", 1)
        (ready,) = (each for each in waiting["status"]["conditions"] if each["type"] == "Ready")
        assert f"connect-autoscaler.io/approve={digest}" in ready["message"]
        assert "team" not in str(tenant.profile.pool(pool)["spec"])
        tenant.profile.annotate(approve=digest)
        await tenant.condition_is("Ready")
        assert tenant.profile.pool(pool)["spec"]["template"]["metadata"]["labels"]["team"] == "a"
        assert "plan" not in tenant.profile.status

        def replaced() -> bool:
            (claim,) = tenant.claims(pool)
            assert claim["metadata"]["uid"] != old
            assert claim["metadata"]["labels"]["team"] == "a"
            return _available(tenant, name)

        await eventually(replaced, timeout=SLOW, interval=POLL)


async def a_node_class_is_not_ready(stage: Stage) -> None:
    async with Tenant(stage, _own_class("unready")) as tenant:
        name = _create_class(tenant, "unready")
        tenant.apply()
        await tenant.condition_is("Ready")
        _judge(tenant, name, "False", "SubnetsNotFound")
        told = await tenant.condition_is("NodePoolsReady", "False", "NodeClassNotReady")
        assert "SubnetsNotFound" in str(told["status"]["conditions"])
        await tenant.condition_is("Ready", "False", "NodeClassNotReady")
        _judge(tenant, name, "True", "Ready")
        await tenant.condition_is("Ready")


async def a_node_class_goes_and_comes_back(stage: Stage) -> None:
    async with Tenant(stage, _own_class("gone")) as tenant:
        name = _create_class(tenant, "gone")
        tenant.apply()
        await tenant.condition_is("Ready")
        tenant.api.delete(NODE_CLASSES, name)
        await tenant.condition_is("Ready", "False", "NodeClassNotFound")
        _create_class(tenant, "gone")
        await tenant.condition_is("Ready")


async def what_only_karpenter_refuses(stage: Stage) -> None:
    """Its kwok provider reserves a label domain that neither CRD knows of."""
    async with Tenant(stage) as tenant:
        tenant.apply()
        await tenant.condition_is("Ready")
        tenant.profile.patch({"contentPool": {"labels": {"karpenter.kwok.sh/team": "a"}}})
        told = await tenant.condition_is("Ready", "False", "Invalid")
        (ready,) = (each for each in told["status"]["conditions"] if each["type"] == "Ready")
        assert "using label karpenter.kwok.sh/team is not allowed" in ready["message"]
        tenant.profile.patch({"contentPool": {"labels": None}})
        await tenant.condition_is("Ready")


async def nobody_picks_up_a_new_pool() -> None:
    """Karpenter is down, and comes back."""
    async with cluster(parts=Parts.API | Parts.KARPENTER) as running, Operator(running) as operator:
        await running.stop("karpenter")
        async with Tenant(Stage("1.14", running, operator)) as tenant:
            tenant.apply()
            await tenant.condition_is("Ready", "Unknown", "WaitingForNodePools")
            told = await tenant.condition_is("Ready", "False", "NotPickedUp", seconds=PICKED_UP_WITHIN + 30)
            (since,) = (each for each in told["status"]["conditions"] if each["type"] == "Ready")
            waited = _time(since["lastTransitionTime"]) - _time(tenant.profile.pool()["metadata"]["creationTimestamp"])
            assert waited.total_seconds() >= PICKED_UP_WITHIN
            await running.start("karpenter")
            await tenant.condition_is("Ready")


ON_EACH: Final[tuple[Scene, ...]] = (
    pods_land_where_they_belong,
    a_bent_template_that_is_healed_outdates_no_node,
    a_changed_server_template_is_announced_and_replaces_no_node,
    a_changed_content_template_waits_for_approval,
    a_node_class_is_not_ready,
    a_node_class_goes_and_comes_back,
    what_only_karpenter_refuses,
)
ALONE: Final = (nobody_picks_up_a_new_pool,)
NAMES: Final = [scene.__name__ for scene in (*ON_EACH, *ALONE)]


@pytest.fixture(scope="module")
async def scenes(stages: Stages) -> AsyncIterator[dict[str, asyncio.Task[Any]]]:
    """All scenes, begun."""
    begun: dict[str, asyncio.Task[Any]] = {
        scene.__name__: asyncio.create_task(on_each(stages, scene)) for scene in ON_EACH
    }
    begun |= {scene.__name__: asyncio.create_task(scene()) for scene in ALONE}
    yield begun
    for task in begun.values():
        task.cancel()
    await asyncio.gather(*begun.values(), return_exceptions=True)


@pytest.mark.parametrize("name", NAMES)
async def test_scene(name: str, scenes: dict[str, asyncio.Task[Any]]) -> None:
    await scenes[name]


async def _planned(tenant: Tenant, target: str) -> Json:
    """Wait until status plans something for an object; return it."""

    def find() -> Json | None:
        return next((dict(each) for each in tenant.profile.status.get("plan", ()) if each["target"] == target), None)

    found = await eventually(find, interval=POLL)
    assert found is not None
    return found


def _own_class(name: str) -> Json:
    return {"nodeClassRef": {**NODE_CLASS, "name": name}}


def _create_class(tenant: Tenant, name: str) -> str:
    tenant.workspace.create(NODE_CLASSES, {"kind": NODE_CLASS["kind"], "metadata": {"name": name}})
    return name


def _judge(tenant: Tenant, name: str, status: str, reason: str) -> None:
    """Say of a NodeClass what its provider would."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": status, "reason": reason, "message": reason, "lastTransitionTime": now}
    tenant.api.merge(NODE_CLASSES, name, {"status": {"conditions": [ready]}}, subresource="status")


def _deployment(name: str, placement: str) -> Json:
    template = pod(name, name, placement)
    del template["kind"], template["metadata"]["name"]
    spec = {"replicas": 1, "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _available(tenant: Tenant, deployment: str) -> bool:
    return bool(tenant.api.get(DEPLOYMENTS, deployment)["status"].get("availableReplicas") == 1)


def _about(event: Json, pool: str) -> bool:
    return bool(event["regarding"].get("kind") == "NodePool" and event["regarding"].get("name") == pool)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

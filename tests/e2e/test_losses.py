"""What is lost in spite of everything is said, and what can still be saved is."""

from typing import Any

from e2e.stage import Stage, Stages, on_each, side_by_side
from e2e.tenant import POLL, Belongings, Tenant, condition, owners
from harness import NODE_CLASS, NODE_CLASSES, NODE_POOLS, PROFILES, Json, Timeline
from sandbox import eventually


async def test_nodes_of_a_pool_that_went_before_the_profile_came(stages: Stages) -> None:
    """An administrator's own NodePool, deleted while in use: a new pool of its name cannot save its nodes."""

    async def play(stage: Stage) -> None:
        async with Tenant(stage) as tenant:
            tenant.workspace.create(NODE_POOLS, _by_hand(tenant))
            tenant.run(keep=True)
            await tenant.running()
            tenant.api.delete(NODE_POOLS, tenant.profile.server)
            await eventually(lambda: tenant.api.find(NODE_POOLS, tenant.profile.server) is None, interval=POLL)
            await _doomed(tenant)
            async with Timeline(stage.cluster, PROFILES) as profiles:
                tenant.apply()
                await tenant.condition_is("Ready")
                await _is_told(tenant, profiles)

    await on_each(stages, play)


async def test_references_were_still_there_while_the_operator_was_down(stages: Stages) -> None:
    """In foreground they doom the nodes, which is told, and does not keep the pool from coming back; else nothing."""

    async def foreground(tenant: Tenant, old: str, profiles: Timeline) -> None:
        await tenant.pool_is_back(old)
        await tenant.condition_is("Ready")
        await _is_told(tenant, profiles)
        assert [each["status"]["phase"] for each in tenant.pods()] == ["Running"]

    async def background(tenant: Tenant, before: Belongings, old: str) -> None:
        await tenant.pool_is_back(old)
        await tenant.readopted(before)
        assert tenant.pool_status()["lostNodeClaims"] == 0
        assert not tenant.events("NodeClaimsLost")

    async def play(stage: Stage) -> None:
        async with Tenant(stage) as doomed, Tenant(stage) as saved, Timeline(stage.cluster, PROFILES) as profiles:
            for tenant in (doomed, saved):
                tenant.apply()
                await tenant.condition_is("Ready")
            olds = [tenant.pool_uid() for tenant in (doomed, saved)]
            async with stage.operator_down():
                for tenant in (doomed, saved):
                    tenant.run(keep=tenant is doomed)
                    await tenant.running()
                    assert [owners(claim) for claim in tenant.claims()] == [[tenant.pool_uid()]]
                before = saved.belongings()
                doomed.api.delete(NODE_POOLS, doomed.profile.server, propagation="Foreground")
                saved.api.delete(NODE_POOLS, saved.profile.server)
                await _doomed(doomed)
            cases = {
                "foreground": foreground(doomed, olds[0], profiles),
                "background": background(saved, before, olds[1]),
            }
            await side_by_side(cases)

    await on_each(stages, play)


async def test_node_claims_that_are_too_young(stages: Stages) -> None:
    """Not registered yet, they keep their reference, and a foreground deletion may be faster than the operator."""

    async def play(stage: Stage) -> None:
        slow = {**NODE_CLASS, "name": f"slow-{stage.karpenter}"}
        async with Tenant(stage, {"serverPool": {"nodeClassRef": slow}}) as tenant:
            body = {"kind": slow["kind"], "metadata": {"name": slow["name"]}, "spec": {"nodeRegistrationDelay": "20s"}}
            tenant.workspace.create(NODE_CLASSES, body)
            tenant.apply()
            await tenant.condition_is("Ready")
            old = tenant.pool_uid()
            tenant.run(pods=3)
            await eventually(lambda: len(tenant.claims()) == 3, interval=POLL)
            young = {claim["metadata"]["uid"] for claim in tenant.claims() if not condition(claim, "Registered")}
            assert len(young) == 3
            async with Timeline(stage.cluster, PROFILES) as profiles:
                tenant.api.delete(NODE_POOLS, tenant.profile.server, propagation="Foreground")
                await tenant.pool_is_back(old)
                await tenant.condition_is("Ready")
                live = {c["metadata"]["uid"] for c in tenant.claims() if "deletionTimestamp" not in c["metadata"]}
                if lost := young - live:
                    told = await profiles.until(lambda event: _lost(tenant, event.object) == len(lost))
                    assert told.name == tenant.name
                    await eventually(lambda: tenant.events("NodeClaimsLost"), interval=POLL)

    await on_each(stages, play)


async def _doomed(tenant: Tenant) -> None:
    """Wait until the only NodeClaim is on its way out; the pod on its node holds it."""
    await eventually(lambda: ["deletionTimestamp" in claim["metadata"] for claim in tenant.claims()] == [True])


async def _is_told(tenant: Tenant, profiles: Timeline) -> None:
    """Wait until status and an event have told of one lost NodeClaim, which may be gone by then."""
    told = await profiles.until(lambda event: _lost(tenant, event.object) == 1)
    (pool,) = [each for each in told.object["status"]["nodePools"] if each["name"] == tenant.profile.server]
    assert "cannot be saved" in pool["message"]
    (note,) = await eventually(lambda: tenant.events("NodeClaimsLost"), interval=POLL)
    assert tenant.profile.server in note


def _lost(tenant: Tenant, profile: Json) -> int:
    pools = profile.get("status", {}).get("nodePools", ())
    return next((int(each.get("lostNodeClaims", 0)) for each in pools if each["name"] == tenant.profile.server), 0)


def _by_hand(tenant: Tenant) -> dict[str, Any]:
    """What an administrator writes after the vendor's page."""
    template = {
        "metadata": {"labels": {"workload": tenant.profile.server}},
        "spec": {
            "nodeClassRef": NODE_CLASS,
            "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}],
            "taints": [{"key": "workload", "value": tenant.profile.server, "effect": "NoSchedule"}],
        },
    }
    disruption = {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "1h"}
    return {
        "kind": "NodePool",
        "metadata": {"name": tenant.profile.server},
        "spec": {"template": template, "disruption": disruption},
    }

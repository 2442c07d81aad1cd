"""When protection ends nothing of it is left behind: a pool deleted on purpose takes its nodes along."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import pytest

from e2e.stage import Stage, Stages, on_each, side_by_side
from e2e.tenant import POLL, Tenant, close, owners
from harness import NODE_CLAIMS, NODE_POOLS, USER, Event, Json, Kind, Timeline
from sandbox import eventually

PROTECTION: Final = "connect-autoscaler.io/protect"

# Names of the cases: what ends the protection, and what stands in its way.
DELETED: Final = "profile deleted"
OFF: Final = "protection off"
SUSPENDED: Final = "while suspended"
DOWN: Final = "while the operator is down"
CASES: Final = tuple((end, way) for end in (DELETED, OFF) for way in ("", SUSPENDED, DOWN))
DELETE_ALL: Final[dict[str, Any]] = {"deletionPolicy": {"nodePools": "Delete", "release": "Restore"}}

Fleet = dict[tuple[str, str], Tenant]


@pytest.fixture(scope="module")
async def fleets(stages: Stages) -> AsyncIterator[dict[str, Fleet]]:
    """Profiles in use on every stage: one for each case, and one that asks for everything to be deleted."""

    async def populate(stage: Stage) -> Fleet:
        fleet = {case: Tenant(stage) for case in CASES}
        fleet[DELETED, "with its pools"] = Tenant(stage, DELETE_ALL)
        for tenant in fleet.values():
            tenant.apply()
            tenant.run()
        fleet[DELETED, "with its pools"].run("content")
        await asyncio.gather(*(tenant.settle() for tenant in fleet.values()))
        return fleet

    populated = await on_each(stages, populate)
    yield populated
    await close(*(tenant for fleet in populated.values() for tenant in fleet.values()))


async def test_references_are_back_before_the_finalizer_goes(stages: Stages, fleets: dict[str, Fleet]) -> None:
    """Then the pool is an ordinary one: deleted on purpose it drains, and leaves no NodeClaim and no node behind."""

    async def finish(tenant: Tenant, end: str, claims: Timeline, pools: Timeline) -> None:
        pool = tenant.pool_uid()
        await _protection_is_over_in_order(tenant, pool, claims, pools)
        if end == DELETED:
            await tenant.profile.gone()
        before = tenant.belongings()
        tenant.assert_kept(before)
        tenant.api.delete(NODE_POOLS, tenant.profile.server)
        await tenant.drained(before)

    async def play(stage: Stage) -> None:
        fleet = {case: tenant for case, tenant in fleets[stage.karpenter].items() if case in CASES}
        for (_, way), tenant in fleet.items():
            assert not any(owners(claim) for claim in tenant.claims())
            if way == SUSPENDED:
                tenant.profile.patch({"suspend": True})
                await tenant.condition_is("Suspended")
        async with Timeline(stage.cluster, NODE_CLAIMS) as claims, Timeline(stage.cluster, NODE_POOLS) as pools:
            for (end, way), tenant in fleet.items():
                if way != DOWN:
                    _end_protection(tenant, end)
            above = {" ".join(case): finish(t, case[0], claims, pools) for case, t in fleet.items() if case[1] != DOWN}
            await side_by_side(above)
            async with stage.operator_down():
                for (end, way), tenant in fleet.items():
                    if way == DOWN:
                        _end_protection(tenant, end)
            below = {" ".join(case): finish(t, case[0], claims, pools) for case, t in fleet.items() if case[1] == DOWN}
            await side_by_side(below)

    await on_each(stages, play)


async def test_deletion_policy_delete(stages: Stages, fleets: dict[str, Fleet]) -> None:
    """Everything goes with the profile, as soon as the operator may; until then status says what is missing."""

    async def play(stage: Stage) -> None:
        tenant = fleets[stage.karpenter][DELETED, "with its pools"]
        before, pool = tenant.belongings(), tenant.pool_uid()
        content = tenant.profile.content
        tenant.profile.delete()
        refused = await tenant.condition_is("Stalled", "True", "Forbidden")
        assert "nodepools" in _message(refused, "Stalled")
        assert tenant.pool_uid() == pool
        tenant.assert_kept(before)
        _may_delete(tenant)
        tenant.profile.annotate(requestedAt="now it may")
        await tenant.profile.gone()
        await tenant.drained(before)
        await eventually(lambda: not tenant.claims(content) and not tenant.nodes(content), timeout=60, interval=POLL)
        assert [tenant.api.find(NODE_POOLS, name) for name in (tenant.profile.server, content)] == [None, None]

    await on_each(stages, play)


def _end_protection(tenant: Tenant, how: str) -> None:
    if how == DELETED:
        tenant.profile.delete()
    else:
        tenant.profile.patch({"serverPool": {"deletionProtection": False}})


async def _protection_is_over_in_order(tenant: Tenant, pool: str, claims: Timeline, pools: Timeline) -> None:
    """Every NodeClaim has its reference before the pool loses its finalizer; resource versions tell the order."""

    def free(event: Event) -> bool:
        return event.object["metadata"]["uid"] == pool and PROTECTION not in _finalizers(event.object)

    freed = await pools.until(free, seconds=60)
    for claim in tenant.claims():
        (reference,) = claim["metadata"]["ownerReferences"]
        expected = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": tenant.profile.server, "uid": pool}
        assert reference == {**expected, "blockOwnerDeletion": True}  # as Karpenter writes it
        given = await claims.until(partial(_given, claim["metadata"]["name"], pool))
        assert _version(given) < _version(freed)


def _may_delete(tenant: Tenant) -> None:
    """Grant the operator the right that is not part of the shipped ones, for as long as the tenant is there."""
    group = "rbac.authorization.k8s.io"
    roles, bindings = (Kind(f"{group}/v1", plural) for plural in ("clusterroles", "clusterrolebindings"))
    metadata = {"name": f"delete-nodepools-of-{tenant.name}"}
    rule = {"apiGroups": ["karpenter.sh"], "resources": ["nodepools"], "verbs": ["delete"]}
    tenant.workspace.create(roles, {"kind": "ClusterRole", "metadata": metadata, "rules": [rule]})
    role = {"apiGroup": group, "kind": "ClusterRole", "name": metadata["name"]}
    subject = {"apiGroup": group, "kind": "User", "name": USER}
    binding = {"kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]}
    tenant.workspace.create(bindings, binding)


def _finalizers(thing: Json) -> list[str]:
    return list(thing["metadata"].get("finalizers", ()))


def _given(name: str, pool: str, event: Event) -> bool:
    return event.name == name and pool in owners(event.object)


def _version(event: Event) -> int:
    return int(event.object["metadata"]["resourceVersion"])


def _message(profile: Json, kind: str) -> str:
    return next(str(each["message"]) for each in profile["status"]["conditions"] if each["type"] == kind)

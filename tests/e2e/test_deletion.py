"""Whoever deletes a protected NodePool, in whatever way: its nodes stay, and it comes back within seconds."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest

from e2e.stage import Stage, Stages, on_each, side_by_side
from e2e.tenant import POLL, Tenant, close
from harness import NODE_POOLS
from harness.api import Propagation
from sandbox import eventually
from sandbox.access import client

PROPAGATIONS: Final[tuple[Propagation, ...]] = ("Background", "Foreground", "Orphan")
WITHIN: Final = 10.0
"""Seconds that a pool may be away: tenths are usual, but the machine may be busy."""

Fleet = dict[tuple[Propagation, int], Tenant]
"""Profiles in use: one for each way to delete its pool, and number of times."""
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
async def fleets(stages: Stages) -> AsyncIterator[dict[str, Fleet]]:
    """The profiles of every stage; each test finds and leaves them healthy."""

    async def populate(stage: Stage) -> Fleet:
        fleet = {case: Tenant(stage) for case in itertools.product(PROPAGATIONS, (1, 2))}
        for tenant in fleet.values():
            tenant.apply()
            tenant.run(pods=2)
        await asyncio.gather(*(tenant.settle() for tenant in fleet.values()))
        return fleet

    populated = await on_each(stages, populate)
    yield populated
    await close(*(tenant for fleet in populated.values() for tenant in fleet.values()))


async def test_its_nodes_stay_and_it_is_back(
    stages: Stages, fleets: dict[str, Fleet], record_testsuite_property: Record
) -> None:
    """Deleted in background, in foreground, leaving orphans; once, and twice in a row."""

    async def case(stage: Stage, how: Propagation, times: int) -> float:
        tenant = fleets[stage.karpenter][how, times]
        before, old, since = tenant.belongings(), tenant.pool_uid(), stage.cluster.audit.marker()
        for _ in range(times):
            tenant.api.delete(NODE_POOLS, tenant.profile.server, propagation=how)
        await tenant.pool_is_back(old)
        await tenant.readopted(before)
        assert tenant.events("NodePoolDeleted")
        return stage.seconds_away(tenant.profile.server, since=since)

    async def play(stage: Stage) -> None:
        cases = {f"{how} x {times}": case(stage, how, times) for how, times in fleets[stage.karpenter]}
        for name, seconds in (await side_by_side(cases)).items():
            record_testsuite_property(f"pool back after seconds, Karpenter {stage.karpenter}, {name}", seconds)
            assert seconds < WITHIN

    await on_each(stages, play)


async def test_all_pools_at_once(stages: Stages, fleets: dict[str, Fleet]) -> None:
    """`kubectl delete nodepool --all` in background, and a deletion of the whole collection in foreground."""

    def kubectl(stage: Stage) -> None:
        done = stage.cluster.kubectl("delete", "nodepool", "--all", "--timeout=60s")
        assert done.returncode == 0, done.stderr

    def collection(stage: Stage) -> None:
        http = client(stage.cluster.kubeconfig)  # of its own: this runs in a thread
        url = {"version": NODE_POOLS.version, "url": NODE_POOLS.plural}
        with contextlib.closing(http.session):
            http.raise_for_status(http.delete(**url, json={"propagationPolicy": "Foreground"}))

    async def play(stage: Stage) -> None:
        fleet = list(fleets[stage.karpenter].values())
        before = [tenant.belongings() for tenant in fleet]
        await _forget_corrections(fleet)
        for attack in (kubectl, collection):
            olds = [tenant.pool_uid() for tenant in fleet]
            await asyncio.to_thread(attack, stage)
            await asyncio.gather(*(t.pool_is_back(old) for t, old in zip(fleet, olds, strict=True)))
        await asyncio.gather(*(t.readopted(kept) for t, kept in zip(fleet, before, strict=True)))

    await on_each(stages, play)


async def test_while_the_operator_is_down(stages: Stages, fleets: dict[str, Fleet]) -> None:
    """It comes back later, and puts everything right."""

    async def play(stage: Stage) -> None:
        fleet = {how: fleets[stage.karpenter][how, 1] for how in PROPAGATIONS}
        before = {how: tenant.belongings() for how, tenant in fleet.items()}
        olds = {how: tenant.pool_uid() for how, tenant in fleet.items()}
        async with stage.operator_down():
            for how, tenant in fleet.items():
                tenant.api.delete(NODE_POOLS, tenant.profile.server, propagation=how)
            for how, tenant in fleet.items():
                await tenant.pool_is_held()
                tenant.assert_kept(before[how])
        await asyncio.gather(*(tenant.pool_is_back(olds[how]) for how, tenant in fleet.items()))
        await asyncio.gather(*(tenant.readopted(before[how]) for how, tenant in fleet.items()))

    await on_each(stages, play)


async def test_while_the_profile_is_suspended(stages: Stages, fleets: dict[str, Fleet]) -> None:
    """It stays terminating, which harms nothing; status says so; it is put right when the suspension ends."""

    async def case(tenant: Tenant, how: Propagation) -> None:
        before, old = tenant.belongings(), tenant.pool_uid()
        tenant.profile.patch({"suspend": True})
        await tenant.condition_is("Suspended")
        tenant.api.delete(NODE_POOLS, tenant.profile.server, propagation=how)
        await tenant.pool_is_held()
        await tenant.condition_is("Ready", "False", "SuspendRequested")
        assert tenant.pool_uid() == old
        tenant.assert_kept(before)
        tenant.profile.patch({"suspend": False})
        await tenant.pool_is_back(old)
        await tenant.readopted(before)

    async def play(stage: Stage) -> None:
        await side_by_side({how: case(fleets[stage.karpenter][how, 2], how) for how in PROPAGATIONS})

    await on_each(stages, play)


async def _forget_corrections(fleet: list[Tenant]) -> None:
    """More than five corrections of one path in a minute slow down by design; a request to reconcile starts afresh."""
    for tenant in fleet:
        tenant.profile.annotate(requestedAt="before the next deletions")

    def handled(status: dict[str, Any]) -> bool:
        return status.get("lastHandledReconcileAt") == "before the next deletions"

    await eventually(lambda: all(handled(tenant.profile.status) for tenant in fleet), interval=POLL)

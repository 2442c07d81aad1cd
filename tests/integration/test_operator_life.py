"""The operator as a process: its probes, its end, and what it finds when it comes back."""

import time
from collections.abc import AsyncIterator
from typing import Final

import pytest

from harness import NODE_POOLS, FakeKarpenterStatus, LocalOperator, Operator, Workspace
from sandbox import eventually

QUICK: Final = 10.0
"""Seconds in which it has to end on a busy machine; Kubernetes would give it 30."""


@pytest.fixture(scope="module")
async def process(fake_karpenter: FakeKarpenterStatus, local_operator: LocalOperator) -> AsyncIterator[Operator]:
    """The operator as a process, on the cluster of the one in a thread, which rests meanwhile."""
    await local_operator.stop()
    try:
        async with Operator(fake_karpenter.cluster) as running:
            yield running
    finally:
        await local_operator.start()


@pytest.fixture
async def own(process: Operator) -> AsyncIterator[Workspace]:
    async with Workspace(process.cluster) as opened:
        yield opened


async def test_its_probes_answer(process: Operator) -> None:
    assert process.healthy("/healthz")
    assert process.healthy("/readyz")
    assert not process.healthy("/nonsense")


async def test_it_ends_at_once_at_rest_and_at_work(process: Operator, own: Workspace) -> None:
    await own.profile().ready()
    for profiles in (0, 10):
        made = [own.profile() for _ in range(profiles)]
        begun = time.monotonic()
        await process.stop()  # which asserts exit code 0
        took = time.monotonic() - begun
        await process.start()
        print(f"ended after {took:.2f} s with {profiles} new profiles")
        assert took < QUICK
        assert "Traceback" not in process.log()
        for profile in made:
            await profile.ready()


async def test_it_finds_what_happened_while_it_was_away(process: Operator, own: Workspace) -> None:
    profile = own.profile(contentPool={"weight": 5})
    await profile.ready()
    await process.kill()
    own.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
    own.api.delete(NODE_POOLS, profile.server)
    profile.patch({"contentPool": {"limits": {"cpu": "64"}}})
    await process.start()
    await profile.ready()

    def healed() -> bool:
        spec = profile.pool(profile.content)["spec"]
        assert (spec["weight"], spec["limits"]) == (5, {"cpu": "64"})
        assert "deletionTimestamp" not in profile.pool()["metadata"]
        return True

    await eventually(healed)

"""Two replicas, as the component for high availability runs them: one works, and there are never two that write."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from itertools import cycle

import pytest

from harness import NODE_POOLS, FakeKarpenterStatus, Profile, Workspace
from harness.installation import SERVICE_ACCOUNT
from harness.rights import granted, used
from integration.replicas import COMPONENT, Record, Replica, holder, replica
from sandbox import Cluster, Parts, cluster, eventually
from sandbox.apply import documents

LEAST, MOST, RELEASED = 10.0, 20.0, 3.0
"""Seconds: how long a dead holder is waited for, until another one writes, and the same after a clean end."""
LATE = 12.0
"""Seconds in which a holder without a network has ended, all in all."""
IDLE = 6.0
HERD = 8
NOISE = 1.5
"""Seconds that a busy machine may take longer for what is to be done at once."""


@pytest.fixture(scope="module")
async def own_cluster() -> AsyncIterator[Cluster]:
    async with cluster(parts=Parts.API) as it, FakeKarpenterStatus(it):
        yield it


@pytest.fixture
async def pair(own_cluster: Cluster) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas: the one that works, and the one that stands by."""
    before = holder(own_cluster)  # one that a test has killed may still stand in the Lease
    async with replica(own_cluster, 1) as first:
        await eventually(lambda: holder(own_cluster) not in {"", before})
        async with replica(own_cluster, 2) as second:
            yield first, second


@pytest.fixture
async def herd(pair: tuple[Replica, Replica]) -> AsyncIterator[list[Profile]]:
    """Profiles that are Ready."""
    async with Workspace(pair[0].operator.cluster) as workspace:
        profiles = [workspace.profile(contentPool={"weight": 5}) for _ in range(HERD)]
        for profile in profiles:
            await profile.ready()
        yield profiles


@contextlib.asynccontextmanager
async def bent(profiles: list[Profile]) -> AsyncIterator[None]:
    """Somebody bends one pool after the other, so that the operator always has something to write."""

    async def bend() -> None:
        weights = cycle(range(6, 100))
        for profile in cycle(profiles):
            patch = {"spec": {"weight": next(weights)}}
            await asyncio.to_thread(profile.api.merge, NODE_POOLS, profile.content, patch)
            await asyncio.sleep(0.05)

    bending = asyncio.create_task(bend())
    try:
        yield
    finally:
        bending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await bending


async def taken_over(record: Record, by: Replica, since: float) -> float:
    """Wait until a replica writes; return the seconds."""
    await eventually(lambda: record.writes(by), timeout=60, interval=0.1)
    return time.monotonic() - since


async def in_order(profiles: list[Profile]) -> None:
    """Whoever works now has put everything right, or says what he is fighting about."""

    def straight() -> bool:
        for profile in profiles:
            assert profile.pool(profile.content)["spec"]["weight"] == 5
        return True

    for profile in profiles:
        profile.annotate(requestedAt=str(time.time()))
    await eventually(straight)


@contextlib.asynccontextmanager
async def turned_over(
    own_cluster: Cluster, pair: tuple[Replica, Replica], herd: list[Profile]
) -> AsyncIterator[Record]:
    """The first replica has something to write all the time; afterwards the second one has had the only other turn."""
    first, second = pair
    record = Record.begin(own_cluster)
    async with bent(herd):
        await eventually(lambda: record.writes(first))
        yield record
    assert record.turns() == [first.link.source, second.link.source]
    await in_order(herd)


async def test_one_works_and_one_stands_by(
    own_cluster: Cluster, pair: tuple[Replica, Replica], herd: list[Profile]
) -> None:
    first, second = pair
    record = Record.begin(own_cluster)
    began = time.monotonic()
    for each in pair:
        assert each.operator.healthy("/healthz")
        assert each.operator.healthy("/readyz")
    herd[0].api.merge(NODE_POOLS, herd[0].content, {"spec": {"weight": 6}})
    await eventually(lambda: herd[0].pool(herd[0].content)["spec"]["weight"] == 5)
    await asyncio.sleep(IDLE)
    assert record.turns() == [first.link.source]
    # It looks at the Lease, and at nothing else; it has no watch, so no Kopf.
    asked = record.requests(second)
    assert {(each.verb, each.resource, each.name) for each in asked} == {("get", "leases", "connect-autoscaler")}
    assert len(asked) <= 1.5 * (time.monotonic() - began)
    assert "standing by: Lease connect-autoscaler/connect-autoscaler is held by" in second.operator.log()
    # Idle, renewals are all that is written.
    idle = own_cluster.audit.marker()
    await asyncio.sleep(IDLE)
    writes = own_cluster.audit.writes(user=first.operator.user, since=idle)
    assert {(each.resource, each.source) for each in writes} == {("leases", first.link.source)}
    assert len(writes) <= 1 + IDLE / 2


async def test_the_rights_of_the_component_are_needed_and_enough(
    own_cluster: Cluster, pair: tuple[Replica, Replica]
) -> None:
    rights = set(granted(documents((COMPONENT / "lease.yaml").read_text()), SERVICE_ACCOUNT))
    asked = [each for each in own_cluster.audit.requests(user=pair[0].operator.user) if each.resource == "leases"]
    assert [each for each in asked if each.code == 403] == []
    needed = set(used(asked))
    assert [right for right in needed if not any(each.covers(right) for each in rights)] == []
    assert [right for right in rights if not any(right.covers(each) for each in needed)] == []


async def test_a_clean_end_hands_over_at_once(
    own_cluster: Cluster, pair: tuple[Replica, Replica], herd: list[Profile]
) -> None:
    first, second = pair
    async with turned_over(own_cluster, pair, herd) as record:
        began = time.monotonic()
        await first.operator.stop()  # which asserts exit code 0
        ended = time.monotonic()
        await taken_over(record, second, began)
        print(f"SIGTERM: ended after {ended - began:.2f} s, taken over after {time.monotonic() - began:.2f} s")
        assert time.monotonic() - ended < RELEASED + NOISE
        await first.operator.start()  # stands by now
        assert first.operator.healthy("/readyz")
        await asyncio.sleep(IDLE)
    assert "Traceback" not in first.operator.log()


async def test_a_killed_one_is_waited_for(
    own_cluster: Cluster, pair: tuple[Replica, Replica], herd: list[Profile]
) -> None:
    first, second = pair
    async with turned_over(own_cluster, pair, herd) as record:
        began = time.monotonic()
        await first.operator.kill()
        seconds = await taken_over(record, second, began)
        print(f"SIGKILL: taken over after {seconds:.2f} s")
        assert LEAST < seconds < MOST
        await first.operator.start()
        await asyncio.sleep(IDLE)


async def test_one_without_a_network_ends_before_the_other_one_writes(
    own_cluster: Cluster, pair: tuple[Replica, Replica], herd: list[Profile]
) -> None:
    first, second = pair
    async with turned_over(own_cluster, pair, herd) as record:
        began = time.monotonic()
        first.link.cut()
        code = await first.operator.end()
        ended = time.monotonic() - began
        assert code == 1
        assert ended < LATE + NOISE
        assert not record.writes(second)
        seconds = await taken_over(record, second, began)
        print(f"partition: ended after {ended:.2f} s, taken over after {seconds:.2f} s")
        assert seconds < MOST
        first.link.mend()
        await first.operator.start()
        await asyncio.sleep(IDLE)
    log = first.operator.log()
    assert log.count("nothing more is written, and the process ends") == 1
    assert "Lease connect-autoscaler/connect-autoscaler was not renewed for 10 s: ApiUnavailable" in log
    assert "Traceback" not in log


async def test_one_that_was_frozen_writes_nothing_when_it_wakes(
    own_cluster: Cluster, pair: tuple[Replica, Replica], herd: list[Profile]
) -> None:
    first, second = pair
    async with turned_over(own_cluster, pair, herd) as record:
        began = time.monotonic()
        os.kill(first.operator.pid, signal.SIGSTOP)
        try:
            await taken_over(record, second, began)
            await asyncio.sleep(began + MOST - time.monotonic())
            mark = Record.begin(own_cluster)
        finally:
            os.kill(first.operator.pid, signal.SIGCONT)
        woken = time.monotonic()
        code = await first.operator.end()
        print(f"frozen: ended {time.monotonic() - woken:.3f} s after it woke")
        assert code == 1
        assert time.monotonic() - woken < NOISE
        assert mark.writes(first) == []
    assert first.operator.log().count("the process was held up, and ends") == 1

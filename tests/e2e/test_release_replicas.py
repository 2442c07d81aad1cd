"""The replica that upgrades a release loses its Lease: helm ends before another replica writes, which then goes on."""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest

from e2e.helm_door import HelmDoor, no_scheduling
from e2e.release_stage import AT_ONCE, PATIENCE, Case, case
from harness import Api
from harness.releases import release_options
from integration.replicas import LEASE, LEASES, Record, Replica, holder, replica
from sandbox import Cluster, eventually

_LATE: Final = 15.0
"""Seconds in which one that has lost its Lease has ended on a busy machine; nobody else may begin before."""


@pytest.fixture(scope="module")
async def pair(release_cluster: Cluster, door: HelmDoor) -> AsyncIterator[tuple[Replica, Replica]]:
    options = release_options(release_cluster, door.path)
    async with replica(release_cluster, 1, *options) as first, replica(release_cluster, 2, *options) as second:
        yield first, second


@pytest.fixture(scope="module")
async def taken(pair: tuple[Replica, Replica]) -> AsyncIterator[Case]:
    """A release that carries the overlay."""
    async with case(pair[0].operator, **AT_ONCE) as it:
        await it.settled()
        yield it


def partition(replica: Replica) -> None:
    """Cut the network of the operator and of its helm."""
    replica.link.cut()


def oust(replica: Replica) -> None:
    """Have somebody else in the Lease; helm could still write."""
    Api(replica.operator.cluster.api).merge(LEASES, LEASE, {"spec": {"holderIdentity": "somebody"}})


def kill(replica: Replica) -> None:
    """Let the operator's process crash; by itself helm would roll back then."""
    os.kill(replica.operator.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("lose", "code", "hours"),
    [
        (partition, 1, "6h"),
        pytest.param(oust, 1, "5h", marks=pytest.mark.long),
        pytest.param(kill, -9, "7h", marks=pytest.mark.long),
    ],
)
async def test_helm_ends_with_the_lease(
    pair: tuple[Replica, Replica], door: HelmDoor, taken: Case, lose: Callable[[Replica], None], code: int, hours: str
) -> None:
    cluster = taken.release.cluster
    leader, other = pair if holder(cluster) == pair[0].identity else pair[::-1]
    before, since = taken.number, Record.begin(cluster)
    with no_scheduling(cluster):
        taken.protect_content(hours)
        await eventually(lambda: taken.statuses(since=before) == ["pending-upgrade"], timeout=PATIENCE)
        began = time.monotonic()
        lose(leader)
        assert await leader.operator.end() == code
        ended = time.monotonic() - began
        assert ended < _LATE
        await eventually(lambda: not [call for call in door.calls(taken.release) if call.running], timeout=1)
        # No rollback was begun: the revision stands as it was.
        assert taken.statuses(since=before) == ["pending-upgrade"]
        assert since.writes(other) == []
    leader.link.mend()
    await eventually(lambda: since.writes(other), timeout=PATIENCE)
    await leader.operator.start()
    await taken.settled()
    assert taken.carries(hours)
    print(f"{lose.__name__}: ended after {ended:.2f} s; revisions {taken.statuses(since=before)}")
    assert since.turns() == [leader.link.source, other.link.source]
    # Helm goes the same way as its operator: after the other one's first write nothing has come from there.
    writes = [e for e in cluster.audit.writes(since=since.since) if e.source in {leader.link.source, other.link.source}]
    sources = [e.source for e in writes if e.resource != "leases"]
    assert leader.link.source not in sources[sources.index(other.link.source) :]
    assert "Traceback" not in leader.operator.log()

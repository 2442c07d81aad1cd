"""The Lease itself on a real API server: several candidates in this process, and quicker terms."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connect_autoscaler.core.connector import UNACKNOWLEDGED
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.lease import Lease, LeaseLostError, Terms
from harness import Api, Json, Kind, Operator, install, unique
from integration.link import Link
from integration.replicas import ELECT
from sandbox import Cluster, SandboxError, eventually

LEASES = Kind("coordination.k8s.io/v1", "leases", "default")
TERMS = Terms(duration=3, deadline=1.5, renew=0.3, look=0.1)
MICRO_TIMES = ("1970-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z")


class Candidates:
    """Candidates for one Lease."""

    def __init__(self, cluster: Cluster, stack: contextlib.AsyncExitStack) -> None:
        self.cluster, self.name, self.api = cluster, unique("lease"), Api(cluster.api)
        self._stack = stack

    async def another(self, server: str = "") -> Lease:
        """Return one more; it goes through a server's address of its own if one is given."""
        kubeconfig = self.cluster.kubeconfig
        if server:
            account = self.cluster.user_kubeconfig("candidate", ["system:masters"])
            kubeconfig = account.with_name(f"{account.name}-{self.name}")
            kubeconfig.write_text(account.read_text().replace(self.cluster.server, server))
        kube = await self._stack.enter_async_context(await Kube.connect(str(kubeconfig), patience=TERMS.deadline / 2))
        return Lease(kube, "default", self.name, TERMS)

    async def holding(self, lease: Lease) -> asyncio.Task[None]:
        """Have one acquire it and keep it; return the keeping."""
        await lease.acquire()
        task = asyncio.create_task(lease.keep(lambda: True))
        self._stack.callback(task.cancel)
        return task

    @property
    def spec(self) -> Json:
        return dict(self.api.get(LEASES, self.name)["spec"])

    def edit(self, **spec: str | None) -> None:
        self.api.merge(LEASES, self.name, {"spec": spec})


@pytest.fixture
async def candidates(api_cluster: Cluster) -> AsyncIterator[Candidates]:
    async with contextlib.AsyncExitStack() as stack:
        yield Candidates(api_cluster, stack)


async def test_one_holds_it_and_the_next_one_need_not_wait(candidates: Candidates) -> None:
    leases = [await candidates.another() for _ in range(3)]
    tasks = {lease.identity: asyncio.create_task(lease.acquire()) for lease in leases}
    for turn in range(3):
        done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        (held,) = (lease for lease in leases if lease.held)
        tasks.pop(held.identity)
        spec = candidates.spec
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == (held.identity, turn)
        assert not held.standing_by
        await eventually(lambda: all(lease.standing_by for lease in leases if lease.identity in tasks))
        began = time.monotonic()
        await held.release()
        assert not held.held
        if tasks:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            assert time.monotonic() - began < TERMS.duration / 2
    assert candidates.spec["holderIdentity"] == ""


@pytest.mark.parametrize("renewed", MICRO_TIMES)
async def test_it_is_left_alone_as_long_as_it_lasts_whatever_clocks_say(candidates: Candidates, renewed: str) -> None:
    first, second = await candidates.another(), await candidates.another()
    keeping = await candidates.holding(first)
    await asyncio.sleep(TERMS.renew)
    keeping.cancel()  # a crash: nothing is given back
    candidates.edit(renewTime=renewed)
    began = time.monotonic()
    await second.acquire()
    assert TERMS.duration - 0.2 < time.monotonic() - began < TERMS.duration + 1
    assert not first.held
    with pytest.raises(KubeError, match="nothing is written without Lease default/"):
        first.guard()
    second.guard()


async def test_a_holder_that_was_away_does_not_come_back(candidates: Candidates) -> None:
    first, second = await candidates.another(), await candidates.another()
    (await candidates.holding(first)).cancel()
    await second.acquire()
    await first.release()
    assert candidates.spec["holderIdentity"] == second.identity
    await second.release()


async def test_a_deleted_lease_stays_with_its_holder(candidates: Candidates) -> None:
    first, second = await candidates.another(), await candidates.another()
    keeping = await candidates.holding(first)
    waiting = asyncio.create_task(second.acquire())
    await eventually(lambda: second.standing_by)
    candidates.api.delete(LEASES, candidates.name)
    await eventually(lambda: candidates.spec["holderIdentity"] == first.identity)
    await asyncio.sleep(TERMS.duration)
    assert not waiting.done()
    assert not keeping.done()
    assert first.held
    waiting.cancel()


async def test_whoever_finds_another_holder_ends(candidates: Candidates) -> None:
    lease = await candidates.another()
    keeping = await candidates.holding(lease)
    candidates.edit(holderIdentity="somebody")
    with pytest.raises(LeaseLostError, match=f"Lease default/{candidates.name} is held by somebody"):
        await keeping
    assert not lease.held
    assert lease.holder == "somebody"


async def test_whoever_writes_beside_it_does_not_prolong_it(candidates: Candidates) -> None:
    first, second = await candidates.another(), await candidates.another()
    (await candidates.holding(first)).cancel()
    waiting = asyncio.create_task(second.acquire())
    began = time.monotonic()
    while not waiting.done():
        assert time.monotonic() - began < TERMS.duration + 2
        note = {"metadata": {"annotations": {"note": unique()}}}
        await asyncio.to_thread(candidates.api.merge, LEASES, candidates.name, note)
        await asyncio.sleep(0.3)


async def test_a_holder_whose_work_hangs_leaves_it_to_others(candidates: Candidates) -> None:
    first, second = await candidates.another(), await candidates.another()
    await first.acquire()
    with pytest.raises(LeaseLostError, match=r"was not renewed for 1\.5 s: passes have ceased to finish"):
        await first.keep(lambda: False)
    await second.acquire()


async def test_a_holder_without_a_network_stops_before_another_one_begins(candidates: Candidates) -> None:
    async with Link(candidates.cluster.server, "127.0.0.9") as link:
        first = await candidates.another(f"https://127.0.0.1:{link.port}")
        second = await candidates.another()
        keeping = await candidates.holding(first)
        waiting = asyncio.create_task(second.acquire())
        await eventually(lambda: second.standing_by)
        link.cut()
        with pytest.raises(LeaseLostError, match=r"was not renewed for 1\.5 s: ApiUnavailable: "):
            await keeping
        assert not first.held
        assert not waiting.done()
        link.mend()
        await waiting
        assert candidates.spec["holderIdentity"] == second.identity


async def test_without_rights_nobody_pretends_to_stand_by(
    api_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = api_cluster.user_kubeconfig("nobody")
    async with await Kube.connect(str(nobody)) as kube:
        lease = Lease(kube, "default", terms=TERMS)
        with caplog.at_level(logging.INFO), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5 * TERMS.look):
                await lease.acquire()
    assert not lease.held
    assert not lease.standing_by
    (said,) = [each.message for each in caplog.records if each.name.endswith(".lease")]
    assert "Lease default/connect-autoscaler cannot be taken: Forbidden: " in said
    assert 'cannot get resource "leases"' in said


async def test_without_it_everything_is_read_and_nothing_written(candidates: Candidates) -> None:
    lease = await candidates.another()
    path = "/api/v1/namespaces/default/configmaps"
    name = unique()
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    async with await Kube.connect(str(candidates.cluster.kubeconfig)) as kube:
        kube.guard = lease.guard
        before = candidates.cluster.audit.marker()
        for write in (kube.apply(f"{path}/{name}", body), kube.create(path, body), kube.delete(f"{path}/{name}", "x")):
            with pytest.raises(KubeError, match="nothing is written without"):
                await write
        assert (await kube.get(path))["kind"] == "ConfigMapList"
        assert candidates.cluster.audit.count_writes(since=before) == 0
        await lease.acquire()
        await kube.apply(f"{path}/{name}", body)
        await kube.delete(f"{path}/{name}", (await kube.get(f"{path}/{name}"))["metadata"]["uid"])
    await lease.release()


def unacknowledged(port: int | None) -> set[float]:
    """Return the limits, in seconds, of this process's connections to a port."""
    limits = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile, or not connected
            if not str(each.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(each.name))) as found:
                if found.family == socket.AF_INET and found.getpeername()[1] == port:
                    limits.add(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000)
    return limits


async def test_connections_give_up_what_the_network_does_not_take(api_cluster: Cluster) -> None:
    """The kernel would go on sending it, and deliver it when the process is gone and another one holds the Lease."""
    port = urlsplit(api_cluster.server).port
    async with await Kube.connect(str(api_cluster.kubeconfig)) as kube:
        await kube.get("/version")
        assert UNACKNOWLEDGED in unacknowledged(port)
    assert Terms().deadline + UNACKNOWLEDGED < Terms().duration


async def test_outside_of_a_pod_it_needs_a_namespace(api_cluster: Cluster) -> None:
    install(api_cluster)
    with pytest.raises(SandboxError, match="give --namespace or CONNECT_AUTOSCALER_NAMESPACE") as raised:
        async with Operator(api_cluster, ELECT[0]):
            pass
    assert "ended with code 2" in str(raised.value)
    assert "Traceback" not in str(raised.value)

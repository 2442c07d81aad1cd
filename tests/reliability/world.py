"""What all plans of a process share: an API server, Karpenter's part in its status, and the thread of the proxies."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness import FakeKarpenterStatus, Workspace, install
from harness.background import Background, Signals
from harness.releases import chart
from integration.obstacles import allow_deletion
from reliability.haste import in_haste
from reliability.incarnation import logs_apart, threads_as_processes
from reliability.proxy import Proxy
from reliability.releases import Rollouts
from sandbox import Cluster, Parts, cluster

T = TypeVar("T")


class ProxyThread:
    """An event loop of its own for proxies: tests block theirs with synchronous clients."""

    def __init__(self) -> None:
        self._background = Background("proxies", self._main)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _main(self, signals: Signals) -> None:
        self._loop = asyncio.get_running_loop()
        signals.ready.set()
        await signals.stop.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Have the thread do something."""
        assert self._loop is not None, "the context is not entered"
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ProxyThread"]:
        """Run while the context lasts."""
        await self._background.start()
        try:
            yield self
        finally:
            await self._background.stop()

    @contextlib.asynccontextmanager
    async def open(self, proxy: Proxy) -> AsyncIterator[Proxy]:
        """Have a proxy listen while the context lasts."""
        await self.run(proxy.open())
        try:
            yield proxy
        finally:
            await self.run(proxy.close())


@dataclass(frozen=True)
class World:
    """What plans share.

    Attributes:
        cluster: The API server.
        kubeconfig: Of the operator's ServiceAccount.
        proxies: Their thread.
        rollouts: What rolls Deployments out; None: the cluster does.
    """

    cluster: Cluster
    kubeconfig: Path
    proxies: ProxyThread
    rollouts: Rollouts | None = None

    @property
    def release_options(self) -> dict[str, Any]:
        """Return an operator's options for releases of the tests' chart."""
        binary, folder = str(self.cluster.binary("helm")), str(chart().parent)
        return {"helm": binary, "chart_dir": folder, "require_service_account": True}


@contextlib.asynccontextmanager
async def world(running: Cluster | None = None) -> AsyncIterator[World]:
    """Have all that, with operators of this process in haste.

    Args:
        running: A cluster whose NodePools somebody else stamps; without it there is one of its own.
    """
    async with contextlib.AsyncExitStack() as stack:
        rollouts = None
        if running is None:
            running = await stack.enter_async_context(cluster(parts=Parts.API))
            await stack.enter_async_context(FakeKarpenterStatus(running))
            rollouts = await stack.enter_async_context(Rollouts(running))
        gc.freeze()  # every end of an operator collects garbage, and would look at all of this again
        proxies = await stack.enter_async_context(ProxyThread().running())
        stack.enter_context(in_haste())
        stack.enter_context(logs_apart())
        stack.enter_context(threads_as_processes())
        kubeconfig = install(running)
        await allow_deletion(await stack.enter_async_context(Workspace(running)))
        yield World(running, kubeconfig, proxies, rollouts)

"""Watches a cluster's API in a thread of its own, so that nobody who blocks his loop makes its times late."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import yaml
from kubernetes.aio.config import ConfigException

from connect_autoscaler.api.names import GROUP, KARPENTER_API_VERSION, PLURAL, VERSION
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from recorder.record import NODES, PODS, POOLS, PROFILES, Record, Watched

_UNUSABLE: Final = (ConfigException, yaml.YAMLError, OSError, LookupError, TypeError, ValueError)
"""Anything may be missing from a kubeconfig, or of another form."""
_PAUSE: Final = 0.5
"""Seconds until what could not be watched is tried again: it may be a kind that does not exist yet."""


class Recorder:
    """Records while its context lasts.

        async with Recorder(kubeconfig, Watched("production", "posit", "connect")) as recorder:
            ...
        print(recorder.record.corrections())

    It only reads: `list` and `watch` of nodes, NodePools, profiles, and of pods in one namespace. What it may not read
    or what does not exist is missing from the record, and `record.unseen` says why.

    Args:
        kubeconfig: A file; None: the usual places.
        watched: What the record is of.
        context: Of the kubeconfig.

    Raises:
        kubernetes.aio.config.ConfigException: When entered: there is no usable kubeconfig.
    """

    def __init__(self, kubeconfig: Path | None, watched: Watched, context: str | None = None) -> None:
        self.record: Final = Record(watched)
        self._kubeconfig, self._context = kubeconfig, context
        self._began = time.perf_counter()
        self._thread: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._stop: Callable[[], object] = lambda: None

    async def __aenter__(self) -> Self:
        caller = asyncio.get_running_loop()
        ready = asyncio.create_task(self._ready.wait())
        self._thread = asyncio.create_task(asyncio.to_thread(asyncio.run, self._run(caller)))
        await asyncio.wait({ready, self._thread}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._thread.done():
            await self._thread
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._thread:
            await self._thread

    @property
    def now(self) -> float:
        """Seconds since the record began."""
        return time.perf_counter() - self._began

    async def _run(self, caller: asyncio.AbstractEventLoop) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: None if loop.is_closed() else _call(loop, stop)
        try:
            kube = await Kube.connect(str(self._kubeconfig) if self._kubeconfig else None, self._context)
        except _UNUSABLE as error:
            raise ConfigException(f"the kubeconfig cannot be used ({error or type(error).__name__})") from error
        async with kube:
            tried = [asyncio.Event() for _ in self._paths()]
            tasks = [
                asyncio.create_task(self._follow(kube, kind, path, query, first))
                for (kind, (path, query)), first in zip(self._paths().items(), tried, strict=True)
            ]
            try:
                for first in tried:
                    await first.wait()
                caller.call_soon_threadsafe(self._ready.set)
                await stop.wait()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.record.length = self.now

    def _paths(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        watched = self.record.watched
        return {
            NODES: ("/api/v1/nodes", {}),
            PODS: (f"/api/v1/namespaces/{watched.namespace}/pods", {}),
            POOLS: (f"/apis/{KARPENTER_API_VERSION}/nodepools", {}),
            PROFILES: (f"/apis/{GROUP}/{VERSION}/{PLURAL}", {"fieldSelector": f"metadata.name={watched.profile}"}),
        }

    async def _follow(self, kube: Kube, kind: str, path: str, query: Mapping[str, str], tried: asyncio.Event) -> None:
        """List, then watch; after any error again."""
        while True:
            try:
                found = await kube.get(path, **query)
                self.record.unseen.pop(kind, None)
                self.record.listed(kind, found["items"], self.now)
                tried.set()
                version = found["metadata"]["resourceVersion"]
                async for event in kube.stream(path, resourceVersion=version, **query):
                    self.record.see(kind, event["type"], event["object"], self.now)
            except KubeError as error:
                self.record.unseen[kind] = error.message
                tried.set()
            await asyncio.sleep(_PAUSE)


def _call(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stop.set)

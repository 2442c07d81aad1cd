"""One run of one contender on a control plane of its own, phase by phase."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from benchmarks.api import Api
from benchmarks.contenders import USER, Contender, Empty
from benchmarks.observer import Observer, exists, right_since
from benchmarks.process import ContenderError, Process
from benchmarks.world import NODE_POOLS, RIGHT_WEIGHT, WRONG_WEIGHTS, World, node_pools
from sandbox import Cluster, Parts, cluster

AGENT: Final = "kubectl-edit"
_CONNECTIONS: Final = 32
"""Of the bench: how many of the edits at once are really under way together."""
_QUIET: Final = 2.5
"""Seconds without a write after which a contender counts as settled; ours holds a status for up to 2 s."""
_GAP: Final = 0.02
"""Seconds between a heal and the next single edit."""
_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_FRESH: Final = timedelta(seconds=3)
"""For 2 s the API server holds back every create of a kind whose CRD is new (apiextensions' customresource_handler.go);
one more second, since the time of a condition is told in whole ones."""


@dataclass(frozen=True)
class Cost:
    """What a phase, settling included, took beside its time."""

    cpu: float
    """CPU seconds of the process."""
    writes: int
    """Writes that the API server carried out for it, events not among them."""
    events: int
    """Kubernetes events it created."""


@dataclass
class Run:
    """The figures of one run."""

    cold: float = 0.0
    """Seconds from the first parent's creation, the contender being ready, until the last NodePool was seen."""
    start: float = 0.0
    """Seconds from the process's start, all parents being there, until the last NodePool was seen."""
    heals: list[float] = field(default_factory=list)
    """Seconds from each single edit, acknowledged or seen, whichever is first, until the right value was seen."""
    mass: float = 0.0
    """Seconds from the first of all edits at once until the last pool was seen right again."""
    rss_cold: float = 0.0
    """MiB after the cold phase."""
    rss_end: float = 0.0
    """MiB after all edits."""
    rss_empty: float = 0.0
    """MiB of the empty Kopf operator with the same parents; only beside ours."""
    costs: dict[str, Cost] = field(default_factory=dict)


@dataclass
class _Meter:
    """Attributes CPU time and writes of a process to phases."""

    cluster: Cluster
    process: Process
    costs: dict[str, Cost]

    @contextlib.asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[None]:
        cpu, mark = self.process.cpu, await asyncio.to_thread(self.cluster.audit.marker)
        yield
        await self._settled(mark)
        writes = await asyncio.to_thread(self.cluster.audit.writes, user=USER, since=mark)
        events = sum(entry.resource == "events" for entry in writes)
        self.costs[name] = Cost(self.process.cpu - cpu, len(writes) - events, events)

    async def _settled(self, mark: int) -> None:
        count, since = -1, time.monotonic()
        while time.monotonic() - since < _QUIET:
            self.process.check()
            now = await asyncio.to_thread(self.cluster.audit.count_writes, user=USER, since=mark)
            if now != count:
                count, since = now, time.monotonic()
            await asyncio.sleep(0.25)


async def measure(kind: type[Contender], world: World, edits: int) -> Run:
    """Measure one contender once.

    Raises:
        ContenderError: It ended by itself, or its NodePools are not the agreed ones.
        benchmarks.observer.TooLateError: It did not do its job within a minute.
    """
    run = Run()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(cluster(parts=Parts.API))
        api = await stack.enter_async_context(Api.connect(server.kubeconfig, agent=AGENT, connections=_CONNECTIONS + 1))
        contender = kind(server, api, world)
        await asyncio.to_thread(server.apply, *contender.manifests())
        observer = await stack.enter_async_context(Observer.watching(api))
        async with Process.running(contender.argv, contender.env, contender.log) as process:
            await contender.ready(process)
            await _no_fresh_kinds(api)
            await api.warm_up(_CONNECTIONS)
            meter = _Meter(server, process, run.costs)
            async with meter.phase("cold"):
                run.cold = await _cold(contender, process, observer)
            await _check(api, world)
            async with meter.phase("stamp"):
                await _stamp(api, world)
            run.rss_cold = process.rss
            async with meter.phase("heal"):
                run.heals = [await _edit(api, observer, *edit) for edit in _edits(world, edits)]
            async with meter.phase("mass"):
                run.mass = await _mass(api, observer, world)
            run.rss_end = process.rss
        await contender.forget()
        await api.delete_all(NODE_POOLS)
        await api.warm_up(_CONNECTIONS)
        run.start = await _start(contender, observer)
        if kind.name == "ours":
            run.rss_empty = await _empty(Empty(server, api, world))
    return run


async def _no_fresh_kinds(api: Api) -> None:
    """Wait until the API server takes creates of every kind at once."""
    crds = (await api.get(_CRDS))["items"]
    conditions = [condition for crd in crds for condition in crd["status"]["conditions"]]
    newest = max(datetime.fromisoformat(each["lastTransitionTime"]) for each in conditions)
    await asyncio.sleep((newest + _FRESH - datetime.now(UTC)).total_seconds())


async def _cold(contender: Contender, process: Process, observer: Observer) -> float:
    started = time.perf_counter()
    await contender.ask_beforehand()
    await contender.ask_afterwards(process)
    return await observer.until(contender.world.pools, exists) - started


async def _start(contender: Contender, observer: Observer) -> float:
    await contender.ask_beforehand()
    started = time.perf_counter()
    async with Process.running(contender.argv, contender.env, contender.log) as process:
        await contender.ask_afterwards(process)
        return await observer.until(contender.world.pools, exists) - started


async def _check(api: Api, world: World) -> None:
    """Make sure that all contenders keep the same NodePools."""
    live = {item["metadata"]["name"]: item["spec"] for item in (await api.get(NODE_POOLS))["items"]}
    for pool in node_pools(world):
        name = pool["metadata"]["name"]
        if live[name] != pool["spec"]:
            raise ContenderError(f"NodePool {name} is not as agreed: {live[name]} instead of {pool['spec']}")


async def _stamp(api: Api, world: World) -> None:
    """Say that every NodePool is Ready, as Karpenter would: none runs here."""
    kinds = ("ValidationSucceeded", "NodeClassReady", "Ready")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    common = {"status": "True", "message": "", "lastTransitionTime": now, "observedGeneration": 1}
    conditions = [{**common, "type": kind, "reason": kind} for kind in kinds]
    body = {"status": {"conditions": conditions}}
    await asyncio.gather(*(api.patch(f"{NODE_POOLS}/{name}/status", body) for name in world.pools))


def _edits(world: World, count: int) -> Iterator[tuple[str, int]]:
    return zip(itertools.islice(itertools.cycle(world.pools), count), itertools.cycle(WRONG_WEIGHTS), strict=False)


async def _edit(api: Api, observer: Observer, name: str, weight: int) -> float:
    edited = await _bend(api, name, weight)
    acknowledged = time.perf_counter()
    right = await observer.until([name], right_since(edited))
    await asyncio.sleep(_GAP)
    # On a busy machine the answer can be late: then the edit, and even its heal, is seen before it is acknowledged.
    return right - min(acknowledged, observer.bent_at(name, edited))


async def _mass(api: Api, observer: Observer, world: World) -> float:
    async def edit(name: str, weight: int) -> float:
        return await observer.until([name], right_since(await _bend(api, name, weight)))

    started = time.perf_counter()
    return max(await asyncio.gather(*(edit(*each) for each in _edits(world, len(world.pools))))) - started


async def _bend(api: Api, name: str, weight: int) -> int:
    """Change a NodePool as somebody with kubectl would; give its new resourceVersion."""
    assert weight != RIGHT_WEIGHT
    edited = await api.patch(f"{NODE_POOLS}/{name}", {"spec": {"weight": weight}})
    return int(edited["metadata"]["resourceVersion"])


async def _empty(contender: Empty) -> float:
    async with Process.running(contender.argv, contender.env, contender.log) as process:
        await contender.ready(process)
        await asyncio.sleep(1)  # there is no condition to wait for: it does nothing
        return process.rss

"""What somebody outside sees of the NodePools, and when."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

from benchmarks.api import Api
from benchmarks.world import NODE_POOLS, RIGHT_WEIGHT


class TooLateError(Exception):
    """Something did not come true within the limit."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A NodePool as it was seen last."""

    version: int
    weight: int
    time: float
    """`time.perf_counter()` at which the event was read."""


def right_since(version: int) -> Callable[[Sighting], bool]:
    """Return the condition that a pool is right again after the write that gave it this resourceVersion."""
    return lambda seen: seen.version > version and seen.weight == RIGHT_WEIGHT


def exists(_: Sighting) -> bool:
    """Return whether a pool that was seen exists: the condition of any sighting."""
    return True


class Observer:
    """One watch on NodePools, with a connection of its own."""

    def __init__(self) -> None:
        self._seen: dict[str, Sighting] = {}
        self._bent: dict[str, Sighting] = {}
        self._waiting: dict[str, tuple[Callable[[Sighting], bool], asyncio.Future[float]]] = {}

    @classmethod
    @asynccontextmanager
    async def watching(cls, api: Api) -> AsyncIterator["Observer"]:
        """Watch while the context lasts."""
        it = cls()
        found = await api.get(NODE_POOLS)
        task = asyncio.create_task(it._run(api, found["metadata"]["resourceVersion"]))
        try:
            yield it
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, names: Iterable[str], good: Callable[[Sighting], bool], limit: float = 60) -> float:
        """Wait until every pool was seen as wished; give the time at which the last one was.

        Raises:
            TooLateError: If one was not within `limit` seconds.
        """
        wanted = {name: self._expect(name, good) for name in names}
        done, late = await asyncio.wait(wanted.values(), timeout=limit)
        if late:
            missing = [name for name, future in wanted.items() if future in late]
            raise TooLateError(f"{len(missing)} of {len(wanted)} NodePools not as expected, such as {missing[0]}")
        return max(future.result() for future in done)

    def bent_at(self, name: str, version: int) -> float:
        """Return the time at which the write with this resourceVersion was seen; infinity if it was not (yet)."""
        seen = self._bent.get(name)
        return seen.time if seen is not None and seen.version == version else inf

    def _expect(self, name: str, good: Callable[[Sighting], bool]) -> asyncio.Future[float]:
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        seen = self._seen.get(name)
        if seen is not None and good(seen):
            future.set_result(seen.time)
        else:
            self._waiting[name] = good, future
        return future

    async def _run(self, api: Api, version: str) -> None:
        async for event in api.watch(NODE_POOLS, version):
            self._note(event["type"], event["object"], time.perf_counter())

    def _note(self, kind: str, pool: dict[str, Any], now: float) -> None:
        name = pool["metadata"]["name"]
        if kind == "DELETED":
            self._seen.pop(name, None)
            return
        seen = Sighting(int(pool["metadata"]["resourceVersion"]), pool["spec"].get("weight", 0), now)
        self._seen[name] = seen
        if seen.weight != RIGHT_WEIGHT:
            self._bent[name] = seen
        good, future = self._waiting.get(name, (None, None))
        if good and future and good(seen):
            del self._waiting[name]
            future.set_result(now)

"""Whole clusters with the operator at work, and many cases side by side on them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness import NODE_POOLS, Api, Operator
from sandbox import Cluster

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A cluster with one version of Karpenter, and the operator beside it as the shipped ServiceAccount."""

    karpenter: str
    cluster: Cluster
    operator: Operator

    @property
    def api(self) -> Api:
        """The administrator's."""
        return Api(self.cluster.api)

    @contextlib.asynccontextmanager
    async def operator_down(self) -> AsyncIterator[None]:
        """Have no operator while the context lasts."""
        await self.operator.stop()
        try:
            yield
        finally:
            await self.operator.start()

    def seconds_away(self, pool: str, *, since: int) -> float:
        """Return how long a NodePool was away: from the answer to its first deletion to that to its creation.

        Both times are the API server's own, so that a busy test process does not count.

        Args:
            pool: Its name.
            since: A marker of the audit log, from before the deletion.
        """
        entries = [
            entry
            for entry in self.cluster.audit.writes(since=since)
            if entry.resource == NODE_POOLS.plural and entry.code in {200, 201} and not entry.subresource
        ]
        deleted = next(
            entry.time
            for entry in entries
            if entry.verb == "deletecollection" or (entry.verb == "delete" and entry.name == pool)
        )
        created = next(e.time for e in entries if e.code == 201 and e.name == pool and e.time > deleted)
        return (created - deleted).total_seconds()


Stages = Mapping[str, Stage]
"""By version of Karpenter."""


async def side_by_side(cases: Mapping[str, Awaitable[T]]) -> dict[str, T]:
    """Run cases at the same time, all of them to their end.

    Raises:
        ExceptionGroup: Every failure, with the name of its case.
    """
    results = await asyncio.gather(*cases.values(), return_exceptions=True)
    failures = []
    for name, result in zip(cases, results, strict=True):
        if isinstance(result, Exception):
            result.add_note(f"this was case {name!r}")
            failures.append(result)
        elif isinstance(result, BaseException):
            raise result
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(cases)} cases failed", failures)
    return {name: result for name, result in zip(cases, results, strict=True) if not isinstance(result, BaseException)}


async def on_each(stages: Stages, play: Callable[[Stage], Awaitable[T]]) -> dict[str, T]:
    """Play one scene on every stage at the same time; return what came of it by version of Karpenter."""
    played = await side_by_side({f"Karpenter {version}": play(stage) for version, stage in stages.items()})
    return dict(zip(stages, played.values(), strict=True))

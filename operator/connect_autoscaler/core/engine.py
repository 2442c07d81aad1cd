"""Who is woken by what: watch events in, workers woken. No decision is taken here."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.cache import EVERY, Raw
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.core.worker import Worker
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.ownership import Peer, mark

log = logging.getLogger(__name__)


class Engine:
    """All workers of an operator, one per profile."""

    def __init__(self, kube: Kube, tools: Toolbox, grace: float = 0) -> None:
        """Begin with no worker.

        Args:
            kube: The connection.
            tools: For Helm releases.
            grace: Seconds that an upgrade under way has to finish when the operator is told to end.
        """
        self.context = Context(kube, tools)
        self.grace = grace
        self._workers: dict[str, Worker] = {}
        self._claims: dict[str, Peer] = {}
        self._seen: dict[str, object] = {}
        self._side: set[asyncio.Task[None]] = set()
        self.stopped = asyncio.Event()
        """Set when all has ended."""

    def profile_changed(self, profile: Profile) -> None:
        """Start or wake the profile's worker, and wake the rivals of its claims."""
        if profile.uid not in self._workers:
            self._workers[profile.uid] = Worker(self.context, profile, self.wake_rivals)
        if not self.context.profiles.arrived(profile):
            self._workers[profile.uid].wake()

    def profile_deleted(self, profile: Profile) -> None:
        """End the profile's worker and let others have what it claimed."""
        self.context.profiles.deleted(profile)
        if worker := self._workers.pop(profile.uid, None):
            self._aside(worker.end())
        self.context.metrics.forget(profile)
        self.wake_rivals(profile)
        self._claims.pop(profile.uid, None)

    def unreadable(self, body: Raw) -> None:
        """A spec that this version's models refuse: another version's CRD is installed. Nothing is done to it."""
        problem = Problem(Reason.INVALID, "The spec is not one of this version's; install the CRD that belongs to it")
        bare = Profile.bare(body)
        status = report.stopped(bare, [problem], self.context.clock())
        if not report.same(bare.status, status):
            self._aside(self._write_status(bare, status))

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _write_status(self, profile: Profile, status: ProfileStatus) -> None:
        try:
            await self.context.write_status(profile, status)
        except KubeError as error:
            log.warning("profile %s: %s", profile.name, error)

    def wake_rivals(self, profile: Profile) -> None:
        """Wake every profile that claims a pool, a placement or a release of this one, or one that it has given up."""
        me = Peer.of(profile)
        before, self._claims[me.uid] = self._claims.get(me.uid, me), me
        for peer in map(Peer.of, self.context.profiles.by(EVERY).values()):
            if peer.uid != me.uid and (peer.rivals(me) or peer.rivals(before)):
                self._wake(peer.uid)

    def pool_changed(self, pool: Raw, *, deleted: bool = False) -> None:
        """Wake whoever owns the pool or asks for one of its name; the owner not for an echo of his own write."""
        owner = mark(pool)[1]
        if deleted:
            echo = False
            self.context.pools.deleted(pool)
            self._seen.pop(pool["metadata"]["uid"], None)
        else:
            echo = self.context.pools.arrived(pool)
            if not self._news(pool["metadata"]["uid"], _decisive(pool)):
                return
        self._wake_for(pool.name, owner, but=owner if echo else None)

    def claim_changed(self, claim: NodeClaim, *, deleted: bool = False) -> None:
        """Wake whoever owns the NodeClaim's pool."""
        if deleted:
            self.context.claims.deleted(claim)
            self._seen.pop(claim.uid, None)
        else:
            self.context.claims.arrived(claim)
            if not self._news(claim.uid, replace(claim, version=0)):
                return
        live = self.context.pools.get(claim.pool)
        self._wake_for(claim.pool, mark(live)[1] if live else None)

    def _news(self, uid: str, facts: object) -> bool:
        """Whether an event tells something that decisions depend on; Karpenter counts nodes and pods all the time."""
        before, self._seen[uid] = self._seen.get(uid), facts
        return before != facts

    def _wake_for(self, pool: str, owner: str | None, *, but: str | None = None) -> None:
        asking = self.context.profiles.by(("pool", pool)).values()
        for uid in {owner, *(profile.uid for profile in asking)} - {but}:
            self._wake(uid)

    def _wake(self, uid: str | None) -> None:
        if worker := self._workers.get(uid or ""):
            worker.wake()

    @property
    def oldest_pass(self) -> timedelta:
        """Time since the pass that is most overdue should have finished; zero if none is."""
        return max((worker.overdue for worker in self._workers.values()), default=timedelta())

    async def stop(self) -> None:
        """End all workers at the next await; a pass under way is cancelled, its writes are whole or not at all.

        Upgrades under way may finish within the grace.
        """
        await asyncio.gather(*(worker.end(self.grace) for worker in self._workers.values()), *self._side)
        self._workers.clear()
        self.stopped.set()


def _decisive(pool: Raw) -> object:
    """All of a NodePool but its counters and the times of its conditions."""
    meta = {k: v for k, v in pool["metadata"].items() if k not in {"resourceVersion", "managedFields"}}
    try:
        conditions = pool.get("status", {}).get("conditions", ())
        judged = [{k: v for k, v in condition.items() if k != "lastTransitionTime"} for condition in conditions]
    except (AttributeError, TypeError):
        judged = [{"status": pool.get("status")}]  # a CRD of another make lets through what it likes
    return meta, pool.get("spec"), judged

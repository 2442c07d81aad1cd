"""Everything that a decision about one profile needs, seen at one time."""

from collections.abc import Callable
from dataclasses import replace

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import When
from connect_autoscaler.api.status import ProfileStatus
from connect_autoscaler.core.bodies import bodies, live
from connect_autoscaler.core.cache import EVERY
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.giving_back import wants_restore
from connect_autoscaler.core.jobs_keeper import JobsKeeper, busy
from connect_autoscaler.core.model import Snapshot
from connect_autoscaler.core.placement_reader import PlacementReader
from connect_autoscaler.core.release_keeper import ReleaseKeeper
from connect_autoscaler.core.release_model import JobsView
from connect_autoscaler.nodepools.ownership import Peer
from connect_autoscaler.nodepools.shape import shaped
from connect_autoscaler.placement.scene import Scene


class Gatherer:
    """What one profile is about, beside the caches: its release, its pods, its jobs.

    Args:
        context: What workers share.
        wake: Called when something has changed.
        tell: Posts events.
        connect_api: Whether to ask the Connect API, which may also run lost jobs again there.

    Attributes:
        release: The release, and long work on it.
        jobs: What the Connect API says.
    """

    def __init__(
        self, context: Context, wake: Callable[[], None], tell: Callable[[Event], None], *, connect_api: bool = True
    ) -> None:
        self._context, self._connect_api = context, connect_api
        self.release = ReleaseKeeper(context.kube, context.tools, context.clock, wake, tell)
        self.jobs = JobsKeeper(context.kube, context.clock, wake, tell)
        self._placement = PlacementReader(context.kube, context.clock, wake)
        self._known: tuple[JobsView | None, Scene | None] = (None, None)

    async def gather(self, profile: Profile, draft: ProfileStatus | None = None) -> Snapshot:
        """Take a snapshot, but for what only the caller remembers.

        Args:
            profile: As it is now.
            draft: The status of the last pass, if it is not written yet.

        Raises:
            KubeError: What every decision needs cannot be read.
        """
        context = self._context
        refs = {pool.node_class_key for pool in profile.pools if pool.managed}
        me, peers = Peer.of(profile), self.peers(profile)
        rivals = [peer for peer in peers if peer.rivals(me)]
        names = {pool.name for pool in profile.pools}.union(*(rival.pools for rival in rivals))
        pools = context.pools.by(("mark", profile.name), ("mark", profile.uid))
        pools.update((name, pool) for name in names if (pool := context.pools.get(name)) is not None)
        snapshot = Snapshot(
            profile=profile,
            karpenter=await context.lookups.karpenter(),
            node_classes={ref: await context.lookups.node_class(ref) for ref in refs},
            pools={name: shaped(pool) for name, pool in pools.items()},
            claims={name: tuple(context.claims.by(("pool", name)).values()) for name in {*names, *pools}},
            peers=peers,
            draft=draft,
        )
        # A deleted profile that keeps the release has nothing to see there, but for what is under way.
        if profile.deleting and not self.release.work and not wants_restore(snapshot):
            return snapshot
        if profile.claimed_release is None:
            # An upgrade that was begun is brought to its end: that costs less than to turn back.
            if not (self.release.work and self.release.work.writes):
                await self.close()
            return snapshot
        return await self._with_release(snapshot, contested=any(rival.release == me.release for rival in rivals))

    async def _with_release(self, snapshot: Snapshot, *, contested: bool) -> Snapshot:
        profile = snapshot.profile
        view = await self.release.look(profile, *bodies(snapshot), wanted=not profile.deleting, contested=contested)
        snapshot = replace(snapshot, release=view)
        if profile.deleting:
            self._placement.close()
            self.jobs.close()
            return snapshot
        if view.facts is None:  # for a moment: what was known a pass ago is better than nothing
            return replace(snapshot, jobs=self._known[0], scene=self._known[1])
        differs = view.facts.changes or view.live or (view.export is not None and not view.exported)
        pending = bool(differs) and profile.spec.disruptions.when is When.WHEN_IDLE
        jobs = self.jobs.look(profile, view, self.release.store, pending=pending) if self._connect_api else None
        scene = await self._placement.look(profile, view, *live(snapshot))
        self._known = jobs, scene
        return replace(snapshot, release=busy(view, jobs), jobs=jobs, scene=scene)

    def peers(self, profile: Profile) -> tuple[Peer, ...]:
        """All other profiles, as far as claims go."""
        return tuple(Peer.of(p) for p in self._context.profiles.by(EVERY).values() if p.uid != profile.uid)

    def refresh(self) -> None:
        """Look everything up afresh."""
        self.release.refresh()
        self._placement.refresh()
        self._context.lookups.forget()

    async def close(self) -> None:
        """End watches, and work that is under way."""
        await self.release.close()
        self._placement.close()
        self.jobs.close()

"""The loop of one profile: the only writer of what that profile owns.

Level-triggered: a pass gathers everything and needs to know nothing of what woke it. Single writer: passes of one
profile never overlap. An error costs a delay, never the loop.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import When
from connect_autoscaler.api.status import Disruption, ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.act import Actor
from connect_autoscaler.core.cache import EVERY
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.events import Event, corrections
from connect_autoscaler.core.fights import Fights
from connect_autoscaler.core.giving_back import wants_restore
from connect_autoscaler.core.jobs_keeper import JobsKeeper, busy
from connect_autoscaler.core.model import Action, Json, Outcome, Plan, Snapshot, Verb
from connect_autoscaler.core.placement_reader import PlacementReader
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.pools import OWNER_REFERENCES
from connect_autoscaler.core.release_keeper import ReleaseKeeper
from connect_autoscaler.core.release_model import JobsView, ReleaseView
from connect_autoscaler.core.release_plan import opponent
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.health import picked_up_by
from connect_autoscaler.nodepools.ownership import Peer
from connect_autoscaler.nodepools.render import render
from connect_autoscaler.placement.scene import Scene

log = logging.getLogger(__name__)

_HOLD: Final = timedelta(seconds=2)
"""How long a status that is about to change again may wait; transitions that are final are written at once."""
_HOLD_FIGURES: Final = timedelta(seconds=30)
"""The same for figures that move with every content job."""
_BURST: Final = 5
"""Status writes in a row before even final transitions wait: somebody else may be writing it too."""
_BACKOFF: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
_LATER: Final = 10.0
"""Seconds between looks at something that nobody announces, such as a missing NodeClass."""
_USER: Final = 60.0
"""Seconds between attempts at something that the API server refused; an event or a change tries it sooner."""
_JITTER: Final = 0.1
_NOTHING_DUE: Final = 3600.0


class Worker:
    """The loop of one profile. Never ends by itself, never dies of an error."""

    def __init__(self, context: Context, profile: Profile, claims_changed: Callable[[Profile], None]) -> None:
        """Start the loop.

        Args:
            context: What workers share.
            profile: The profile as first seen; the worker goes by its uid.
            claims_changed: Told of each new generation, since it may claim other pools.
        """
        self._context, self._name, self._uid, self._claims_changed = context, profile.name, profile.uid, claims_changed
        self._fights = Fights()
        self._ending = False
        self._known: tuple[JobsView | None, Scene | None] = (None, None)
        self._keeper = ReleaseKeeper(context.kube, context.tools, context.clock, self.wake, self._tell)
        self._placement = PlacementReader(context.kube, context.clock, self.wake)
        self._jobs = JobsKeeper(context.kube, context.clock, self.wake, self._tell)
        self._actor = Actor(context.kube, context.wrote, self._keeper.forget, self._keeper.publish)
        self._woken = asyncio.Event()
        self._deadline: datetime | None = context.clock()
        self._handled: tuple[int, str | None] | None = None
        self._draft: ProfileStatus | None = None
        self._pending: datetime | None = None
        self._disruptive: list[datetime] = []
        self._failures = 0
        self._quiet_until = context.clock()
        self._written: deque[datetime] = deque(maxlen=_BURST)
        self.task = asyncio.create_task(self._run(), name=f"profile {profile.name}")

    def wake(self) -> None:
        """Have a pass soon."""
        if not self._woken.is_set():
            self._woken.set()
            self._deadline = min(self._deadline or self._context.clock(), self._context.clock())

    async def end(self, grace: float = 0) -> None:
        """End the loop; an upgrade under way may finish within the grace (seconds), then it is rolled back."""
        self._ending = True  # passes go on healing meanwhile, but begin no long work
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._keeper.finish()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._let_release_be()

    async def _let_release_be(self) -> None:
        await self._keeper.close()
        self._placement.close()
        self._jobs.close()

    def _tell(self, event: Event) -> None:
        if profile := self._context.profiles.get(self._name):
            self._context.recorder.post(profile, [event])

    @property
    def overdue(self) -> timedelta:
        """How long ago a pass should have begun, or began and has not finished."""
        return max(self._context.clock() - self._deadline, timedelta()) if self._deadline else timedelta()

    async def _run(self) -> None:
        delay = 0.0
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._woken.wait()
            except TimeoutError:
                pass
            await asyncio.sleep((self._quiet_until - self._context.clock()).total_seconds())
            self._woken.clear()
            try:
                delay = await self._pass()
            except KubeError as error:
                delay = self._retry(error)
                log.warning("profile %s: %s; trying again in %.1f s", self._name, error, delay)
            except Exception:
                # The last line of defence: a fault of ours costs a delay, never the worker.
                delay = self._back_off()
                log.exception("profile %s: pass failed; trying again in %.1f s", self._name, delay)
                await self._confess()
            self._deadline = self._context.clock() + timedelta(seconds=delay)

    async def _pass(self) -> float:
        """Gather, plan, act, report. Gives the seconds until the next pass is due."""
        now = self._context.clock()
        profile = self._context.profiles.get(self._name)
        if profile is None or profile.uid != self._uid:
            return _NOTHING_DUE
        self._note_request(profile)
        try:
            snapshot = await self._gather(profile, now)
        except KubeError as error:
            if error.retry is Retry.SOON:
                raise
            await self._publish(profile, report.stopped(profile, [_problem(error)], now), now)
            return self._retry(error)
        decided = plan(snapshot, now)
        if decided.finished:
            return _NOTHING_DUE
        if decided.release and decided.release.work and snapshot.release and not self._ending:
            snapshot = self._begin(decided.release.work, snapshot, snapshot.release)
            # With the upgrade begun what waits has another digest; what was approved with it is done all the same.
            decided = replace(plan(snapshot, now), actions=decided.actions, pools=decided.pools)
        outcome = await self._actor.act(decided, now)
        await self._context.kube.calm()
        if not outcome.failed:
            self._failures = 0
        self._remember(decided, outcome, now)
        self._context.recorder.post(profile, corrections(outcome))
        wait = _NOTHING_DUE
        if status := _status(snapshot, decided, outcome, now):
            wait = await self._publish(profile, status, now)
        if self._draft is None and any(reason is Reason.ANNOUNCED for _, reason in decided.deferred):
            return 0.0
        return min(self._next(profile, decided, outcome, now), wait)

    def _begin(self, action: Action, snapshot: Snapshot, view: ReleaseView) -> Snapshot:
        """Begin long work on the release, and see it under way."""
        corrects = opponent(view, view.facts) if action.drift and view.facts else None
        self._keeper.begin(action, snapshot.profile, *_bodies(snapshot), view, corrects)
        return replace(snapshot, release=replace(view, work=self._keeper.work))

    async def _confess(self) -> None:
        """Say in status that the operator itself is at fault; best effort."""
        profile = self._context.profiles.get(self._name)
        if profile is not None:
            fault = Problem(Reason.INTERNAL_ERROR, "The operator failed; its log has the details, please report it")
            with contextlib.suppress(KubeError):
                now = self._context.clock()
                await self._publish(profile, report.stopped(profile, [fault], now), now)

    def _note_request(self, profile: Profile) -> None:
        """A new generation or a request to reconcile forgets fights and refusals and looks everything up afresh."""
        key = (profile.generation, requested_at(profile))
        if self._handled != key:
            if self._handled is not None:
                self._fights.reset()
                self._actor.forget_refusals()
                self._keeper.refresh()
                self._placement.refresh()
                self._context.lookups.forget()
            self._claims_changed(profile)
            self._handled = key

    async def _gather(self, profile: Profile, now: datetime) -> Snapshot:
        context = self._context
        refs = {pool.node_class_key for pool in profile.pools if pool.managed}
        me = Peer.of(profile)
        peers = tuple(Peer.of(p) for p in context.profiles.by(EVERY).values() if p.uid != profile.uid)
        rivals = [peer for peer in peers if peer.rivals(me)]
        names = {pool.name for pool in profile.pools}.union(*(rival.pools for rival in rivals))
        pools = context.pools.by(("mark", profile.name), ("mark", profile.uid))
        pools.update((name, pool) for name in names if (pool := context.pools.get(name)) is not None)
        self._disruptive = [time for time in self._disruptive if now - time < timedelta(days=1)]
        snapshot = Snapshot(
            profile=profile,
            karpenter=await context.lookups.karpenter(),
            node_classes={ref: await context.lookups.node_class(ref) for ref in refs},
            pools=pools,
            claims={name: tuple(context.claims.by(("pool", name)).values()) for name in {*names, *pools}},
            peers=peers,
            fights=self._fights.active(now),
            draft=self._draft,
            corrections_today=len(self._disruptive),
        )
        # A deleted profile that keeps the release has nothing to see there, but for what is under way.
        if profile.deleting and not self._keeper.work and not wants_restore(snapshot):
            return snapshot
        if profile.claimed_release is None:
            await self._let_release_be()
            return snapshot
        view = await self._keeper.look(profile, *_bodies(snapshot), wanted=not profile.deleting)
        snapshot = replace(snapshot, release=view)
        if profile.deleting:
            self._placement.close()
            self._jobs.close()
            return snapshot
        if view.facts is None:  # for a moment: what was known a pass ago is better than nothing
            return replace(snapshot, jobs=self._known[0], scene=self._known[1])
        differs = view.facts.changes or view.live or (view.export is not None and not view.exported)
        pending = bool(differs) and profile.spec.disruptions.when is When.WHEN_IDLE
        jobs = self._jobs.look(profile, view, self._keeper.store, pending=pending)
        scene = await self._placement.look(profile, view, *_live(snapshot))
        self._known = jobs, scene
        return replace(snapshot, release=busy(view, jobs), jobs=jobs, scene=scene)

    def _remember(self, decided: Plan, outcome: Outcome, now: datetime) -> None:
        """Count corrections: for fights, and for the daily limit of those that replace nodes."""
        authors = {(f.target, f.difference.pointer): f.author.manager for pool in decided.pools for f in pool.findings}
        for action in outcome.done:
            if action.verb is Verb.DETACH:
                self._fights.record(action.target, {OWNER_REFERENCES: "unknown"}, now)
            elif action.verb is Verb.HOLD:
                self._fights.record(action.target, {"/metadata/finalizers": "unknown"}, now)
            elif action.drift:
                pointers = {
                    field: authors[action.target, field] for field in action.fields if (action.target, field) in authors
                }
                self._fights.record(action.target, pointers, now)
                if action.disruption is Disruption.REPLACES_NODES:
                    self._disruptive.append(now)

    async def _publish(self, profile: Profile, status: ProfileStatus, now: datetime) -> float:
        """Write the status if it says something new. Gives the seconds after which a held one is due."""
        self._draft = status
        if report.same(profile.status, status):
            self._draft = self._pending = None
            return _NOTHING_DUE
        self._pending = self._pending or now
        due = self._pending + (_HOLD_FIGURES if report.only_figures(profile.status, status) else _HOLD)
        calm = len(self._written) < _BURST or now - self._written[0] > _BURST * _HOLD
        if now < due and not (calm and report.urgent(profile.status, status)):
            return (due - now).total_seconds()
        await self._context.write_status(profile, status)
        self._written.append(now)
        self._draft = self._pending = None
        return _NOTHING_DUE

    def _next(self, profile: Profile, decided: Plan, outcome: Outcome, now: datetime) -> float:
        """Seconds until time alone, or a failure, calls for another pass."""
        resync = profile.spec.resync.total_seconds() * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        times = [resync]
        if self._jobs.due:
            times.append(max((self._jobs.due - now).total_seconds(), 0.0))
        if decided.wake_at:
            times.append(max((decided.wake_at - now).total_seconds(), 0.0))
        # The echo of a creation wakes nobody, so it is now that the time of "not picked up" has to be remembered.
        created = (outcome.pools[action.name] for action in outcome.done if action.verb is Verb.CREATE)
        times += [max((picked_up_by(pool) - now).total_seconds(), 0.0) for pool in created]
        released = decided.release.problem if decided.release else None
        problems = (*decided.problems, *(pool.problem for pool in decided.pools), released)
        if any(p and (not p.stalled or p.reason is Reason.UNSUPPORTED_KARPENTER) for p in problems):
            times.append(_LATER)
        times += [self._retry(error) for _, error in outcome.failed]
        return min(times)

    def _retry(self, error: KubeError) -> float:
        """Seconds to wait after an error, by its kind; never less than the API server asked for."""
        match error.retry:
            case Retry.SOON:
                delay = self._back_off()
            case Retry.LATER:
                delay = _LATER
            case Retry.USER:
                delay = _USER
        delay = max(delay, error.retry_after or 0.0)
        if error.reason in {Reason.THROTTLED, Reason.API_UNAVAILABLE}:
            self._quiet_until = self._context.clock() + timedelta(seconds=delay)
        return delay

    def _back_off(self) -> float:
        delay = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
        self._failures += 1
        return delay * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311


def _status(snapshot: Snapshot, decided: Plan, outcome: Outcome, now: datetime) -> ProfileStatus | None:
    """The status to write; a profile that is deleted without a hitch needs none."""
    if not snapshot.profile.deleting:
        return report.status(snapshot, decided, outcome, now)
    if outcome.failed:
        return report.stopped(snapshot.profile, [_problem(error) for _, error in outcome.failed], now)
    return report.parting(snapshot, decided, now) if decided.release else None


def _bodies(snapshot: Snapshot) -> tuple[list[Json], list[Json]]:
    """The NodePools of servers and of content: as they are to be, or, if others manage them, as they are."""
    found: dict[Role, list[Json]] = {Role.SERVER: [], Role.CONTENT: []}
    for pool in snapshot.profile.pools:
        live = snapshot.pools.get(pool.name)
        if pool.managed and snapshot.karpenter:
            found[pool.role].append(render(snapshot.profile, pool, snapshot.karpenter))
        elif live is not None:
            found[pool.role].append(live)
    return found[Role.SERVER], found[Role.CONTENT]


def _live(snapshot: Snapshot) -> tuple[list[Json], list[Json], list[NodeClaim], list[NodeClaim]]:
    """The live NodePools of servers and of content, and the NodeClaims of each."""
    pools: dict[Role, list[Json]] = {Role.SERVER: [], Role.CONTENT: []}
    claims: dict[Role, list[NodeClaim]] = {Role.SERVER: [], Role.CONTENT: []}
    for pool in snapshot.profile.pools:
        if (live := snapshot.pools.get(pool.name)) is not None:
            pools[pool.role].append(live)
        claims[pool.role] += snapshot.claims.get(pool.name, ())
    return pools[Role.SERVER], pools[Role.CONTENT], claims[Role.SERVER], claims[Role.CONTENT]


def _problem(error: KubeError) -> Problem:
    return Problem(error.reason, error.message, stalled=error.retry is not Retry.SOON)

"""The loop of one profile: the only writer of what that profile owns.

Level-triggered: a pass gathers everything and needs to know nothing of what woke it. Single writer: passes of one
profile never overlap. An error costs a delay, never the loop.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import Disruption, ProfileStatus
from connect_autoscaler.core import metrics, report
from connect_autoscaler.core.act import Actor
from connect_autoscaler.core.bodies import bodies
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.events import Event, corrections
from connect_autoscaler.core.fights import Fights
from connect_autoscaler.core.gather import Gatherer
from connect_autoscaler.core.jobs_keeper import busy
from connect_autoscaler.core.model import OF_RELEASE, Action, Outcome, Plan, Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.pools import OWNER_REFERENCES
from connect_autoscaler.core.release_model import ReleaseView
from connect_autoscaler.core.release_plan import opponent
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.core.second_look import SecondLook
from connect_autoscaler.nodepools.health import picked_up_by

log = logging.getLogger(__name__)

_HOLD: Final = timedelta(seconds=2)
"""How long a status that is about to change again may wait; transitions that are final are written at once."""
_HOLD_URGENT: Final = timedelta(seconds=1.5)
"""The same for these after a burst of others: what somebody has changed is told within two seconds."""
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
_JUMP: Final = 10.0
"""Seconds by which a wall clock and a steady one may part between two passes; a host that sleeps parts them, too."""
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
        self._gatherer = Gatherer(context, self.wake, self._tell)
        self._release = self._gatherer.release
        self._actor = Actor(context.kube, context.wrote, self._release)
        self._second_look = SecondLook(context)
        self._woken = asyncio.Event()
        self._deadline = self._quiet_until = time.monotonic()  # a wall clock that is put back would hold all up
        self._clocks = context.clock(), time.monotonic()
        self._handled: tuple[int, str | None] | None = None
        self._draft: ProfileStatus | None = None
        self._pending: datetime | None = None
        self._disruptive: list[datetime] = []
        self._failures, self._result = 0, metrics.SUCCESS
        self._written: deque[datetime] = deque(maxlen=_BURST)
        self.task = asyncio.create_task(self._run(), name=f"profile {profile.name}")

    def wake(self) -> None:
        """Have a pass soon."""
        if not self._woken.is_set():
            self._woken.set()
            # A pass that the API server has asked to put off is not overdue.
            self._deadline = min(self._deadline, max(time.monotonic(), self._quiet_until))

    async def end(self, grace: float = 0) -> None:
        """End the loop; an upgrade under way may finish within the grace (seconds), then it is rolled back."""
        self._ending = True  # passes go on healing meanwhile, but begin no long work
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._release.finish()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._gatherer.close()

    def _tell(self, event: Event) -> None:
        if profile := self._profile:
            self._context.recorder.post(profile, [event])

    @property
    def _profile(self) -> Profile | None:
        """As it is now; None: it is gone, and maybe another one has its name."""
        profile = self._context.profiles.get(self._name)
        return profile if profile and profile.uid == self._uid else None

    @property
    def overdue(self) -> timedelta:
        """How long ago a pass should have begun, or began and has not finished."""
        return timedelta(seconds=max(time.monotonic() - self._deadline, 0.0))

    async def _run(self) -> None:
        delay = 0.0
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._woken.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(self._quiet_until - time.monotonic())
            self._woken.clear()
            began, self._result = time.monotonic(), metrics.SUCCESS
            try:
                delay = await self._pass()
            except KubeError as error:
                delay = self._retry(error)
                log.warning("profile %s: %s; trying again in %.1f s", self._name, error, delay)
            except Exception:
                # The last line of defence: a fault of ours costs a delay, never the worker.
                delay, self._result = self._back_off(), metrics.FAULT
                log.exception("profile %s: pass failed; trying again in %.1f s", self._name, delay)
                await self._confess()
            self._context.metrics.reconciled(self._uid, self._result, time.monotonic() - began)
            self._deadline = time.monotonic() + delay

    async def _pass(self) -> float:
        """Gather, plan, act, report. Gives the seconds until the next pass is due."""
        now = self._context.clock()
        self._note_jump(now)
        if profile := self._profile:
            await self._second_look.take(profile)
        if (profile := self._profile) is None:
            return _NOTHING_DUE
        async with self._context.turns:
            status, due, announced = await self._reconcile(profile, now)
        await self._context.kube.calm()
        wait = await self._publish(profile, status, now) if status else _NOTHING_DUE
        return 0.0 if announced and self._draft is None else min(due, wait)

    async def _reconcile(self, profile: Profile, now: datetime) -> tuple[ProfileStatus | None, float, bool]:
        """Gather, plan, act.

        Returns:
            The status to report, the seconds until the next pass is due, and whether that has to come at once, since
            something waits only for being announced in status.
        """
        self._note_request(profile)
        try:
            snapshot = self._remembering(await self._gatherer.gather(profile, self._draft), now)
        except KubeError as error:
            if error.retry is Retry.SOON:
                raise
            return report.stopped(profile, [_problem(error)], now), self._retry(error), False
        decided = plan(snapshot, now)
        if decided.finished:
            return None, _NOTHING_DUE, False
        if decided.release and decided.release.work and snapshot.release and not self._ending:
            snapshot = self._begin(decided.release.work, snapshot, snapshot.release)
            # With the upgrade begun what waits has another digest; what was approved with it is done all the same.
            decided = replace(plan(snapshot, now), actions=decided.actions, pools=decided.pools)
        outcome = await self._actor.act(decided, now)
        if not outcome.failed:
            self._failures = 0
        self._context.metrics.acted(snapshot, decided, outcome, now, self._context.clock())
        self._remember(decided, outcome, now)
        self._context.recorder.post(profile, corrections(outcome))
        announced = any(reason is Reason.ANNOUNCED for _, reason in decided.deferred)
        return _status(snapshot, decided, outcome, now), self._next(profile, decided, outcome, now), announced

    def _begin(self, action: Action, snapshot: Snapshot, view: ReleaseView) -> Snapshot:
        """Begin long work on the release, and see it under way."""
        corrects = opponent(view, view.facts) if action.drift and view.facts else None
        servers, content = bodies(snapshot)
        allowed = partial(self._may_begin, action, snapshot)
        self._release.begin(action, snapshot.profile, servers, content, view, corrects, allowed)
        return replace(snapshot, release=replace(view, work=self._release.work))

    def _may_begin(self, action: Action, snapshot: Snapshot) -> bool:
        """Whether long work that was decided on would be decided on now: gates close, people change their minds."""
        profile = self._profile
        if self._ending or profile is None or snapshot.release is None:
            return False
        if profile.generation != snapshot.profile.generation:
            return False
        # What was announced for it stands no more in status, since it is said to be under way.
        profile = replace(profile, status=snapshot.profile.status)
        view = busy(self._release.with_content(snapshot.release), snapshot.jobs)
        peers = self._gatherer.peers(profile)
        decided = plan(replace(snapshot, profile=profile, peers=peers, release=view), self._context.clock()).release
        work = decided.work if decided else None
        return work is not None and (work.verb, work.digest) == (action.verb, action.digest)

    async def _confess(self) -> None:
        """Say in status that the operator itself is at fault; best effort."""
        if profile := self._profile:
            fault = Problem(Reason.INTERNAL_ERROR, "The operator failed; its log has the details, please report it")
            with contextlib.suppress(KubeError):
                now = self._context.clock()
                await self._publish(profile, report.stopped(profile, [fault], now), now)

    def _note_request(self, profile: Profile) -> None:
        """A new generation or a request to reconcile forgets fights and refusals and looks everything up afresh."""
        key = (profile.generation, requested_at(profile))
        if self._handled != key:
            if self._handled is not None:
                self._begin_afresh()
            self._claims_changed(profile)
            self._handled = key

    def _note_jump(self, now: datetime) -> None:
        """When the wall clock was put on or back, no time that was remembered by it means anything any more."""
        (wall, steady), self._clocks = self._clocks, (now, time.monotonic())
        if abs((now - wall).total_seconds() - (self._clocks[1] - steady)) > _JUMP:
            log.warning("profile %s: the clock has jumped to %s; waits begin afresh", self._name, now.isoformat())
            self._pending = None
            self._written.clear()
            self._begin_afresh()

    def _begin_afresh(self) -> None:
        self._fights.reset()
        self._actor.forget_refusals()
        self._gatherer.refresh()

    def _remembering(self, snapshot: Snapshot, now: datetime) -> Snapshot:
        """Add what is remembered of earlier passes."""
        self._disruptive = [time for time in self._disruptive if now - time < timedelta(days=1)]
        return replace(snapshot, fights=self._fights.active(now), corrections_today=len(self._disruptive))

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
        urgent = report.urgent(profile.status, status)
        held = _HOLD_FIGURES if report.only_figures(profile.status, status) else _HOLD
        due = self._pending + (_HOLD_URGENT if urgent else held)
        calm = len(self._written) < _BURST or now - self._written[0] > _BURST * _HOLD
        if now < due and not (calm and urgent):
            return (due - now).total_seconds()
        await self._context.write_status(profile, status)
        self._written.append(now)
        self._draft = self._pending = None
        return _NOTHING_DUE

    def _next(self, profile: Profile, decided: Plan, outcome: Outcome, now: datetime) -> float:
        """Seconds until time alone, or a failure, calls for another pass."""
        resync = profile.spec.resync.total_seconds() * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        times = [resync]
        if self._gatherer.jobs.due:
            times.append(max((self._gatherer.jobs.due - now).total_seconds(), 0.0))
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
        self._result = metrics.ERROR
        match error.retry:
            case Retry.SOON:
                delay = self._back_off()
            case Retry.LATER:
                delay = _LATER
            case Retry.USER:
                delay = _USER
        delay = max(delay, error.retry_after or 0.0)
        if error.reason in {Reason.THROTTLED, Reason.API_UNAVAILABLE}:
            self._quiet_until = time.monotonic() + delay
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
        ours = all(action.verb in OF_RELEASE for action, _ in outcome.failed)
        kind = ConditionType.RELEASE_CONFIGURED if ours else ConditionType.NODE_POOLS_READY
        return report.stopped(snapshot.profile, [_problem(error) for _, error in outcome.failed], now, kind)
    return report.parting(snapshot, decided, now) if decided.release else None


def _problem(error: KubeError) -> Problem:
    return Problem(error.reason, error.message, stalled=error.retry is not Retry.SOON)

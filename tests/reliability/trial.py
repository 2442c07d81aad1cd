"""One plan carried out: the workload, with its faults, and all that was seen of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from harness import PROFILES, Workspace, unique
from reliability.haste import HOLD
from reliability.incarnation import Incarnation, ProcessIncarnation
from reliability.proxy import Proxy, Tuning
from reliability.releases import OwnRelease
from reliability.rules import Rule, Rules
from reliability.seen import Seen, difference
from reliability.stage import Picture, Stage
from reliability.workloads import Workload, ready
from reliability.world import World
from sandbox import eventually

QUIET: Final = HOLD + 0.2
"""Seconds without a write after which none is to come, unless time is to bring it."""
LIMIT: Final = 60.0
"""Seconds in which the end state has to be reached."""
_SETTLED: Final = 1.0
"""Seconds without a write after which what was held back is out, also on a busy machine."""
_SLOW: Final = 6.0
"""How many times as long a process takes over it, which holds a status back for two seconds."""
_WITH_HELM: Final = 4
"""How many times as long a plan with Helm may take."""
_ON_REQUEST: Final = "on request (annotation"
"""What status says of an upgrade that is not tried again by itself."""
_POLL: Final = 0.1
_LONG: Final = 3600.0
_GRACE: Final = 1.0
"""Seconds that a fault may take to meet its request once the end state is reached."""
_AWAY: Final = 0.1
"""Seconds until an operator that ended by itself is started again."""


class Lives:
    """The operator of one plan: killed by rules, started again when it is gone, as a kubelet would."""

    def __init__(
        self, world: World, seen: Seen, rules: Rules, tuning: Tuning, kind: type[Incarnation | ProcessIncarnation]
    ) -> None:
        self._world, self._own, self._seen, self._rules, self._tuning = world, seen.own, seen, rules, tuning
        self._kind = kind
        self._stack = AsyncExitStack()
        self._burials: list[asyncio.Task[object]] = []
        self._number = 0
        self._watcher: asyncio.Task[None] | None = None
        self.now: Incarnation | ProcessIncarnation | None = None

    async def start(self) -> None:
        """Begin a life, and wait for nothing."""
        self._number += 1
        self._seen.lives += not self._seen.restarted
        proxy = Proxy(
            self._world.cluster,
            self._own,
            self._seen.record,
            self._rules,
            str(self._number),
            self._tuning,
            secure=self._seen.workload.release,
        )
        await self._stack.enter_async_context(self._world.proxies.open(proxy))
        options = self._world.release_options if self._seen.workload.release else {}
        self.now = self._kind(proxy, self._world.kubeconfig, **options)
        self.now.launch()
        self._watcher = asyncio.create_task(self._watch(self.now))

    async def stop(self) -> None:
        """End the present life in good order."""
        if self._watcher:
            self._watcher.cancel()
        if self.now:
            ended, self.now = self.now, None
            await self._bury(ended)

    async def close(self) -> None:
        """End all, and their proxies."""
        await self.stop()
        await asyncio.gather(*self._burials)
        await self._stack.aclose()

    async def _bury(self, ended: Incarnation | ProcessIncarnation) -> None:
        problem = await ended.stop()
        self._seen.log += ended.log.lines
        if problem and not ended.proxy.died.done():
            self._seen.exits.append(problem)

    async def _watch(self, life: Incarnation | ProcessIncarnation) -> None:
        await eventually(lambda: life.ended or life.proxy.died.done(), timeout=_LONG, interval=_POLL)
        if life.proxy.died.done():
            self._seen.crashes += 1
        else:
            await asyncio.sleep(_AWAY)
        self._burials.append(asyncio.create_task(self._bury(life)))
        await self.start()


class Trial:
    """Carries out one plan.

    Args:
        world: Where.
        workload: What is done.
        rules: What happens meanwhile.
        process: Whether the operator is a process, with its own times, which is killed by SIGKILL.
    """

    def __init__(
        self, world: World, workload: Workload, rules: tuple[Rule, ...] = (), *, process: bool = False
    ) -> None:
        self._slow = _SLOW if process else 1.0
        self._limit = LIMIT * (_WITH_HELM if workload.release else 1)
        self._world, self._workload, self._planned = world, workload, rules
        self._rules, self._tuning = Rules(), Tuning()
        self._templates = 0
        self.seen = Seen(workload, own=unique("c"))
        kind = ProcessIncarnation if process else Incarnation
        self._lives = Lives(world, self.seen, self._rules, self._tuning, kind)

    async def run(self, wanted: Picture | None = None) -> Seen:
        """Set up, take the steps under the faults, wait for the end state, restart, and clean up.

        Args:
            wanted: The end state; None: whatever is there when the last step is done, as in the run without faults.
        """
        async with self._ending(), Workspace(self._world.cluster) as workspace:
            stage = Stage(workspace, self.seen.own, await self._install())
            await self._set_up(stage)
            began = time.monotonic()
            try:
                await self._take_steps(stage, wanted)
            except AssertionError as error:
                self.seen.stuck = str(error)
            self.seen.seconds = time.monotonic() - began
            self.seen.fired = sum(rule.fired for rule in self._planned)
            self._rules.set()
            self.seen.shown = self.seen.record.events(self.seen.events_mark)
            self.seen.picture = stage.picture()
            self._look_at(stage.release)
            if self.seen.stuck is None:
                await self._restart()
            self.seen.cleaned = self.seen.record.mark()
            self.seen.after, self.seen.events = stage.stranger_state(), stage.events()
        return self.seen

    @contextlib.asynccontextmanager
    async def _ending(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._lives.close()

    async def _install(self) -> OwnRelease | None:
        if not self._workload.release:
            return None
        return await OwnRelease(self._world.cluster, self.seen.own).__aenter__()

    def _look_at(self, release: OwnRelease | None) -> None:
        """Note what became of the release."""
        if release is None:
            return
        assert self._world.rollouts is not None
        revisions = release.revisions()
        self.seen.restarts = self._world.rollouts.templates(release.namespace) - self._templates
        self.seen.undone = sum(each["info"]["status"] == "failed" for each in revisions)
        self.seen.values, self.seen.wanted = revisions[-1]["config"], release.values

    async def _set_up(self, stage: Stage) -> None:
        stage.create_stranger()
        if not self._workload.away or self._workload.spec is not None:
            await self._lives.start()
            await eventually(lambda: self._watching(0), timeout=self._limit, interval=_POLL)
        if self._workload.spec is not None:
            stage.create_profile(**self._workload.spec)
            await eventually(lambda: ready(stage), timeout=self._limit, interval=_POLL)
            for role in self._workload.claims:
                stage.create_claim(getattr(stage.profile, role))
                await eventually(lambda: stage.profile.status[role] == "1/1", timeout=self._limit, interval=_POLL)  # noqa: B023
            await self._quiet()
        if self._workload.away:
            await self._lives.stop()
        if self._world.rollouts is not None:
            self._templates = self._world.rollouts.templates(self.seen.own)
        self._tuning.stale = stage.version()
        self.seen.before = stage.stranger_state()
        self.seen.mark, self.seen.events_mark = self.seen.record.mark(), len(self.seen.record.events())

    async def _take_steps(self, stage: Stage, wanted: Picture | None) -> None:
        self._rules.set(*self._planned)
        *steps, last = self._workload.steps
        for number, step in enumerate((*steps, last)):
            step.act(stage)
            if self._workload.away and number == 0:
                await self._lives.start()
            if step is not last:
                await eventually(lambda: step.done(stage), timeout=self._limit, interval=_POLL)  # noqa: B023
        if wanted is None:
            # It may have been Ready before, too.
            await eventually(lambda: self.seen.record.writes(self.seen.mark), timeout=self._limit, interval=_POLL)
            await eventually(lambda: last.done(stage), timeout=self._limit, interval=_POLL)
            await self._quiet(2 * _SETTLED)
            await eventually(lambda: last.done(stage), timeout=self._limit, interval=_POLL)
        else:
            await self._reach(stage, wanted)

    async def _reach(self, stage: Stage, wanted: Picture) -> None:
        deadline, reached = time.monotonic() + self._limit, 0.0
        while True:
            await self._quiet()
            picture, now = stage.picture(), time.monotonic()
            if picture == wanted:
                reached = reached or now
                if self._over or now - reached > _GRACE:
                    await self._quiet(_SETTLED)
                    if stage.picture() == wanted:
                        return
            else:
                reached = 0.0
                self._ask_again(stage)
            assert now < deadline, f"the end state was not reached: {difference(picture, wanted)}"
            await asyncio.sleep(_POLL)

    @property
    def _over(self) -> bool:
        return all(rule.over for rule in self._planned)

    def _ask_again(self, stage: Stage) -> None:
        """Do as status says, once, and when the fault is over: have an upgrade tried again that failed."""
        if stage.release is None or self.seen.asked or not self._over:
            return
        conditions = (stage.api.find(PROFILES, stage.own) or {}).get("status", {}).get("conditions", ())
        if any(_ON_REQUEST in each["message"] for each in conditions):
            self.seen.asked += 1
            stage.profile.annotate(requestedAt="now")

    async def _quiet(self, seconds: float = QUIET) -> None:
        """Wait until nothing has been asked for a while but watches."""
        seconds *= self._slow
        deadline = time.monotonic() + self._limit
        while time.monotonic() < deadline:
            asked = [each.time for each in self.seen.record.entries() if each.request.writes]
            rest = seconds - (time.monotonic() - (asked[-1] if asked else 0.0))
            if rest <= 0:
                return
            await asyncio.sleep(rest)
        raise AssertionError("writes go on for ever")

    async def _restart(self) -> None:
        """Start it anew: it has to find nothing to do."""
        await self._lives.stop()
        self.seen.restarted = mark = self.seen.record.mark()
        await self._lives.start()
        await eventually(lambda: self._watching(mark), timeout=self._limit, interval=_POLL)
        await self._quiet()
        await asyncio.sleep(QUIET * self._slow)
        assert self._lives.now is not None
        self.seen.healthy = not self._lives.now.ended

    def _watching(self, mark: int) -> bool:
        """Tell whether all watches have been opened since a place in the record."""
        watched = {each.request.resource for each in self.seen.record.entries(mark) if each.request.verb == "watch"}
        return watched >= {"connectautoscalingprofiles", "nodepools", "nodeclaims"}

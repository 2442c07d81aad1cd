"""Long work on a release: proof, upgrade, unlocking. Each is a child task of a profile; passes go on meanwhile."""

import asyncio
import logging
import secrets
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.spec import OnConflict
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.release_model import Obstacle, Phase, Prepared, Work
from connect_autoscaler.core.release_proof import Prover
from connect_autoscaler.core.release_reader import Reading, ReleaseReader
from connect_autoscaler.core.release_recovery import HISTORY, Recovery
from connect_autoscaler.core.release_store import Store
from connect_autoscaler.core.release_tools import Job, Toolbox, upgrade_key
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.release.helm import HelmError, Target
from connect_autoscaler.release.history import Entries
from connect_autoscaler.release.state import Record, State

log = logging.getLogger(__name__)

_FRESH: Final = timedelta(minutes=1)
"""How long a proof and a look for conflicts hold."""
_MOMENT: Final = timedelta(seconds=2)
_SOON: Final = timedelta(seconds=30)
_STUMBLES: Final = 8
_LATER: Final = timedelta(minutes=5)
"""When to look again at what is in the way of an upgrade, if nothing else changes."""


class Workshop:
    """The long work of one profile: one piece at a time.

    Args:
        kube: The connection.
        tools: What all share.
        reader: Reads the release.
        store: Remembers.
        clock: The time.
        ended: Told of every end.
        tell: Posts events.
    """

    def __init__(
        self,
        kube: Kube,
        tools: Toolbox,
        reader: ReleaseReader,
        store: Store,
        clock: Callable[[], datetime],
        ended: Callable[[], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._tools, self._reader, self._store = tools, reader, store
        self._clock, self._ended, self._tell = clock, ended, tell
        self._name = f"Release {reader.namespace}/{reader.name}"
        self._key = reader.namespace, reader.name
        self._prover = Prover(kube, tools)
        self._recovery = Recovery(tools, reader, store, clock, tell)
        self._allowed: Callable[[], bool] = lambda: True
        self._task: asyncio.Task[None] | None = None
        self.work: Work | None = None
        self.prepared: Prepared | None = None
        self.obstacle: Obstacle | None = None
        self._stumbles = 0
        self._chart: tuple[Path, datetime] | None = None

    def prepare(self, job: Job) -> None:
        """Begin to prove and to try the upgrade; `prepared` has the result."""
        self._start(Phase.PREPARING, partial(self._prepare, job), again=self.looks_again(job.key))

    def upgrade(self, job: Job) -> None:
        """Begin the upgrade; the release's Secrets and the store tell what has become of it."""
        identity = secrets.token_hex(8)
        self._start(Phase.UPGRADING, partial(self._upgrade, job, identity), identity, allowed=job.allowed)

    def unlock(self, job: Job, entries: Entries) -> None:
        """Begin to undo the lock of an upgrade of ours that died."""
        self._start(Phase.UNLOCKING, partial(self._recovery.unlock, job, entries))

    def settle(self, job: Job) -> None:
        """Judge an upgrade of ours of which nobody knows what became of it."""
        self._start(Phase.SETTLING, partial(self._recovery.judge, job, None))

    def remember(self, job: Job) -> None:
        """Remember that the release carries the overlay without any work of ours."""
        self._start(Phase.PREPARING, partial(self._remember, job))

    def reconsider(self) -> None:
        """Give up the place in the queue of an upgrade that has not begun and may not any more."""
        if self._task and self.work and self.work.phase is Phase.WAITING and not self._allowed():
            self._task.cancel()

    def looks_again(self, key: str) -> bool:
        """Whether a proof would only repeat one that status tells of already."""
        return self.prepared is not None and self.prepared.key == key

    async def close(self) -> None:
        """End what is under way: helm gets SIGTERM, and its time to roll back."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def finish(self) -> None:
        """Wait for the end of an upgrade under way."""
        if self._task and self.work and self.work.writes:
            await asyncio.gather(asyncio.shield(self._task), return_exceptions=True)

    def _start(
        self,
        phase: Phase,
        work: Callable[[], Coroutine[Any, Any, None]],
        identity: str = "",
        *,
        allowed: Callable[[], bool] = lambda: True,
        again: bool = False,
    ) -> None:
        if self._task:
            return
        self._allowed = allowed
        waits = phase is Phase.UPGRADING and self._tools.taken(self._key)
        shown = Phase.WAITING if waits else phase
        self.work = Work(identity or secrets.token_hex(8), shown, self._clock(), again)
        self._task = asyncio.create_task(self._run(phase, work), name=f"{phase} {self._name}")

    async def _run(self, phase: Phase, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            async with self._tools.turn(self._key, phase):
                if not self._allowed():
                    return  # its turn came late: the next pass decides anew
                if self.work and self.work.phase is not phase:
                    self.work = replace(self.work, phase=phase)
                    self._ended()
                await work()
            if self.obstacle is None or self.obstacle.until <= self._clock():
                self.obstacle, self._stumbles = None, 0
        except KubeError as error:
            log.warning("%s: %s", self._name, error)
            self._stumble(error.reason, error.message)
        except HelmError as error:
            self._stumble(error.reason, error.message)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            # Where, but not what: the text of an exception may hold values.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s failed by a fault of the operator: %s\n%s", self._name, type(error).__name__, trace)  # noqa: TRY400
            self._stumble(Reason.INTERNAL_ERROR, "The operator failed; its log has the details, please report it")
        finally:
            if self.work and self.work.writes:
                self._reader.look_afresh()
            self._task = self.work = None
            self._ended()

    def _stumble(self, reason: Reason, message: str) -> None:
        """Say why long work came to nothing, and let it rest for a while."""
        delay = min(_SOON * 2**self._stumbles, _LATER)
        self._stumbles = min(self._stumbles + 1, _STUMBLES)
        self.obstacle = Obstacle(Problem(reason, message, stalled=False), self._clock() + delay)

    async def _prepare(self, job: Job) -> None:
        entries = await self._reader.entries()
        if entries is None or entries.deployed is None:
            return
        self._chart = None
        try:
            reading = await self._read(job, entries)
            chart, self.prepared = await self._prover.prove(job, reading)
            self._chart = chart, self._clock() + _FRESH
        except HelmError as error:
            self._refuse(job, error.reason, error.message, passing=error.passing)
        except KubeError as error:
            # The API server's own words about an object may quote a value of it; those about rights do not.
            plain = error.reason in {Reason.FORBIDDEN, Reason.API_UNAVAILABLE, Reason.THROTTLED, Reason.UNAUTHORIZED}
            message = error.message if plain else f"A trial of the upgrade was refused. {error.reason.explain}"
            self._refuse(job, error.reason, message, passing=error.retry is not Retry.USER)

    def _refuse(self, job: Job, reason: Reason, message: str, *, passing: bool) -> None:
        until = self._clock() + (_SOON if passing or reason is Reason.CHART_UNAVAILABLE else _LATER)
        self.prepared = Prepared(job.key, Problem(reason, message, stalled=not passing), until=until)

    async def _read(self, job: Job, entries: Entries) -> Reading:
        return await self._reader.read(
            job.profile, entries, job.state, job.server_pools, job.content_pools, wanted=job.wanted
        )

    async def _upgrade(self, job: Job, identity: str) -> None:
        entries = await self._fresh()
        if entries is None or entries.deployed is None or entries.last.pending:
            return  # somebody else is at work, or was: the next pass sees it
        reading = await self._read(job, entries)
        if job.key != upgrade_key(job.profile, entries.deployed, reading.facts.wanted):
            # What was decided on is not what is there; the watch is to tell the next pass.
            problem = Problem(Reason.CONFLICT, Reason.CONFLICT.explain, stalled=False)
            self.obstacle = Obstacle(problem, self._clock() + _MOMENT)
            return
        chart, until = self._chart or (None, self._clock())
        if chart is None or until <= self._clock() or self.prepared is None or self.prepared.key != job.key:
            before = self.prepared
            await self._prepare(job)
            if self._chart is None or before is None or self.prepared != before:
                return  # not as announced: that has to be announced first
            chart = self._chart[0]
        state = await self._store.load() or State.new()
        cause = state.cause(
            state.digest(reading.revision.config),
            reading.facts.chart,
            reading.facts.wanted,
            job.profile.generation,
            requested_at(job.profile),
        )
        record = Record(
            id=identity,
            overlay=reading.facts.wanted,
            prior=reading.merged.prior,
            base=entries.last.number,
            config=state.digest(reading.merged.values),
            holder=self._tools.holder,
            started=self._clock().isoformat(),
            cause=cause,
            corrects=job.corrects,
            timeout=job.release.timeout,
            interrupted=state.record.interruptions(cause) if state.record else 0,
        )
        if not job.allowed():
            return
        with self._tools.alive(record.id):
            await self._store.update(lambda known: known.begin(record), state)
            # The last look before helm starts, with nothing to wait for in between.
            if (await self._fresh()) == entries and job.allowed():
                await self._helm_upgrade(job, chart, reading, record, entries)

    async def _helm_upgrade(self, job: Job, chart: Path, reading: Reading, record: Record, entries: Entries) -> None:
        release, profile = job.release, job.profile
        cost = "; the servers restart" if job.restarts else ""
        self._tell(("Normal", "UpgradeStarted", f"{self._name}: helm upgrade on revision {record.base}{cost}"))
        if job.restarts:
            self._tools.metrics.restarts_servers(profile, correction=record.corrects is not None)
        failure: HelmError | None = None
        try:
            await self._tools.helm.upgrade(
                Target(release.namespace, release.name),
                self._tools.access(release),
                chart,
                reading.merged.values,
                timeout=release.timeout,
                attempt=record.id,
                description=f"ConnectAutoscalingProfile {profile.name}, generation {profile.generation}",
                history_max=max(HISTORY, entries.count + 1),
                force_conflicts=release.on_conflict is OnConflict.FORCE,
            )
        except HelmError as error:
            failure = error
        # If this is cancelled, the operator ends: helm has rolled back or was killed, and whoever comes next judges.
        await self._recovery.judge(job, failure)

    async def _remember(self, job: Job) -> None:
        entries = await self._reader.entries()
        if entries is not None and entries.deployed is not None:
            reading = await self._read(job, entries)
            if not reading.facts.changes:
                await self._store.update(lambda known: known.found(reading.facts.wanted, reading.merged.prior))

    async def _fresh(self) -> Entries | None:
        return Entries.of(await self._reader.all_entries())

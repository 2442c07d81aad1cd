"""Long work on a release: proof, upgrade, unlocking. Each is a child task of a profile; passes go on meanwhile."""

import asyncio
import base64
import contextlib
import logging
import secrets
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.spec import OnConflict, Release
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.preflight import preflight
from connect_autoscaler.core.release_model import Obstacle, Phase, Prepared, Work
from connect_autoscaler.core.release_reader import Reading, ReleaseReader
from connect_autoscaler.core.release_store import Store
from connect_autoscaler.core.release_tools import Job, Toolbox
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.release.charts import Credentials, verify
from connect_autoscaler.release.facts import Facts
from connect_autoscaler.release.helm import HelmError, Target, classify
from connect_autoscaler.release.history import Entries, Entry
from connect_autoscaler.release.manifest import Objects, changed, in_effect, objects, restarts, shown_by
from connect_autoscaler.release.merge import differences
from connect_autoscaler.release.outcome import Verdict, judge
from connect_autoscaler.release.state import Record, State
from connect_autoscaler.release.values import Json, effective

log = logging.getLogger(__name__)

_FAILED: Final = "failed"
_DEPLOYED: Final = "deployed"
_HISTORY: Final = 10
_FRESH: Final = timedelta(minutes=1)
"""How long a proof and a look for conflicts hold."""
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
        self._kube, self._tools, self._reader, self._store = kube, tools, reader, store
        self._clock, self._ended, self._tell = clock, ended, tell
        self._name = f"Release {reader.namespace}/{reader.name}"
        self._task: asyncio.Task[None] | None = None
        self.work: Work | None = None
        self.prepared: Prepared | None = None
        self.obstacle: Obstacle | None = None
        self._stumbles = 0
        self._chart: tuple[Path, datetime] | None = None

    def prepare(self, job: Job) -> None:
        """Begin to prove and to try the upgrade; `prepared` has the result."""
        self._start(Phase.PREPARING, self._prepare(job))

    def upgrade(self, job: Job) -> None:
        """Begin the upgrade; the release's Secrets and the store tell what has become of it."""
        identity = secrets.token_hex(8)
        self._start(Phase.UPGRADING, self._upgrade(job, identity), identity)

    def unlock(self, job: Job, entries: Entries) -> None:
        """Begin to undo the lock of an upgrade of ours that died."""
        self._start(Phase.UNLOCKING, self._unlock(job, entries))

    def settle(self, job: Job) -> None:
        """Judge an upgrade of ours of which nobody knows what became of it."""
        self._start(Phase.SETTLING, self._judge(job, None))

    def remember(self, job: Job) -> None:
        """Remember that the release carries the overlay without any work of ours."""
        self._start(Phase.PREPARING, self._remember(job))

    async def close(self) -> None:
        """End what is under way: helm gets SIGTERM, and its time to roll back."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def finish(self) -> None:
        """Wait for the end of an upgrade under way."""
        if self._task and self.work and self.work.phase is not Phase.PREPARING:
            await asyncio.gather(asyncio.shield(self._task), return_exceptions=True)

    def _start(self, phase: Phase, work: Coroutine[Any, Any, None], identity: str = "") -> None:
        if self._task:
            work.close()
            return
        self.work = Work(identity or secrets.token_hex(8), phase, self._clock())
        self._task = asyncio.create_task(self._run(work), name=f"{phase} {self._reader.namespace}/{self._reader.name}")

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with self._tools.slots:
                await work
            if self.obstacle is None or self.obstacle.until <= self._clock():
                self.obstacle, self._stumbles = None, 0
        except KubeError as error:
            log.warning("%s: %s", self._name, error)
            self._stumble(error.reason, error.message)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            # Where, but not what: the text of an exception may hold values.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s failed by a fault of the operator: %s\n%s", self._name, type(error).__name__, trace)  # noqa: TRY400
            self._stumble(Reason.INTERNAL_ERROR, "The operator failed; its log has the details, please report it")
        finally:
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
            chart, self.prepared = await self._try(job, reading)
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

    async def _try(self, job: Job, reading: Reading) -> tuple[Path, Prepared]:
        """Prove that the chart renders what is installed, then see what the merged values would change."""
        tools, revision, facts = self._tools, reading.revision, reading.facts
        target, access = Target(job.release.namespace, job.release.name), tools.access(job.release)
        await tools.helm.version()
        chart = await tools.charts.fetch(
            job.release.chart, revision.chart_version, await self._credentials(job.release)
        )
        await asyncio.to_thread(verify, chart, revision.templates, revision.chart_version)
        before = objects(revision.manifest, job.release.namespace)
        today = await tools.helm.render(target, access, chart, revision.config)
        if today != revision.manifest:
            tools.charts.forget(chart)
            named = ", ".join(map(str, changed(before, objects(today, job.release.namespace)))) or "only spelling"
            raise HelmError(
                Reason.CHART_MISMATCH,
                f"Chart {facts.chart} at hand does not render the installed release from its own values; it differs in "
                f"{named}. Name in spec.release.chart what it was installed from, or quote large numbers in values",
            )
        after = objects(await tools.helm.render(target, access, chart, reading.merged.values), job.release.namespace)
        if facts.server is None:
            raise HelmError(
                Reason.OVERLAY_INEFFECTIVE, "The chart renders no Deployment with a container named connect"
            )
        expected = in_effect(effective(revision.defaults, reading.merged.values), facts.wanted)
        _see(facts, after, expected)
        differing = changed(before, after)
        touched = {*differing, *(key for key in facts.server if key and job.live)}
        if facts.apply_method == "ssa" and job.release.on_conflict is OnConflict.FAIL:
            await preflight(
                self._kube, {key: after[key] for key in touched if key in after}, facts.server, expected, access.user
            )
        return chart, Prepared(job.key, restarts=restarts(before, after, facts.server))

    async def _credentials(self, release: Release) -> Credentials | None:
        if not (release.chart and release.chart.secret_name):
            return None
        secret = await self._kube.get(f"/api/v1/namespaces/{release.namespace}/secrets/{release.chart.secret_name}")
        data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
        if not {"username", "password"} <= data.keys():
            raise HelmError(
                Reason.CHART_UNAVAILABLE,
                f"Secret {release.chart.secret_name} needs the keys username and password",
            )
        return Credentials(data["username"], data["password"])

    async def _upgrade(self, job: Job, identity: str) -> None:
        entries = await self._fresh()
        if entries is None or entries.deployed is None or entries.last.pending:
            return  # somebody else is at work, or was: the next pass sees it
        reading = await self._read(job, entries)
        chart, until = self._chart or (None, self._clock())
        if chart is None or until <= self._clock() or self.prepared is None or self.prepared.key != job.key:
            before = self.prepared
            await self._prepare(job)
            if self._chart is None or before is None or self.prepared != before:
                return  # not as announced: that has to be announced first
            chart = self._chart[0]
        state = await self._store.load() or State.new()
        record = Record(
            id=identity,
            overlay=reading.facts.wanted,
            prior=reading.merged.prior,
            base=entries.last.number,
            config=state.digest(reading.merged.values),
            holder=self._tools.holder,
            started=self._clock().isoformat(),
            cause=state.cause(
                state.digest(reading.revision.config),
                reading.facts.chart,
                reading.facts.wanted,
                job.profile.generation,
                requested_at(job.profile),
            ),
            corrects=job.corrects,
        )
        await self._store.update(lambda known: known.begin(record), state)
        if (await self._fresh()) != entries:
            return
        await self._helm_upgrade(job, chart, reading, record, entries)

    async def _helm_upgrade(self, job: Job, chart: Path, reading: Reading, record: Record, entries: Entries) -> None:
        release, profile = job.release, job.profile
        self._tell(("Normal", "UpgradeStarted", f"{self._name}: helm upgrade on revision {record.base}{self._cost()}"))
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
                history_max=max(_HISTORY, entries.count + 1),
                force_conflicts=release.on_conflict is OnConflict.FORCE,
            )
        except HelmError as error:
            failure = error
        except asyncio.CancelledError:
            # The operator ends. Helm has rolled back or was killed; whoever comes next judges by the Secrets.
            raise
        await self._judge(job, failure)

    def _cost(self) -> str:
        return "; the servers restart" if self.prepared and self.prepared.restarts else ""

    async def _remember(self, job: Job) -> None:
        entries = await self._reader.entries()
        if entries is not None and entries.deployed is not None:
            reading = await self._read(job, entries)
            if not reading.facts.changes:
                await self._store.update(lambda known: known.found(reading.facts.wanted, reading.merged.prior))

    async def _judge(self, job: Job, failure: HelmError | None) -> None:
        """Tell from the release's Secrets what has become of the upgrade on record, and remember it."""
        self._store.forget()
        state = await self._store.load()
        if state is None or state.record is None or state.record.finished:
            return
        record = state.record
        history = {entry.number: entry for entry in await self._reader.all_entries()}
        next_one = history.get(record.base + 1)
        revision = await self._reader.revision(next_one) if next_one else None
        after = history.get(record.base + 2)
        last = await self._reader.revision(after) if after else None
        undone = last is not None and last.rollback_to is not None
        mine = revision is not None and revision.attempt == record.id and state.digest(revision.config) == record.config
        if next_one and not mine and await self._bring_back(job, state, record, history):
            return
        if failure is None and mine and revision is not None and revision.status == _FAILED:
            failure = classify(f"Error: {revision.description}", revision.config)  # Helm leaves its last words there
        verdict = judge(next_one, after, mine=mine, undone=undone, failure=failure)
        if last and mine and last.status == _DEPLOYED and state.digest(last.config) == record.config:
            verdict = Verdict(None)  # its lock was undone by completing it
        if verdict is None:
            return  # still locked
        if verdict.reason is None:
            await self._store.update(lambda known: known.succeeded(self._clock()))
            self._tell(("Normal", "UpgradeSucceeded", f"{self._name}: revision {record.base + 1} is deployed"))
        else:
            reason, message = verdict.reason, verdict.message
            await self._store.update(lambda known: known.failed(reason, message))
            self._tell(("Warning", "UpgradeFailed", f"{self._name}: {verdict.message}"))

    async def _bring_back(self, job: Job, state: State, record: Record, history: Mapping[int, Entry]) -> bool:
        """Undo an upgrade of ours that wrote over a stranger's unseen, since Helm knows no guarded write.

        His revision is rolled back to, with its values and its chart; then the upgrade is made again on top of it.
        """
        ours = max(history)
        if ours == record.base + 1 or not history[ours].deployed:
            return False
        revision = await self._reader.revision(history[ours])
        if revision.attempt != record.id or state.digest(revision.config) != record.config:
            return False
        theirs = max(number for number in history if number < ours)
        text = f"Revision {theirs} came first; it is brought back, and the upgrade made again with its values"
        self._tell(("Warning", "UpgradeRaced", f"{self._name}: {text}"))
        with contextlib.suppress(HelmError):  # the next pass sees what became of it
            await self._tools.helm.rollback(
                Target(job.release.namespace, job.release.name),
                self._tools.access(job.release),
                theirs,
                timeout=job.release.timeout,
                history_max=max(_HISTORY, len(history) + 1),
            )
        await self._store.update(lambda known: known.failed(Reason.CANCELLED, text))
        return True

    async def _unlock(self, job: Job, entries: Entries) -> None:
        """Take the lock of our dead upgrade: forward if its rollout is complete, else back; neither costs a restart."""
        state = await self._store.load()
        fresh = await self._fresh()
        if state is None or state.record is None or fresh != entries or not entries.last.pending:
            return
        record = state.record
        begun = next((e for e in await self._reader.all_entries() if e.number == record.base + 1), entries.last)
        revision = await self._reader.revision(begun)
        if revision.attempt != record.id or state.digest(revision.config) != record.config:
            text = "The upgrade did not begin: somebody's came before"
            await self._store.update(lambda known: known.failed(Reason.CANCELLED, text))
            return
        # Should this process die, too, the next one has to know the rollback that it finds under way.
        await self._store.update(lambda known: known.begin(replace(record, reason=Reason.CANCELLED)))
        forward = await self._reader.carries(revision)
        target = record.base + 1 if forward else record.base
        what = "completed" if forward else "rolled back"
        self._tell(("Warning", "ReleaseUnlocked", f"{self._name}: an interrupted upgrade is {what}"))
        failure: HelmError | None = None
        try:
            await self._tools.helm.rollback(
                Target(job.release.namespace, job.release.name),
                self._tools.access(job.release),
                target,
                timeout=job.release.timeout,
                history_max=max(_HISTORY, entries.count + 1),
            )
        except HelmError as error:
            failure = error
        if failure is not None and failure.passing:
            self._stumble(failure.reason, failure.message)  # the lock is still ours to undo
        elif failure is None and forward:
            await self._store.update(lambda known: known.succeeded(self._clock()))
        else:
            reason = failure.reason if failure else Reason.CANCELLED
            text = failure.message if failure else "The upgrade was interrupted"
            await self._store.update(lambda known: known.failed(reason, text))

    async def _fresh(self) -> Entries | None:
        return Entries.of(await self._reader.all_entries())


def _see(facts: Facts, after: Objects, expected: Json) -> None:
    """Make sure that every value of the overlay shows in what would be applied."""
    assert facts.server is not None  # noqa: S101 - the caller has seen to it
    if unseen := differences(shown_by(after, facts.server), expected):
        raise HelmError(
            Reason.OVERLAY_INEFFECTIVE,
            f"Chart {facts.chart} does not render {', '.join(c.pointer for c in unseen)}; upgrade the chart",
        )

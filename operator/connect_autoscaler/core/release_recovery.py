"""After an upgrade: what has become of it, and how one that died gives the release free again."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.metrics import RELEASE
from connect_autoscaler.core.release_reader import ReleaseReader, Rollout
from connect_autoscaler.core.release_store import Store
from connect_autoscaler.core.release_tools import Job, Toolbox
from connect_autoscaler.release.helm import HelmError, Target, classify
from connect_autoscaler.release.history import Entries, Entry
from connect_autoscaler.release.outcome import Verdict, judge
from connect_autoscaler.release.state import Record, State

_FAILED: Final = "failed"
_DEPLOYED: Final = "deployed"
HISTORY: Final = 10
"""Revisions that Helm keeps, at least."""


class Recovery:
    """Ends upgrades of one release.

    Args:
        tools: What all releases share.
        reader: Reads the release.
        store: Remembers.
        clock: The time.
        tell: Posts events.
    """

    def __init__(
        self,
        tools: Toolbox,
        reader: ReleaseReader,
        store: Store,
        clock: Callable[[], datetime],
        tell: Callable[[Event], None],
    ) -> None:
        self._tools, self._reader, self._store, self._clock, self._tell = tools, reader, store, clock, tell
        self._name = f"Release {reader.namespace}/{reader.name}"

    async def judge(self, job: Job, failure: HelmError | None) -> None:
        """Tell from the release's Secrets what has become of the upgrade on record, and remember it.

        Args:
            job: What it was for.
            failure: What Helm said; None: nothing, or nobody heard it.

        Raises:
            KubeError: The release or the memory of it cannot be read or written.
        """
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
        verdict, number = judge(next_one, after, mine=mine, undone=undone, failure=failure), record.base + 1
        if last and mine and last.status == _DEPLOYED and state.digest(last.config) == record.config:
            # Its lock was undone by completing it, or what it went back to has the very same values.
            verdict, number = Verdict(None), last.number
        if verdict is None:
            return  # still locked
        if verdict.reason is None:
            await self._succeeded(job, record, f"revision {number} is deployed")
        else:
            reason, message = verdict.reason, verdict.message
            await self._store.update(lambda known: known.failed(reason, message))
            self._failed(record, message)

    async def _succeeded(self, job: Job, record: Record, text: str) -> None:
        await self._store.update(lambda known: known.succeeded(self._clock()))
        self._tell(("Normal", "UpgradeSucceeded", f"{self._name}: {text}"))
        if record.corrects:
            self._tools.metrics.release_healed(job.profile, record.started, self._clock())

    def _failed(self, record: Record, text: str) -> None:
        self._tell(("Warning", "UpgradeFailed", f"{self._name}: {text}"))
        if record.corrects:
            self._tools.metrics.not_healed(RELEASE)

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
            await self._roll(job, theirs, len(history))
        await self._store.update(lambda known: known.failed(Reason.CANCELLED, text))
        return True

    async def unlock(self, job: Job, entries: Entries) -> None:
        """Take the lock of our dead upgrade, with the fewest restarts.

        Forward if its servers are what the Deployment asks for by now: they are coming up, or run already, and each way
        back would restart them. Else, or if they do not come up, or are not wanted any more, back to what ran before.

        Args:
            job: What the profile wants now.
            entries: The revisions that were decided on.

        Raises:
            KubeError: The release or the memory of it cannot be read or written.
        """
        state = await self._store.load()
        fresh = Entries.of(await self._reader.all_entries())
        if state is None or state.record is None or fresh != entries or not entries.last.pending:
            return
        record = state.record
        history = {entry.number: entry for entry in await self._reader.all_entries()}
        revision = await self._reader.revision(history.get(record.base + 1, entries.last))
        if revision.attempt != record.id or state.digest(revision.config) != record.config:
            text = "The upgrade did not begin: somebody's came before"
            await self._store.update(lambda known: known.failed(Reason.CANCELLED, text))
            return
        if record.reason is None and entries.last.number == record.base + 2:
            back = await self._reader.revision(entries.last)
            if back.rollback_to not in {record.base, entries.deployed.number if entries.deployed else None}:
                text = "The upgrade failed, and somebody is going back from it"
                await self._store.update(lambda known: known.failed(Reason.CANCELLED, text))
                return
        # Should this process die, too, the next one has to know the rollback that it finds under way, and whose it is.
        mine = replace(
            record,
            reason=Reason.CANCELLED,
            holder=self._tools.holder,
            started=self._clock().isoformat(),
            timeout=job.release.timeout,
        )
        with self._tools.alive(record.id):
            await self._store.update(lambda known: known.begin(mine))
            rollout = await self._reader.rollout(revision)
            forward = (
                rollout is Rollout.COMPLETE
                or (rollout is Rollout.UNDER_WAY and await self._still_wanted(job, record, entries))
                or await self._same_values(state, record, history)
            )
            await self._take(job, record, entries, forward=forward)

    async def _same_values(self, state: State, record: Record, history: Mapping[int, Entry]) -> bool:
        """Whether both ways lead to the same values: live objects alone were to be put right."""
        if record.base not in history:
            return False
        base = await self._reader.revision(history[record.base])
        return state.digest(base.config) == record.config

    async def _still_wanted(self, job: Job, record: Record, entries: Entries) -> bool:
        if entries.deployed is None:
            return True
        reading = await self._reader.read(
            job.profile, entries, job.state, job.server_pools, job.content_pools, wanted=job.wanted
        )
        return bool(reading.facts.wanted == record.overlay)

    async def _take(self, job: Job, record: Record, entries: Entries, *, forward: bool) -> None:
        """Complete the upgrade, or roll it back."""
        what = "completed" if forward else "rolled back"
        self._tell(("Warning", "ReleaseUnlocked", f"{self._name}: an interrupted upgrade is {what}"))
        failure = await self._tried(job, record.base + 1 if forward else record.base, entries.count)
        if forward and failure is None:
            await self._succeeded(job, record, "an interrupted upgrade is deployed")
            return
        reason, text = Reason.CANCELLED, "The upgrade was interrupted"
        if forward and failure is not None and not failure.passing:
            reason, text = (
                Reason.ROLLED_BACK,
                f"The upgrade was interrupted; resumed, it failed: {failure.message}",
            )
            failure = await self._tried(job, record.base, entries.count + 1)
        if failure is not None and failure.passing:
            raise failure  # the lock is still ours to undo
        if failure is not None:
            reason, text = failure.reason, failure.message
        await self._store.update(lambda known: known.failed(reason, text))
        if reason is not Reason.CANCELLED:
            self._failed(record, text)

    async def _tried(self, job: Job, revision: int, count: int) -> HelmError | None:
        try:
            await self._roll(job, revision, count)
        except HelmError as error:
            return error
        return None

    async def _roll(self, job: Job, revision: int, count: int) -> None:
        await self._tools.helm.rollback(
            Target(job.release.namespace, job.release.name),
            self._tools.access(job.release),
            revision,
            timeout=job.release.timeout,
            history_max=max(HISTORY, count + 1),
        )

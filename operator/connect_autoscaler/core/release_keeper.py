"""One profile's release: what is seen of it, and the long work on it."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Policy, Release, ReleaseManager
from connect_autoscaler.core.digest import digest
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.holders import gone
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.model import Action, Verb
from connect_autoscaler.core.release_model import Attempted, ReleaseView
from connect_autoscaler.core.release_reader import Pools, ReleaseReader
from connect_autoscaler.core.release_store import Store
from connect_autoscaler.core.release_work import Job, Toolbox, Workshop
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.release.history import Entries
from connect_autoscaler.release.state import State
from connect_autoscaler.release.values import get


class ReleaseKeeper:
    """Looks after the release of one profile.

    Args:
        kube: The connection.
        tools: What all releases share.
        clock: The time.
        changed: Told of everything that calls for another pass.
        tell: Posts events of the profile.
    """

    def __init__(
        self,
        kube: Kube,
        tools: Toolbox,
        clock: Callable[[], datetime],
        changed: Callable[[], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._kube, self._tools, self._clock, self._changed, self._tell = kube, tools, clock, changed, tell
        self._reader: ReleaseReader | None = None
        self._store: Store | None = None
        self._workshop: Workshop | None = None
        self._seen: tuple[Entries, State | None] | None = None

    async def look(
        self, profile: Profile, server_pools: Pools, content_pools: Pools, *, wanted: bool = True
    ) -> ReleaseView | None:
        """Gather all that is to be known about the release now.

        Args:
            profile: The profile.
            server_pools: NodePools of the servers, rendered or live.
            content_pools: NodePools of content, rendered or live.
            wanted: False to see what giving back would change.

        Returns:
            None, if the profile has no release, or cares not for it.
        """
        release = profile.spec.release
        if release is None or profile.spec.drift_policy.release is Policy.IGNORE:
            await self.close()
            return None
        view: dict[str, Any] = {"namespace": release.namespace, "name": release.name}
        if problem := self._refused(release):
            return ReleaseView(**view, problem=problem)
        reader, store, workshop = self._open(profile, release)
        try:
            return await self._view(
                profile, server_pools, content_pools, reader, store, workshop, wanted=wanted, view=view
            )
        except KubeError as error:
            stalled = error.retry is Retry.USER
            return ReleaseView(
                **view, problem=Problem(error.reason, error.message, stalled=stalled), work=workshop.work
            )

    def _refused(self, release: Release) -> Problem | None:
        tools = self._tools
        if tools.namespaces is not None and release.namespace not in tools.namespaces:
            served = ", ".join(sorted(tools.namespaces)) or "none"
            return Problem(
                Reason.NAMESPACE_NOT_SERVED,
                f"Namespace {release.namespace} is not served; --release-namespaces are {served}",
            )
        if tools.account_required and release.service_account_name is None:
            return Problem(Reason.SERVICE_ACCOUNT_REQUIRED, Reason.SERVICE_ACCOUNT_REQUIRED.explain)
        return None

    def _open(self, profile: Profile, release: Release) -> tuple[ReleaseReader, Store, Workshop]:
        if self._reader is None or self._store is None or self._workshop is None:
            self._reader = ReleaseReader(self._kube, release, self._changed)
            self._store = Store(self._kube, release.namespace, profile.name, profile.uid)
            self._workshop = Workshop(
                self._kube, self._tools, self._reader, self._store, self._clock, self._changed, self._tell
            )
        return self._reader, self._store, self._workshop

    async def _view(
        self,
        profile: Profile,
        server_pools: Pools,
        content_pools: Pools,
        reader: ReleaseReader,
        store: Store,
        workshop: Workshop,
        *,
        wanted: bool,
        view: dict[str, Any],
    ) -> ReleaseView:
        entries = await reader.entries()
        if entries is None:
            return ReleaseView(**view, problem=_absent(reader), work=workshop.work)
        state = await store.load()
        view |= {
            "manager": ReleaseManager.HELM,
            "entries": entries,
            "work": workshop.work,
            "prepared": workshop.prepared,
        }
        if entries.deployed is None and workshop.work:
            return ReleaseView(**view)  # for a moment at the end of an upgrade no revision is deployed
        if entries.deployed is None:
            return ReleaseView(**view, problem=_undeployed(reader, entries))
        facts = await reader.facts(profile, entries, state, server_pools, content_pools, wanted=wanted)
        self._seen = entries, state
        record = state.record if state else None
        return ReleaseView(
            **view,
            facts=facts,
            applied=state is not None and bool(state.applied) and digest(state.applied) == digest(facts.wanted),
            taken_over=state is not None and bool(state.applied),
            key=digest(
                [
                    entries.deployed.uid,
                    entries.deployed.version,
                    facts.wanted,
                    profile.generation,
                    requested_at(profile),
                ]
            ),
            cause=state.cause(facts.config, facts.wanted, profile.generation, requested_at(profile)) if state else "",
            attempted=None
            if record is None
            else Attempted(
                record.id,
                record.base,
                datetime.fromisoformat(record.started),
                record.cause,
                record.finished,
                record.reason,
                record.message,
                orphaned=not record.finished
                and await gone(self._kube, record, self._tools.holder, self._clock(), profile),
            ),
            live=reader.live_changes(facts) if wanted else (),
            rolled_out=reader.rolled_out(facts),
            servers=len(reader.servers),
            selects=_selects(profile, reader.live(facts).values()),
            busy=reader.busy(facts),
            corrections=tuple((datetime.fromisoformat(time), by) for time, by in state.corrections) if state else (),
        )

    def begin(
        self,
        action: Action,
        profile: Profile,
        server_pools: Pools,
        content_pools: Pools,
        view: ReleaseView,
        corrects: str | None,
    ) -> None:
        """Begin long work."""
        if self._workshop is None or self._seen is None or profile.spec.release is None:
            return
        entries, state = self._seen
        job = Job(
            profile,
            profile.spec.release,
            state,
            server_pools,
            content_pools,
            wanted=action.verb is not Verb.RESTORE and not profile.deleting,
            key=view.key,
            live=bool(view.live),
            corrects=corrects,
        )
        match action.verb:
            case Verb.PREPARE:
                self._workshop.prepare(job)
            case Verb.UPGRADE | Verb.RESTORE:
                self._workshop.upgrade(job)
            case Verb.UNLOCK:
                self._workshop.unlock(job, entries)
            case Verb.SETTLE:
                self._workshop.settle()

    @property
    def work(self) -> Any:
        """What is under way."""
        return self._workshop.work if self._workshop else None

    async def forget(self) -> None:
        """Let go of what is remembered, for good: the last step of a profile's deletion."""
        if self._store:
            await self._store.delete()

    def refresh(self) -> None:
        """Look at everything afresh."""
        if self._store:
            self._store.forget()

    async def finish(self) -> None:
        """Wait for an upgrade that is under way."""
        if self._workshop:
            await self._workshop.finish()

    async def close(self) -> None:
        """End everything; an upgrade under way is rolled back."""
        if self._workshop:
            await self._workshop.close()
        if self._reader:
            self._reader.close()
        self._reader = self._store = self._workshop = self._seen = None


def _selects(profile: Profile, live: Iterable[Json]) -> bool:
    placement = profile.spec.placement
    selectors = (get(body, ("spec", "template", "spec", "nodeSelector")) or {} for body in live)
    return any(selector.get(placement.label_key) == placement.server for selector in selectors)


def _absent(reader: ReleaseReader) -> Problem:
    return Problem(
        Reason.RELEASE_NOT_FOUND,
        f"There is no Helm release {reader.name} in namespace {reader.namespace}; install it, or correct spec.release",
        stalled=False,
    )


def _undeployed(reader: ReleaseReader, entries: Entries) -> Problem:
    last = entries.last
    if last.pending:
        return Problem(
            Reason.PENDING_RELEASE,
            f"Revision {last.number} of release {reader.namespace}/{reader.name} is {last.status}; waits for its end",
            stalled=False,
        )
    return Problem(
        Reason.RELEASE_NOT_DEPLOYED,
        f"No revision of release {reader.namespace}/{reader.name} is deployed; the last one, {last.number}, is "
        f"{last.status}. Make helm upgrade --install succeed first",
        stalled=False,
    )

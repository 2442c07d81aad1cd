"""One profile's release: what is seen of it, and the long work on it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.names import LABEL_PROFILE
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Release, ReleaseManager
from connect_autoscaler.api.status import Disruption
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.holders import gone
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.model import Action, Verb
from connect_autoscaler.core.release_model import Attempted, LiveChange, ReleaseView
from connect_autoscaler.core.release_reader import Pools, ReleaseReader
from connect_autoscaler.core.release_store import Store, marks
from connect_autoscaler.core.release_tools import Job, Toolbox, upgrade_key
from connect_autoscaler.core.release_work import Workshop
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.release.exceptions import ignored, without
from connect_autoscaler.release.export import advice, config_map, overridden, refers, shadows
from connect_autoscaler.release.facts import Facts
from connect_autoscaler.release.history import Entries
from connect_autoscaler.release.owners import Owner, owner
from connect_autoscaler.release.pods import in_the_way
from connect_autoscaler.release.state import State
from connect_autoscaler.release.values import get

_HELM_RELEASES: Final = "/apis/helm.toolkit.fluxcd.io/v2"


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
        self,
        profile: Profile,
        server_pools: Pools,
        content_pools: Pools,
        *,
        wanted: bool = True,
        contested: bool = False,
    ) -> ReleaseView:
        """Gather all that is to be known about the release now.

        Args:
            profile: The profile; it has a release that it cares for.
            server_pools: NodePools of the servers, rendered or live.
            content_pools: NodePools of content, rendered or live.
            wanted: False to see what giving back would change.
            contested: Whether another profile claims the release, too, so that it matters who has taken it over.
        """
        if self._workshop:
            self._workshop.reconsider()
        release = _release(profile)
        view: dict[str, Any] = {"namespace": release.namespace, "name": release.name}
        if problem := self._refused(release):
            return ReleaseView(**view, problem=problem)
        try:
            if contested:
                view["marks"] = await marks(self._kube, release.namespace)
            return await self._view(profile, server_pools, content_pools, view, wanted=wanted)
        except KubeError as error:
            stalled = error.retry is Retry.USER
            return ReleaseView(**{**view, "problem": Problem(error.reason, error.message, stalled=stalled)})

    def _refused(self, release: Release) -> Problem | None:
        tools = self._tools
        if tools.namespaces is not None and release.namespace not in tools.namespaces:
            served = ", ".join(sorted(tools.namespaces)) or "none"
            return Problem(
                Reason.NAMESPACE_NOT_SERVED,
                f"Namespace {release.namespace} is not served; --release-namespaces are {served}",
            )
        return self._unaccountable(release) if release.manager is ReleaseManager.HELM else None

    def _unaccountable(self, release: Release) -> Problem | None:
        """Helm may have to be run as somebody; who never runs it needs nobody."""
        if self._tools.account_required and release.service_account_name is None:
            return Problem(Reason.SERVICE_ACCOUNT_REQUIRED, Reason.SERVICE_ACCOUNT_REQUIRED.explain)
        return None

    def _open(self, profile: Profile) -> tuple[ReleaseReader, Store, Workshop]:
        release = _release(profile)
        if self._reader is None or self._store is None or self._workshop is None:
            self._reader = ReleaseReader(self._kube, release, self._changed)
            self._store = Store(self._kube, release.namespace, profile.name, profile.uid)
            self._workshop = Workshop(
                self._kube, self._tools, self._reader, self._store, self._clock, self._changed, self._tell
            )
        return self._reader, self._store, self._workshop

    async def _view(
        self, profile: Profile, server_pools: Pools, content_pools: Pools, view: dict[str, Any], *, wanted: bool
    ) -> ReleaseView:
        reader, store, workshop = self._open(profile)
        view["work"] = workshop.work
        entries = await reader.entries()
        if entries is None:
            return await self._without_secrets(profile, server_pools, content_pools, reader, view)
        state = await store.load()
        view |= {"entries": entries, "prepared": workshop.prepared, "obstacle": workshop.obstacle}
        if entries.deployed is None and workshop.work:
            return ReleaseView(**view)  # for a moment at the end of an upgrade no revision is deployed
        if entries.deployed is None:
            return await self._undeployed(profile, entries, state, view)
        facts = await reader.facts(profile, entries, state, server_pools, content_pools, wanted=wanted)
        self._seen = entries, state
        whose = _owner(profile, reader.live_deployment(facts), secrets=True)
        if isinstance(whose, Problem):
            return ReleaseView(**view, problem=whose)
        if whose.manager is ReleaseManager.HELM and (problem := self._unaccountable(_release(profile))):
            return ReleaseView(**view, problem=problem)
        view |= await self._published(profile, whose, facts, reader)
        requested = profile.generation, requested_at(profile)
        return ReleaseView(
            **view,
            facts=facts,
            manager=whose.manager,
            applied=state is not None and bool(state.applied) and _applied(profile, state) == facts.wanted,
            taken_over=state is not None and bool(state.applied),
            key=upgrade_key(profile, entries.deployed, facts.wanted),
            cause=state.cause(facts.config, facts.chart, facts.wanted, *requested) if state else "",
            attempted=await self._attempted(profile, state),
            live=tuple(each for each in reader.live_changes(facts) if wanted and not _ignored(profile, each)),
            **_seen(profile, reader, facts),
            corrections=tuple((datetime.fromisoformat(time), by) for time, by in state.corrections) if state else (),
        )

    async def _undeployed(
        self, profile: Profile, entries: Entries, state: State | None, view: dict[str, Any]
    ) -> ReleaseView:
        """No revision is deployed: never one was, or Helm died between its last two writes of an upgrade of ours."""
        tried = await self._attempted(profile, state)
        if tried is None or tried.finished:
            return ReleaseView(**view, problem=_none_deployed(view, entries))
        self._seen = entries, state
        return ReleaseView(**view, attempted=tried)

    async def _without_secrets(
        self, profile: Profile, server_pools: Pools, content_pools: Pools, reader: ReleaseReader, view: dict[str, Any]
    ) -> ReleaseView:
        """A release that Argo CD or plain manifests made, or none at all."""
        deployment = await reader.deployment()
        whose = _owner(profile, deployment, secrets=False)
        if isinstance(whose, Problem):
            return ReleaseView(**view, problem=whose)
        if deployment is None or whose.manager is ReleaseManager.HELM:
            return ReleaseView(**view, problem=_absent(reader))
        facts = await reader.observe(profile, deployment, server_pools, content_pools)
        view |= await self._published(profile, whose, facts, reader)
        return ReleaseView(
            **view,
            facts=facts,
            manager=whose.manager,
            **_seen(profile, reader, facts),
        )

    async def _published(self, profile: Profile, whose: Owner, facts: Facts, reader: ReleaseReader) -> dict[str, Any]:
        """What is to be known if somebody else writes the release."""
        if whose.manager is ReleaseManager.HELM:
            return {}
        body = config_map(profile.name, reader.namespace, whose, facts.export)
        meta = body["metadata"]
        live = await reader.published(meta["namespace"], meta["name"])
        labels = live["metadata"].get("labels", {}) if live else {}
        if live is not None and labels.get(LABEL_PROFILE) != profile.name:
            text = f"ConfigMap {meta['namespace']}/{meta['name']} exists and is not this profile's; rename or delete it"
            return {"problem": Problem(Reason.NAME_TAKEN, text)}
        same = live is not None and live.get("data") == body["data"] and labels.items() >= meta["labels"].items()
        found = await self._helm_release(whose) if whose.manager is ReleaseManager.FLUX else None
        lacking = [change.pointer for change in (*facts.changes, *facts.ineffective)]
        shadowed: tuple[str, ...] = ()
        if found and refers(found, profile.name):
            shadowed = (*dict.fromkeys((*shadows(found, facts.wanted), *overridden(found, profile.name, lacking))),)
        return {
            "export": body,
            "published": live is not None,
            "exported": same,
            "advice": advice(profile.name, reader.namespace, whose),
            "shadowed": shadowed,
        }

    async def _helm_release(self, whose: Owner) -> Json | None:
        """The HelmRelease, if it may be seen; what cannot be seen is not judged."""
        try:
            return await self._kube.get(f"{_HELM_RELEASES}/namespaces/{whose.namespace}/helmreleases/{whose.name}")
        except KubeError:
            return None

    async def _attempted(self, profile: Profile, state: State | None) -> Attempted | None:
        record = state.record if state else None
        if record is None:
            return None
        return Attempted(
            record.id,
            record.base,
            datetime.fromisoformat(record.started),
            record.cause,
            record.finished,
            record.reason,
            record.message,
            interrupted=record.interrupted,
            corrects=record.corrects,
            orphaned=not record.finished and await gone(self._kube, record, self._tools, self._clock(), profile),
        )

    def begin(
        self,
        action: Action,
        profile: Profile,
        server_pools: Pools,
        content_pools: Pools,
        view: ReleaseView,
        corrects: str | None,
        allowed: Callable[[], bool],
    ) -> None:
        """Begin long work; an upgrade only as long as it is allowed."""
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
            restarts=action.disruption is Disruption.RESTARTS_SERVER,
            corrects=corrects,
            allowed=allowed,
        )
        match action.verb:
            case Verb.PREPARE:
                self._workshop.prepare(job)
            case Verb.UPGRADE | Verb.RESTORE:
                self._workshop.upgrade(job)
            case Verb.UNLOCK:
                self._workshop.unlock(job, entries)
            case Verb.SETTLE:
                self._workshop.settle(job)
            case Verb.REMEMBER:
                self._workshop.remember(job)

    def with_content(self, view: ReleaseView) -> ReleaseView:
        """A release as it was seen, with the content that runs at this moment."""
        return replace(view, busy=in_the_way(self._reader.content, view.since)) if self._reader else view

    async def publish(self, body: Json) -> None:
        """Write the ConfigMap of the overlay.

        Raises:
            KubeError: It cannot be written.
        """
        meta = body["metadata"]
        await self._kube.apply(f"/api/v1/namespaces/{meta['namespace']}/configmaps/{meta['name']}", body)

    async def withdraw(self, body: Json) -> None:
        """Delete the ConfigMap of the overlay, if it is still this profile's.

        Raises:
            KubeError: It cannot be read or deleted.
        """
        meta = body["metadata"]
        live = await self._reader.published(meta["namespace"], meta["name"]) if self._reader else None
        if live is not None and live["metadata"].get("labels", {}).get(LABEL_PROFILE) == meta["labels"][LABEL_PROFILE]:
            path = f"/api/v1/namespaces/{meta['namespace']}/configmaps/{meta['name']}"
            await self._kube.delete(path, live["metadata"]["uid"])

    @property
    def store(self) -> Store | None:
        """Where the release is remembered; None: it is not looked after."""
        return self._store

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


def _release(profile: Profile) -> Release:
    assert profile.spec.release is not None  # noqa: S101 - callers have seen to it
    return profile.spec.release


def _owner(profile: Profile, deployment: Json | None, *, secrets: bool) -> Owner | Problem:
    release = _release(profile)
    return owner(release.manager, release.namespace, release.name, deployment, secrets=secrets)


def _seen(profile: Profile, reader: ReleaseReader, facts: Facts) -> dict[str, Any]:
    """What runs."""
    deployment, since = reader.live_deployment(facts), reader.since(facts)
    placement, selector = profile.spec.placement, get(deployment, ("spec", "template", "spec", "nodeSelector")) or {}
    return {
        "server_pods": reader.servers,
        "content": reader.content,
        "deployment": deployment or {},
        "rolled_out": reader.rolled_out(facts),
        "since": since,
        "busy": in_the_way(reader.content, since),
        "selects": selector.get(placement.label_key) == placement.server,
    }


def _applied(profile: Profile, state: State) -> Json:
    return without(state.applied, partial(ignored, profile))


def _ignored(profile: Profile, each: LiveChange) -> bool:
    return ignored(profile, each.change.pointer, each.author.manager)


def _absent(reader: ReleaseReader) -> Problem:
    return Problem(
        Reason.RELEASE_NOT_FOUND,
        f"There is no Helm release {reader.name} in namespace {reader.namespace}; install it, or correct spec.release",
        stalled=False,
    )


def _none_deployed(view: Mapping[str, Any], entries: Entries) -> Problem:
    last, name = entries.last, f"{view['namespace']}/{view['name']}"
    if last.pending:
        return Problem(
            Reason.PENDING_RELEASE,
            f"Revision {last.number} of release {name} is {last.status}; waits for its end",
            stalled=False,
        )
    return Problem(
        Reason.RELEASE_NOT_DEPLOYED,
        f"No revision of release {name} is deployed; the last one, {last.number}, is {last.status}. "
        "Make helm upgrade --install succeed first",
        stalled=False,
    )

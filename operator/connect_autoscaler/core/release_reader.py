"""Reads one release: watches what belongs to it, and decodes its Secrets for the length of a pass."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.pointers import parts, pointer
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Release
from connect_autoscaler.core.digest import digest
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.release_model import LiveChange
from connect_autoscaler.core.watch import METADATA, Watch
from connect_autoscaler.nodepools.managers import UNKNOWN, author, owners
from connect_autoscaler.release.facts import Facts, assess, claims, guards, observe, server_of
from connect_autoscaler.release.history import Entries, Entry, Revision, UnreadableError, decode, readable
from connect_autoscaler.release.lists import RENDERED
from connect_autoscaler.release.manifest import (
    ObjectKey,
    Objects,
    Server,
    find_server,
    objects,
    place,
    runs_connect,
    shown_by,
)
from connect_autoscaler.release.merge import Change, Merged, differences
from connect_autoscaler.release.overlay import CONTENT_LABELS
from connect_autoscaler.release.pods import Pod, complete
from connect_autoscaler.release.state import State
from connect_autoscaler.release.values import get

_PATIENCE: Final = 5.0
_HELM: Final = "helm"
_HELMS: Final = ("secrets", "deployment", "config")
_RENDERED: Final = pointer(RENDERED)
Pools = Sequence[Mapping[str, Any]]


class Rollout(Enum):
    """How far the servers of a revision are."""

    NOT_BEGUN = auto()
    """The Deployment asks for others."""
    UNDER_WAY = auto()
    COMPLETE = auto()


@dataclass(frozen=True)
class Reading:
    """A release, decoded. Holds secrets: lives for a pass."""

    entries: Entries
    revision: Revision
    facts: Facts
    merged: Merged


class ReleaseReader:
    """Follows one release.

    Args:
        kube: The connection.
        release: Which one.
        changed: Told of every change.
    """

    def __init__(self, kube: Kube, release: Release, changed: Callable[[], None]) -> None:
        self._kube, self._changed = kube, changed
        self.namespace, self.name = release.namespace, release.name
        self._secrets = f"/api/v1/namespaces/{release.namespace}/secrets"
        self._selector = f"owner={_HELM},name={release.name}"
        self._watches: dict[str, Watch[Any]] = {}
        self._names: dict[str, object] = {}
        self._facts: tuple[str, Facts] | None = None
        self._modes: dict[str, tuple[str, ...]] = {}

    def close(self) -> None:
        """End all watches."""
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()

    def look_afresh(self) -> None:
        """List again what helm writes: it has just been at work, and a watch may be behind, or silent."""
        for role in _HELMS:
            if watch := self._watches.pop(role, None):
                watch.stop()
            self._names.pop(role, None)

    async def entries(self) -> Entries | None:
        """The revisions that matter; None: there is no release of that name.

        Raises:
            KubeError: They cannot be listed.
        """
        watch: Watch[Entry] = self._watch(
            "secrets", self._secrets, Entry.of, {"labelSelector": self._selector}, metadata=True
        )
        await watch.synced(_PATIENCE)
        return Entries.of(watch.items.values())

    async def all_entries(self) -> list[Entry]:
        """Every revision as it is at this moment, not as the watch has told.

        Raises:
            KubeError: They cannot be listed.
        """
        found = await self._kube.get(self._secrets, METADATA.format("List"), labelSelector=self._selector)
        return [entry for body in found["items"] or () if (entry := Entry.of(body))]

    async def rollout(self, revision: Revision) -> Rollout:
        """How far the servers of a revision are.

        Raises:
            KubeError: The Deployment cannot be read.
        """
        rendered, server = self._rendered(revision)
        if server is None:
            return Rollout.NOT_BEGUN
        key = server.deployment
        found = await self._kube.get(f"/apis/apps/v1/namespaces/{key.namespace}/deployments", **_named(key.name))
        live = next(iter(found["items"] or ()), None)
        checksum = ("spec", "template", "metadata", "annotations", "checksum/config")
        if live is None or get(live, checksum) != get(rendered[key], checksum):
            return Rollout.NOT_BEGUN
        alone = Server(key, None)
        if differences(shown_by({key: live}, alone), shown_by({key: rendered[key]}, alone)):
            return Rollout.NOT_BEGUN
        return Rollout.COMPLETE if complete(live) else Rollout.UNDER_WAY

    async def facts(
        self,
        profile: Profile,
        entries: Entries,
        state: State | None,
        server_pools: Pools,
        content_pools: Pools,
        *,
        wanted: bool,
    ) -> Facts:
        """What decisions need to know of the newest deployed revision; decoded only if anything changed.

        Raises:
            KubeError: It cannot be read.
        """
        taints = [get(pool, ("spec", "template")) for pool in (*server_pools, *content_pools)]
        key = digest(
            [
                entries.deployed.uid if entries.deployed else "",
                entries.deployed.version if entries.deployed else "",
                profile.uid,
                profile.generation,
                taints,
                state.applied if state else None,
                state is None,
                wanted,
            ]
        )
        if self._facts is None or self._facts[0] != key:
            reading = await self.read(profile, entries, state, server_pools, content_pools, wanted=wanted)
            self._facts = key, reading.facts
        facts = self._facts[1]
        await self._follow(facts.server, facts.selector, facts.content_namespace)
        return facts

    async def read(
        self,
        profile: Profile,
        entries: Entries,
        state: State | None,
        server_pools: Pools,
        content_pools: Pools,
        *,
        wanted: bool,
    ) -> Reading:
        """Decode the newest deployed revision and hold it against the profile.

        Raises:
            KubeError: It cannot be read.
        """
        assert entries.deployed is not None  # noqa: S101 - callers have seen to it
        revision = await self.revision(entries.deployed)
        await self._look_at_claims(revision)
        with _readable():
            facts, merged = assess(
                profile,
                revision,
                self.namespace,
                state,
                server_pools=server_pools,
                content_pools=content_pools,
                access_modes=self._modes,
                wanted=wanted,
            )
        return Reading(entries, revision, facts, merged)

    async def revision(self, entry: Entry) -> Revision:
        """Read and decode one revision."""
        secret = await self._kube.get(f"/api/v1/namespaces/{self.namespace}/secrets/{entry.name}")
        with _readable():
            return decode(secret)

    async def _follow(self, server: Server | None, selector: Mapping[str, str], content_namespace: str) -> None:
        """Watch the objects that carry the overlay, and the pods."""
        if server is None:
            return
        base = f"/namespaces/{server.deployment.namespace}"
        named = _named(server.deployment.name)
        watches = [self._watch("deployment", f"/apis/apps/v1{base}/deployments", _whole, named)]
        if server.config:
            watches.append(self._watch("config", f"/api/v1{base}/configmaps", _whole, _named(server.config.name)))
        if selector:
            labels = {"labelSelector": _labels(selector)}
            watches.append(self._watch("servers", f"/api/v1{base}/pods", Pod.of, labels))
        labels = {"labelSelector": _labels(CONTENT_LABELS)}
        watches.append(self._watch("content", f"/api/v1/namespaces/{content_namespace}/pods", Pod.of, labels))
        for watch in watches:
            await watch.synced(_PATIENCE)

    async def deployment(self) -> Json | None:
        """The Deployment of Connect servers of a release that has no Secrets; None: there is none.

        Raises:
            KubeError: Deployments cannot be listed.
        """

        def ours(body: Json) -> Json | None:
            labels = get(body, ("spec", "template", "metadata", "labels")) or {}
            return body if runs_connect(body) and labels.get("app.kubernetes.io/instance") == self.name else None

        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        watch: Watch[Json] = self._watch("deployments", path, ours, {})
        await watch.synced(_PATIENCE)
        return min(watch.items.values(), key=lambda body: str(body["metadata"]["name"]), default=None)

    async def observe(self, profile: Profile, deployment: Json, server_pools: Pools, content_pools: Pools) -> Facts:
        """What live objects alone tell.

        Raises:
            KubeError: They cannot be read.
        """
        server = server_of(deployment)
        selector = get(deployment, ("spec", "selector", "matchLabels")) or {}
        await self._follow(server, selector, self.namespace)
        live = self.live(server)
        return observe(profile, live, server, server_pools=server_pools, content_pools=content_pools)

    async def published(self, namespace: str, name: str) -> Json | None:
        """The ConfigMap in which the overlay is published; None: it does not exist.

        Raises:
            KubeError: It cannot be read.
        """
        watch: Watch[Json] = self._watch("export", f"/api/v1/namespaces/{namespace}/configmaps", _whole, _named(name))
        await watch.synced(_PATIENCE)
        return watch.items.get(name)

    def _watch(
        self, role: str, path: str, keep: Callable[[Json], Any], query: Mapping[str, str], *, metadata: bool = False
    ) -> Watch[Any]:
        wanted = (path, dict(query))
        if self._names.get(role) != wanted:
            if role in self._watches:
                self._watches[role].stop()
            self._watches[role] = Watch(self._kube, path, keep, self._changed, metadata=metadata, **query)
            self._names[role] = wanted
        return self._watches[role]

    def _items(self, role: str) -> Mapping[str, Any]:
        watch = self._watches.get(role)
        return watch.items if watch else {}

    def live(self, server: Server | None) -> dict[ObjectKey, Json]:
        """The live objects that carry the overlay, those that exist."""
        found = {}
        for key, role in zip(server or (), ("deployment", "config"), strict=False):
            if key and (body := self._items(role).get(key.name)):
                found[key] = body
        return found

    def live_changes(self, facts: Facts) -> tuple[LiveChange, ...]:
        """What live objects and running servers do not show of the overlay."""
        if facts.server is None:
            return ()
        live = self.live(facts.server)
        found = []
        gone = [key for key in facts.server if key and key not in live]
        found += [LiveChange(str(key), _gone(), UNKNOWN, guards=key.kind == "Deployment") for key in gone]
        for change in facts.missing(live):
            where = place(change.pointer)
            key = facts.server.config if where.in_config else facts.server.deployment
            if key and key in live:
                path = _path(where.pointer)
                who = author(live[key], path, own=_HELM)
                mutated = who is UNKNOWN and any(owner.manager == _HELM for owner in owners(live[key], path))
                moved = _moved(change, where.pointer)
                found.append(LiveChange(str(key), moved, who, guards=guards(change.pointer), mutated=mutated))
        if not found and self.rolled_out(facts):
            for pod in sorted(self.servers, key=lambda pod: pod.name):
                for change in () if pod.terminating or pod.over else facts.missing_in_pod(pod.body):
                    shown = place(change.pointer).pointer.removeprefix("/spec/template")
                    key = ObjectKey("Pod", pod.namespace, pod.name)
                    found.append(LiveChange(str(key), _moved(change, shown), UNKNOWN, guards=guards(change.pointer)))
        return tuple(found)

    @property
    def servers(self) -> tuple[Pod, ...]:
        """Pods of the server."""
        return tuple(self._items("servers").values())

    @property
    def content(self) -> tuple[Pod, ...]:
        """Pods of content."""
        return tuple(self._items("content").values())

    def rolled_out(self, facts: Facts) -> bool:
        """Whether all servers are of the Deployment's present template, and available."""
        deployment = self.live_deployment(facts)
        return deployment is not None and complete(deployment)

    def live_deployment(self, facts: Facts) -> Json | None:
        """The live Deployment of the servers; None: it does not exist."""
        return self.live(facts.server).get(facts.server.deployment) if facts.server else None

    def since(self, facts: Facts) -> datetime | None:
        """When servers came up that have renders annotated; None: none does so.

        What else of the overlay is to change is of no account: renders are told by their annotation alone.
        """
        annotating = not any(each.pointer.startswith(_RENDERED) and each.actual is None for each in facts.changes)
        carrying = [pod.created for pod in self.servers if pod.ready and not facts.missing_in_pod(pod.body)]
        if not annotating:
            return None
        return min(carrying, default=None)

    def _rendered(self, revision: Revision) -> tuple[Objects, Server | None]:
        """The objects of a revision, and which of them are the servers."""
        with _readable(), readable(f"The manifest of revision {revision.number}"):
            rendered = objects(revision.manifest, self.namespace)
            return rendered, find_server(rendered)

    async def _look_at_claims(self, revision: Revision) -> None:
        """Read the access modes of the claims that the server mounts; what cannot be read stays unknown."""
        rendered, server = self._rendered(revision)
        with _readable(), readable(f"The manifest of revision {revision.number}"):
            mounted = claims(rendered[server.deployment]) if server else ()
        for name in mounted:
            with contextlib.suppress(KubeError):
                found = await self._kube.get(f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims/{name}")
                self._modes[name] = tuple(found["spec"].get("accessModes", ()))


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Say of what is no release of Helm's what one can do about it.

    Raises:
        KubeError: Instead of the `UnreadableError`.
    """
    try:
        yield
    except UnreadableError as error:
        raise KubeError(0, Reason.UNSUPPORTED_STORAGE, str(error), Retry.LATER) from None


def _gone() -> Change:
    return Change("/", {}, None)


def _moved(change: Change, where: str) -> Change:
    return replace(change, pointer=where)


def _path(where: str) -> tuple[str, ...]:
    """The path of what one manager owns as a whole: a list, or a text that holds a document."""
    return parts(where.partition("[")[0].partition("#")[0])


def _whole(body: Json) -> Json:
    return body


def _named(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"}


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))

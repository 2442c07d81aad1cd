"""What a pass needs to know of a decoded release: everything that decisions depend on, and no secret. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem
from connect_autoscaler.api.pointers import covers
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.release.exceptions import ignored, without
from connect_autoscaler.release.export import exported
from connect_autoscaler.release.history import Revision, readable
from connect_autoscaler.release.manifest import (
    GCFG,
    ObjectKey,
    Objects,
    Server,
    find_server,
    gcfg_value,
    in_effect,
    objects,
    service_url,
    shown_by,
    shown_by_pod,
)
from connect_autoscaler.release.merge import Change, Merged, differences, merge
from connect_autoscaler.release.overlay import SERVER_ANNOTATIONS, SERVER_SELECTOR, overlay
from connect_autoscaler.release.refusals import Subject, refusal
from connect_autoscaler.release.state import State
from connect_autoscaler.release.values import Json, effective, get

_GUARDS: Final = ("/tolerations", *("/" + "/".join(path) for path in (SERVER_SELECTOR, SERVER_ANNOTATIONS)))
_SELECTOR: Final = ("spec", "selector", "matchLabels")


@dataclass(frozen=True)
class Facts:
    """A release as decisions see it."""

    revision: int
    description: str
    rollback_to: int | None
    deployed_at: datetime | None
    chart: str
    """Name and version, such as ``rstudio-connect-0.21.0``."""
    apply_method: str
    server: Server | None
    selector: Mapping[str, str]
    """Labels by which the Deployment selects its pods."""
    content_namespace: str
    problem: Problem | None
    """Why the overlay is impossible."""
    config: str
    """Salted digest of the user's values; empty as long as nothing is remembered."""
    wanted: Json
    """The overlay."""
    expected: Json
    """What objects are to show: the overlay, where the user's own values do not serve instead."""
    changes: tuple[Change, ...]
    """What the values lack; none: the release carries the overlay."""
    kept: tuple[Change, ...]
    ineffective: tuple[Change, ...]
    """What the values have and the stored manifest does not show."""
    export: Json
    """The merged values, as far as the overlay is about them."""
    service: str | None = None
    """Address of the servers from within the cluster; None: the chart rendered no Service."""

    def missing(self, live: Objects) -> tuple[Change, ...]:
        """What live objects do not show although the stored manifest does."""
        if self.server is None:
            return ()
        untold = {change.pointer for change in (*self.changes, *self.ineffective)}
        found = differences(shown_by(live, self.server), self.expected)
        return tuple(change for change in found if change.pointer not in untold)

    def missing_in_pod(self, pod: Mapping[str, Any]) -> tuple[Change, ...]:
        """What a server pod does not show of its part of the overlay."""
        untold = {change.pointer for change in (*self.changes, *self.ineffective)}
        expected = {key: value for key, value in self.expected.items() if key not in {"backends", "config"}}
        found = differences(shown_by_pod(pod), expected)
        return tuple(change for change in found if change.pointer not in untold)


def assess(
    profile: Profile,
    revision: Revision,
    namespace: str,
    state: State | None,
    *,
    server_pools: Sequence[Mapping[str, Any]],
    content_pools: Sequence[Mapping[str, Any]],
    access_modes: Mapping[str, Sequence[str]],
    wanted: bool = True,
) -> tuple[Facts, Merged]:
    """Hold a release against what the profile wants of it.

    Args:
        profile: The profile.
        revision: The newest deployed revision, decoded.
        namespace: Of the release.
        state: What is remembered of it.
        server_pools: The NodePool of the servers, rendered or live.
        content_pools: The NodePools of content, rendered or live.
        access_modes: Of the claims that the server mounts, as far as known.
        wanted: False to give back what was taken over.

    Returns:
        What decisions need, and the merged values, which hold secrets.

    Raises:
        UnreadableError: The stored manifest is none of Helm's.
    """
    with readable(f"The manifest of revision {revision.number}"):
        rendered = objects(revision.manifest, namespace)
        server = find_server(rendered)
        deployment = rendered[server.deployment] if server else {}
        selector = dict(get(deployment, _SELECTOR) or {})
        shown = shown_by(rendered, server) if server else {}
        service = service_url(rendered, selector)
        content_namespace = _content_namespace(rendered, server) or namespace
        claims(deployment)
    asked = overlay(profile, _taints(server_pools), _taints(content_pools), selector) if wanted else {}
    applied = state.applied if state else {}
    if wanted:
        left_alone = partial(ignored, profile)
        asked, applied = without(asked, left_alone), without(applied, left_alone)
    values = effective(revision.defaults, revision.config)
    merged = merge(revision.config, revision.defaults, applied, asked, state.prior if state else {})
    expected = in_effect(values, asked)
    unset = {change.pointer for change in merged.changes}
    subject = Subject(revision, values, merged, deployment, server_pools, content_pools, access_modes)
    facts = Facts(
        revision=revision.number,
        description=revision.description,
        rollback_to=revision.rollback_to,
        deployed_at=revision.deployed_at,
        chart=f"{revision.chart}-{revision.chart_version}",
        apply_method=revision.apply_method,
        server=server,
        selector=selector,
        content_namespace=content_namespace,
        service=service,
        problem=refusal(subject) if wanted else None,
        config=state.digest(revision.config) if state else "",
        wanted=asked,
        expected=expected,
        changes=merged.needed,
        kept=merged.kept,
        export=exported(merged.values, asked),
        ineffective=tuple(c for c in differences(shown, expected) if c.pointer not in unset) if server else (),
    )
    return facts, merged


def observe(
    profile: Profile,
    live: Objects,
    server: Server,
    *,
    server_pools: Sequence[Mapping[str, Any]],
    content_pools: Sequence[Mapping[str, Any]],
) -> Facts:
    """The same of a release without Secrets, from its live objects: they are all there is to compare with.

    Args:
        profile: The profile.
        live: Its objects.
        server: Those that carry the overlay.
        server_pools: The NodePool of the servers, rendered or live.
        content_pools: The NodePools of content, rendered or live.
    """
    deployment = live.get(server.deployment, {})
    selector = get(deployment, _SELECTOR) or {}
    asked = overlay(profile, _taints(server_pools), _taints(content_pools), selector)
    asked = without(asked, partial(ignored, profile))
    shown = shown_by(live, server)
    merged = merge(shown, {}, {}, asked, {})
    return Facts(
        revision=0,
        description="",
        rollback_to=None,
        deployed_at=None,
        chart="",
        apply_method="",
        server=server,
        selector=selector,
        content_namespace=_content_namespace(live, server) or server.deployment.namespace,
        service=None,
        problem=None,
        config="",
        wanted=asked,
        expected=in_effect(shown, asked),
        changes=differences(shown, in_effect(shown, asked)),
        kept=merged.kept,
        ineffective=(),
        export=exported(merged.values, asked),
    )


def server_of(deployment: Mapping[str, Any]) -> Server:
    """Name the objects that carry the overlay, from the Deployment alone."""
    meta, pod = deployment["metadata"], get(deployment, ("spec", "template", "spec")) or {}
    mounts = [m for c in pod.get("containers") or () for m in c.get("volumeMounts") or () if m.get("subPath") == GCFG]
    names = {mount["name"] for mount in mounts}
    maps = [(v.get("configMap") or {}).get("name") for v in pod.get("volumes") or () if v["name"] in names]
    config = next((ObjectKey("ConfigMap", meta["namespace"], name) for name in maps if name), None)
    return Server(ObjectKey("Deployment", meta["namespace"], meta["name"]), config)


def guards(pointer: str) -> bool:
    """Whether a value protects the server: its toleration, its node selector, its do-not-disrupt annotation."""
    return any(covers(guard, pointer) for guard in _GUARDS)


def claims(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the PersistentVolumeClaims that the server mounts."""
    volumes = get(deployment, ("spec", "template", "spec", "volumes")) or ()
    names = ((volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in volumes)
    return tuple(sorted(name for name in names if name))


def _taints(pools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [taint for pool in pools for taint in get(pool, ("spec", "template", "spec", "taints")) or ()]


def _content_namespace(rendered: Objects, server: Server | None) -> str | None:
    return gcfg_value(rendered.get(server.config, {}), "Namespace") if server and server.config else None

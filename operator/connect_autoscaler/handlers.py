"""Kopf's side of the operator: caches and wake-up calls. No decision is taken and nothing is written here."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import kopf
from pydantic import ValidationError

from connect_autoscaler.api.names import GROUP, KARPENTER_GROUP, KARPENTER_VERSION, PLURAL, VERSION
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.cache import EVERY, Key, Raw
from connect_autoscaler.core.engine import Engine
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.ownership import mark

_PROFILES: Final = (GROUP, VERSION, PLURAL)
_NODE_POOLS: Final = (KARPENTER_GROUP, KARPENTER_VERSION, "nodepools")
_NODE_CLAIMS: Final = (KARPENTER_GROUP, KARPENTER_VERSION, "nodeclaims")
_RELOGIN: Final = timedelta(minutes=5)


def registry(engine: Engine, ended: asyncio.Event, *, karpenter: bool) -> kopf.OperatorRegistry:  # noqa: C901 - one line a handler
    """Register everything Kopf has to do for an engine.

    Args:
        engine: Told of every event.
        ended: Kopf's stop flag; set on the way out too, since Kopf's own waiter for it delays the exit by 5 s.
        karpenter: Whether Karpenter's kinds exist; Kopf cannot watch a kind that does not.
    """
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await engine.context.kube.credentials(), expiration=datetime.now(UTC) + _RELOGIN)

    @kopf.on.startup(registry=made)
    async def startup(**kwargs: Any) -> None:
        engine.context.profiles.attach(kwargs["profiles"])
        if karpenter:
            engine.context.pools.attach(kwargs["pools"])
            engine.context.claims.attach(kwargs["claims"])

    @kopf.on.cleanup(registry=made)
    async def cleanup(**_: Any) -> None:
        ended.set()
        await engine.stop()

    @kopf.index(*_PROFILES, id="profiles", registry=made)
    async def profiles(body: kopf.Body, **_: Any) -> dict[Key, Profile] | None:
        parsed = _parse(body)
        return dict.fromkeys(_profile_keys(parsed), parsed) if parsed else None

    @kopf.on.event(*_PROFILES, registry=made)
    async def profile_event(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
        if (profile := _parse(body)) is None:
            engine.unreadable(Raw(body))
        elif event["type"] == "DELETED":
            engine.profile_deleted(profile)
        else:
            engine.profile_changed(profile)

    if karpenter:

        @kopf.index(*_NODE_POOLS, id="pools", registry=made)
        async def pools(body: kopf.Body, **_: Any) -> dict[Key, Raw]:
            pool = Raw(body)
            return {("name", pool.name): pool, **{("mark", by): pool for by in mark(pool) if by}}

        @kopf.on.event(*_NODE_POOLS, registry=made)
        async def pool_event(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
            engine.pool_changed(Raw(body), deleted=event["type"] == "DELETED")

        @kopf.index(*_NODE_CLAIMS, id="claims", registry=made)
        async def claims(body: kopf.Body, **_: Any) -> dict[Key, NodeClaim] | None:
            claim = _claim(body)
            return {("name", claim.name): claim, ("pool", claim.pool): claim} if claim else None

        @kopf.on.event(*_NODE_CLAIMS, registry=made)
        async def claim_event(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
            if claim := _claim(body):
                engine.claim_changed(claim, deleted=event["type"] == "DELETED")

    return made


def _profile_keys(profile: Profile) -> list[Key]:
    return [EVERY, ("name", profile.name), *(("pool", pool.name) for pool in profile.pools)]


def _parse(body: kopf.Body) -> Profile | None:
    try:
        return Profile.of(body)
    except ValidationError:
        return None


def _claim(body: kopf.Body) -> NodeClaim | None:
    """Read a NodeClaim; None if it has a form that Karpenter's CRD refuses, and so is none of Karpenter's."""
    try:
        return NodeClaim.of(body)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


class Patience:
    """Seconds between attempts of Kopf's at a list or a watch, without an end: its own give up after a minute.

    To give up means to end the operator; an API server that is upgraded may well be away for longer.
    """

    def __iter__(self) -> Iterator[float]:
        """Begin with Kopf's own, and go on with 30 seconds."""
        return itertools.chain((1, 1, 2, 3, 5, 8, 13, 21), itertools.repeat(30))


class _Nothing(kopf.DiffBaseStorage):
    """No copy of the last handled spec: that is for handlers of changes, and there are none."""

    def fetch(self, *, body: kopf.Body) -> None:  # noqa: ARG002 - the signature is Kopf's
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 - likewise
        return kopf.BodyEssence({})


def settings() -> kopf.OperatorSettings:
    """Kopf as a source of events: no scanning of CRDs, no events, no peering, no annotations of its own."""
    made = kopf.OperatorSettings()
    made.scanning.disabled = True
    made.persistence.diffbase_storage = _Nothing()
    made.posting.enabled = False
    made.peering.standalone = True
    made.queueing.idle_timeout = 0.1  # until then the last event of each object is kept, and a task with its queues
    made.watching.connect_timeout = 10
    made.networking.connect_timeout = 5
    made.networking.request_timeout = 30
    made.networking.error_backoffs = Patience()
    # Kopf would kill the process amid an upgrade that may finish; whoever cannot wait has SIGKILL of his own.
    made.process.ultimate_exiting_timeout = None
    return made

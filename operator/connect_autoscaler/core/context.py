"""What all workers of an operator share: the connection, the clock, the caches."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import ProfileStatus
from connect_autoscaler.core.act import PROFILES
from connect_autoscaler.core.cache import Cache, Raw
from connect_autoscaler.core.events import Recorder, transitions
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.lanes import Lane
from connect_autoscaler.core.lookups import Lookups
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.nodepools.claims import NodeClaim

_TURNS: Final = 16
"""Twice the connections, so that none is idle; a snapshot and its plan are some 50 kB, which adds up otherwise."""


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class Context:
    """Shared by the workers; nothing in it belongs to one profile."""

    def __init__(self, kube: Kube, tools: Toolbox, clock: Callable[[], datetime] = utc_now) -> None:
        self.kube, self.tools, self.clock = kube, tools, clock
        self.profiles: Cache[Profile] = Cache()
        """By ``all``, and by ``pool`` that they name."""
        self.pools: Cache[Raw] = Cache()
        """By ``mark``: the profile's name and its uid."""
        self.claims: Cache[NodeClaim] = Cache()
        """By ``pool`` that they belong to."""
        self.lookups = Lookups(kube, clock)
        self.metrics = tools.metrics
        self.recorder = Recorder(kube, clock, tools.metrics.posted)
        self.turns: Final = asyncio.Semaphore(_TURNS)
        """How many profiles are reconciled at once; reports wait outside, until everything is healed."""

    def wrote(self, body: Json) -> None:
        """Put what a write gave back into the caches."""
        match body["kind"]:
            case "NodePool":
                self.pools.wrote(Raw(body))
            case "NodeClaim":
                self.claims.wrote(NodeClaim.of(body))
            case _:
                self.profiles.wrote(Profile.of(body))

    async def write_status(self, profile: Profile, status: ProfileStatus) -> None:
        """Replace the whole status, remember it, and post an event for each transition.

        Not by server-side apply: what somebody else has put beside it would stay, and be written against for ever.

        Raises:
            KubeError: The API server did not take it.
        """
        operations: list[Json] = [
            {"op": "test", "path": "/metadata/uid", "value": profile.uid},
            {"op": "add", "path": "/status", "value": status.dump()},
        ]
        self.wrote(await self.kube.patch(f"{PROFILES}/{profile.name}/status", operations, lane=Lane.STATUS))
        self.recorder.post(profile, transitions(profile.status, status))

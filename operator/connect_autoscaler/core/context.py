"""What all workers of an operator share: the connection, the clock, the caches."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from connect_autoscaler.api.names import API_VERSION, KIND
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import ProfileStatus
from connect_autoscaler.core.act import PROFILES
from connect_autoscaler.core.cache import Cache, Raw
from connect_autoscaler.core.events import Recorder, transitions
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.lookups import Lookups
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.ownership import Peer


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class Context:
    """Shared by the workers; nothing in it belongs to one profile."""

    def __init__(self, kube: Kube, clock: Callable[[], datetime] = utc_now) -> None:
        self.kube, self.clock = kube, clock
        self.profiles: Cache[Profile] = Cache()
        self.pools: Cache[Raw] = Cache()
        self.claims: Cache[NodeClaim] = Cache()
        self.peers: Mapping[str, Collection[Peer]] = {}
        """What each profile claims, by its name."""
        self.asking: Mapping[str, Collection[str]] = {}
        """Uids of the profiles that name a pool, by the pool's name."""
        self.marked: Mapping[str, Collection[str]] = {}
        """Names of the pools that carry a mark, by the profile's name and by its uid."""
        self.members: Mapping[str, Collection[str]] = {}
        """Names of the NodeClaims of a pool, by the pool's name."""
        self.lookups = Lookups(kube, clock)
        self.recorder = Recorder(kube, clock)

    def attach(self, indices: Mapping[str, Mapping[str, Collection[Any]]]) -> None:
        """Use Kopf's indices, which are complete before any event is handled; Kopf makes new ones each time it runs."""
        for name, index in indices.items():
            held = getattr(self, name)
            if isinstance(held, Cache):
                held.attach(index)
            else:
                setattr(self, name, index)

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
        """Apply a whole status, remember it, and post an event for each transition.

        Raises:
            KubeError: The API server did not take it.
        """
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": profile.name, "uid": profile.uid}}
        self.wrote(await self.kube.apply(f"{PROFILES}/{profile.name}/status", {**body, "status": status.dump()}))
        self.recorder.post(profile, transitions(profile.status, status))

"""What one test creates on a shared cluster, and that it is gone afterwards."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from pykube.exceptions import HTTPError

from harness.api import COLLEAGUE, NODE_CLAIMS, NODE_POOLS, PROFILES, Api, Json, Kind, unique
from harness.installation import NODE_CLASS
from profile_specs import Spec, merged
from profile_specs import profile as profile_object
from sandbox import Cluster, NotYetError, eventually

_INTERVAL: Final = 0.03
_FAREWELL: Final = 10.0  # seconds for the operator to let go of a profile
_DRAIN: Final = 60.0  # seconds for Karpenter to let go of nodes


@dataclass(frozen=True)
class Profile:
    """A profile on a cluster, and its two NodePools.

    Attributes:
        name: Its name.
        server: The name of its server pool.
        content: The name of its content pool.
        api: The administrator's.
    """

    name: str
    server: str
    content: str
    api: Api

    def read(self) -> Json:
        return self.api.get(PROFILES, self.name)

    @property
    def status(self) -> Json:
        """Its status as it is now; empty before the first one."""
        return dict(self.read().get("status", {}))

    def condition(self, kind: str) -> Json | None:
        """Return a condition as it is now; None if absent."""
        return _condition(self.read(), kind)

    def drift(self) -> list[Json]:
        """Return `status.drift.items`."""
        return list(self.status.get("drift", {}).get("items", ()))

    def pool(self, name: str = "") -> Json:
        """Return a live NodePool, the server pool unless named."""
        return self.api.get(NODE_POOLS, name or self.server)

    def patch(self, spec: Mapping[str, Any]) -> Json:
        """Merge a patch into the spec."""
        return self.api.merge(PROFILES, self.name, {"spec": spec})

    def annotate(self, **annotations: str | None) -> Json:
        """Set annotations of the operator's domain: `annotate(requestedAt="now")`; None removes one."""
        full = {f"connect-autoscaler.io/{key}": value for key, value in annotations.items()}
        return self.api.merge(PROFILES, self.name, {"metadata": {"annotations": full}}, manager="kubectl-annotate")

    def delete(self) -> None:
        self.api.delete(PROFILES, self.name)

    async def condition_is(
        self, kind: str, status: str = "True", reason: str | None = None, *, seconds: float = 30
    ) -> Json:
        """Wait until a condition has this status, for the present generation; return the profile.

        Raises:
            NotYetError: With the condition as it was last.
        """

        def check() -> Json:
            profile = self.read()
            found = _condition(profile, kind)
            assert found is not None, f"no condition {kind}: {profile.get('status', 'no status')}"
            assert found["observedGeneration"] == profile["metadata"]["generation"], found
            assert found["status"] == status, found
            assert reason in {None, found["reason"]}, found
            return profile

        return await eventually(check, timeout=seconds, interval=_INTERVAL)

    async def condition_is_absent(self, kind: str, *, seconds: float = 30) -> Json:
        """Wait until the status of the present generation lacks a condition; return the profile."""

        def check() -> Json:
            profile = self.read()
            seen = profile.get("status", {}).get("observedGeneration")
            assert seen == profile["metadata"]["generation"], f"observedGeneration {seen}"
            assert _condition(profile, kind) is None, _condition(profile, kind)
            return profile

        return await eventually(check, timeout=seconds, interval=_INTERVAL)

    async def ready(self, *, seconds: float = 30) -> Json:
        """Wait until it is Ready; return it."""
        return await self.condition_is("Ready", seconds=seconds)

    async def gone(self, *, seconds: float = 30) -> None:
        """Wait until it does not exist any more."""
        await eventually(lambda: self.api.find(PROFILES, self.name) is None, timeout=seconds, interval=_INTERVAL)


class Workspace:
    """Creates objects for one test, under names of its own, and removes them at the end, whether it passed or not.

        async with Workspace(operator.cluster) as workspace:
            profile = workspace.profile(contentPool={"weight": 5})
            await profile.ready()

    Removal does not depend on the operator: what it does not let go of is taken.

    Attributes:
        api: The administrator's; what is created with it is not removed.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.api = Api(cluster.api)
        self._created: list[tuple[Kind, str]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for of, name in reversed(self._created):
            if of == PROFILES:
                await self._remove_profile(name)
            elif of == NODE_POOLS:
                await self._remove_pools({name})
            else:
                await self._remove(of, name)

    def profile(self, name: str = "", **patch: Any) -> Profile:
        """Create the smallest profile, with names and placement values of its own, and a patch of its spec over it."""
        name = name or unique()
        spec: Spec = {
            "nodeClassRef": NODE_CLASS,
            "placement": {"server": f"{name}-server", "content": f"{name}-content"},
            "serverPool": {"name": f"{name}-server"},
            "contentPool": {"name": f"{name}-content"},
        }
        spec = merged(spec, patch)
        self.create(PROFILES, profile_object(spec, name))
        return Profile(name, spec["serverPool"]["name"], spec["contentPool"]["name"], self.api)

    def create(self, kind: Kind, body: Mapping[str, Any], *, manager: str = COLLEAGUE) -> Json:
        """Create any object, and remember to remove it."""
        created = self.api.create(kind, body, manager=manager)
        self.remember(kind, created["metadata"]["name"])
        return created

    def remember(self, kind: Kind, name: str) -> None:
        """Remove this object at the end, too; last remembered is first removed."""
        self._created.append((kind, name))

    async def _remove_profile(self, name: str) -> None:
        profile = self.api.find(PROFILES, name)
        if profile is None:
            return
        pools = set(_pools_of(profile))
        pools |= {pool["metadata"]["name"] for pool in self._labelled(name)}
        self.api.delete(PROFILES, name)
        try:
            await eventually(lambda: self.api.find(PROFILES, name) is None, timeout=_FAREWELL, interval=_INTERVAL)
        except NotYetError:
            await self._remove(PROFILES, name)
        await self._remove_pools(pools)

    async def _remove_pools(self, names: set[str]) -> None:
        """Remove NodePools with their NodeClaims; pods that hold a node are the test's own to remove first."""
        for name in sorted(names):
            await self._remove(NODE_POOLS, name)
        await eventually(lambda: not [claim for name in names for claim in self._claims(name)], timeout=_DRAIN)

    def _claims(self, pool: str) -> list[Json]:
        """Ask for the deletion of a pool's NodeClaims, and return those that are left."""
        claims = self.api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={pool}")
        for claim in claims:
            if "deletionTimestamp" not in claim["metadata"]:
                self.api.delete(NODE_CLAIMS, claim["metadata"]["name"])
        return claims

    async def _remove(self, kind: Kind, name: str) -> None:
        """Delete an object, whatever finalizers of ours or of the garbage collector it has."""

        def gone() -> bool:
            body = self.api.find(kind, name)
            if body is None:
                return True
            if "deletionTimestamp" not in body["metadata"]:
                self.api.delete(kind, name)
            elif any("karpenter.sh/" not in each for each in body["metadata"].get("finalizers", ())):
                self.api.merge(kind, name, {"metadata": {"finalizers": None}})
            return False

        def quietly() -> bool:
            try:
                return gone()
            except HTTPError:  # somebody was faster
                return False

        await eventually(quietly, timeout=_DRAIN, interval=_INTERVAL)

    def _labelled(self, name: str) -> list[Json]:
        return self.api.list(NODE_POOLS, labelSelector=f"connect-autoscaler.io/profile={name}")


def _condition(profile: Json, kind: str) -> Json | None:
    conditions = profile.get("status", {}).get("conditions", ())
    return next((dict(each) for each in conditions if each["type"] == kind), None)


def _pools_of(profile: Json) -> Iterator[str]:
    spec = profile["spec"]
    for pool in (spec["serverPool"], spec["contentPool"], *spec.get("additionalContentPools", ())):
        if pool.get("management") != "External":
            yield pool["name"]

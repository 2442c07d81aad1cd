"""A profile whose pools are in use: pods that run, on nodes that Karpenter launched for them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from e2e.stage import Stage
from harness import EVENTS, NODE_CLAIMS, NODE_POOLS, NODES, PODS, Json, Profile, Workspace, unique
from sandbox import eventually

SAFE_AFTER: Final = timedelta(seconds=2)
"""Registered for longer than this, a NodeClaim is out of every cascade's reach: the product's promise."""
_LAUNCH: Final = 120.0
UNREGISTERED: Final = {"key": "karpenter.sh/unregistered", "operator": "Exists", "effect": "NoExecute"}
"""For pods that nobody starts again: the scheduler, when it is late, binds them to a node that still has this taint."""
POLL: Final = 0.25
"""Seconds between two looks; many tenants look at once."""


@dataclass(frozen=True)
class Belongings:
    """What must not be lost, by name and uid."""

    claims: Mapping[str, str]
    nodes: frozenset[str]
    pods: Mapping[str, str]


@dataclass
class Tenant:
    """One profile of its own names and placement values, and whatever a test adds to it.

        async with Tenant(stage) as tenant:
            await tenant.settle()                    # Ready, a pod on a node of its server pool
            before = tenant.belongings()

    Attributes:
        stage: Where.
        patch: Over the smallest profile's spec.
        name: The profile's, and the beginning of all others.
        workspace: What goes with the tenant; closed in its own time, since removals wait for each other.
    """

    stage: Stage
    patch: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=unique)

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.stage.cluster)
        self.api = self.stage.api
        self.profile = Profile(self.name, f"{self.name}-server", f"{self.name}-content", self.api)
        self._pods: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._pods:  # first: what must not be disturbed holds its node, and the node its NodePool
            self.api.delete(PODS, name)
        await self.workspace.__aexit__(kind, error, trace)

    def apply(self) -> Profile:
        """Create the profile."""
        return self.workspace.profile(self.name, **self.patch)

    def run(self, placement: str = "server", *, pods: int = 1, cpu: str = "1", keep: bool = False) -> None:
        """Create pods that each take a node of their own.

        Args:
            placement: Which of the profile's pools: `server` or `content`.
            pods: How many more.
            cpu: What each requests.
            keep: Whether they carry `karpenter.sh/do-not-disrupt`, so that no drain gets rid of them.
        """
        for _ in range(pods):
            name = f"{self.name}-{placement}-{len(self._pods)}"
            self._pods.append(name)
            self.workspace.create(PODS, pod(name, self.name, f"{self.name}-{placement}", cpu=cpu, keep=keep))

    def claims(self, pool: str = "") -> list[Json]:
        """Return the NodeClaims of the server pool, unless another is named."""
        return self.api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={pool or self.profile.server}")

    def nodes(self, pool: str = "") -> list[Json]:
        """Return the nodes of the server pool, unless another is named."""
        return self.api.list(NODES, labelSelector=f"karpenter.sh/nodepool={pool or self.profile.server}")

    def pods(self) -> list[Json]:
        return self.api.list(PODS, labelSelector=f"tenant={self.name}")

    def events(self, reason: str) -> list[str]:
        """Return the notes of the operator's events about the profile."""
        return [
            event["note"]
            for event in self.api.list(EVENTS)
            if event["regarding"].get("name") == self.name and event["reason"] == reason
        ]

    def pool_status(self, pool: str = "") -> Json:
        """Return the entry of the server pool, unless another is named, in `status.nodePools`."""
        name = pool or self.profile.server
        found: Json = next(each for each in self.profile.status["nodePools"] if each["name"] == name)
        return found

    def pool_uid(self) -> str:
        return str(self.profile.pool()["metadata"]["uid"])

    async def condition_is(
        self, kind: str, status: str = "True", reason: str | None = None, *, seconds: float = _LAUNCH
    ) -> Json:
        """Wait until a condition of the profile has this status, more patiently than `Profile.condition_is`."""
        return await eventually(
            lambda: self.profile.condition_is(kind, status, reason, seconds=0), timeout=seconds, interval=POLL
        )

    async def running(self) -> None:
        """Wait until all pods run."""

        def run() -> bool:
            pods = {each["metadata"]["name"]: each for each in self.pods()}
            waiting = {name for name in self._pods if pods.get(name, {}).get("status", {}).get("phase") != "Running"}
            assert not waiting, [
                (event["regarding"]["name"], event["reason"], event["note"])
                for event in self.api.list(EVENTS)
                if str(event["regarding"].get("name")).startswith(self.name)
            ]
            return True

        await eventually(run, timeout=_LAUNCH, interval=POLL)

    async def settle(self) -> Belongings:
        """Wait until the profile is Ready, its pods run, and its NodeClaims are as old as the promise demands."""
        await self.condition_is("Ready")
        if not self._pods:
            self.run()
        await self.running()
        await eventually(lambda: all(map(_safe, self.claims())), timeout=_LAUNCH, interval=POLL)
        return self.belongings()

    def belongings(self) -> Belongings:
        """Return what runs now on the server pool."""
        return Belongings(
            {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in self.claims()},
            frozenset(node["metadata"]["name"] for node in self.nodes()),
            {each["metadata"]["name"]: each["metadata"]["uid"] for each in self.pods()},
        )

    def assert_kept(self, before: Belongings) -> None:
        """Nothing is lost, nor on its way out, nor Drifted."""
        assert self.belongings() == before
        for thing in (*self.claims(), *self.nodes(), *self.pods()):
            assert "deletionTimestamp" not in thing["metadata"], thing["metadata"]
        assert {each["status"]["phase"] for each in self.pods()} == {"Running"}
        taints = [taint["key"] for node in self.nodes() for taint in node["spec"].get("taints", ())]
        assert "karpenter.sh/disrupted" not in taints
        assert not [claim["metadata"]["name"] for claim in self.claims() if condition(claim, "Drifted")]

    async def pool_is_held(self) -> None:
        """Wait until the server pool is terminating, and nothing but our finalizer holds it."""

        def held() -> bool:
            meta = self.profile.pool()["metadata"]
            return "deletionTimestamp" in meta and meta["finalizers"] == ["connect-autoscaler.io/protect"]

        await eventually(held, interval=POLL)

    async def pool_is_back(self, old: str, *, seconds: float = 30) -> Json:
        """Wait until the server pool exists and is not the one with the old uid; return it."""

        def back() -> Json | None:
            found = self.api.find(NODE_POOLS, self.profile.server)
            fresh = found and found["metadata"]["uid"] != old and "deletionTimestamp" not in found["metadata"]
            return found if fresh else None

        found = await eventually(back, timeout=seconds, interval=POLL)
        assert found is not None
        return found

    async def readopted(self, before: Belongings, *, seconds: float = 30) -> None:
        """Wait until Karpenter counts the same nodes again and the profile is Ready, with nothing lost or outdated."""

        def counted() -> bool:
            pool = self.profile.pool()
            assert pool.get("status", {}).get("nodes", 0) == len(before.claims)
            # Drift is a difference of these hashes. Equal they are the proof that none will come.
            assert {_hash(claim) for claim in self.claims()} == {_hash(pool)}
            return True

        await self.condition_is("Ready", seconds=seconds)
        await eventually(counted, timeout=seconds, interval=POLL)
        self.assert_kept(before)

    async def drained(self, before: Belongings, *, seconds: float = 90) -> None:
        """Wait until the NodeClaims and nodes that were there are gone."""

        def gone() -> bool:
            now = self.belongings()
            assert not before.claims.keys() & now.claims.keys()
            assert not before.nodes & now.nodes
            return True

        await eventually(gone, timeout=seconds, interval=POLL)


async def close(*tenants: Tenant) -> None:
    """End tenants side by side."""
    await asyncio.gather(*(tenant.__aexit__(None, None, None) for tenant in tenants))


def condition(thing: Json, kind: str) -> Json | None:
    """Return a condition that is True."""
    conditions = thing.get("status", {}).get("conditions", ())
    return next((dict(each) for each in conditions if each["type"] == kind and each["status"] == "True"), None)


def owners(claim: Json) -> list[str]:
    """Return the uids of its ownerReferences."""
    return [owner["uid"] for owner in claim["metadata"].get("ownerReferences", ())]


def _hash(thing: Json) -> tuple[str, str]:
    annotations = thing["metadata"].get("annotations", {})
    return annotations["karpenter.sh/nodepool-hash"], annotations["karpenter.sh/nodepool-hash-version"]


def pod(name: str, tenant: str, placement: str, *, cpu: str = "1", keep: bool = False) -> Json:
    """Return a pod that shares its node with no other of its tenant."""
    metadata: Json = {"name": name, "labels": {"tenant": tenant}}
    if keep:
        metadata["annotations"] = {"karpenter.sh/do-not-disrupt": "true"}
    others = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"tenant": tenant}}}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeSelector": {"workload": placement},
            "tolerations": [{"key": "workload", "operator": "Exists"}, UNREGISTERED],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [others]}},
            "containers": [{"name": "main", "image": "none", "resources": {"requests": {"cpu": cpu}}}],
        },
    }


def _safe(claim: Json) -> bool:
    registered = condition(claim, "Registered")
    if registered is None:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(registered["lastTransitionTime"]) > SAFE_AFTER

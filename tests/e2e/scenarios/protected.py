"""A release under a profile, and what a scenario asks about both."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from e2e.stage import Stage
from e2e.tenant import POLL, Tenant
from harness import NODES, Json, Release, Timeline
from harness.connect_content import Launcher
from sandbox import eventually

DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"
PATIENCE: Final = 180.0
"""Seconds for an upgrade, a new node or a consolidation, while other scenarios have their own."""
REQUESTS: Final[Json] = {"resources": {"requests": {"cpu": "1"}}}

Figures = dict[str, float]
"""What a scenario measured, by what it is."""


@dataclass
class Protected:
    """A profile, its release, and the content that a server of it starts."""

    tenant: Tenant
    release: Release

    def __post_init__(self) -> None:
        self.api = self.tenant.api
        self.profile = self.tenant.profile
        self.launcher = Launcher(self.release)

    @property
    def content_nodes(self) -> Json:
        """What makes a pod fit to content nodes, and only to them."""
        return {"nodeSelector": {"workload": self.profile.content}}

    @property
    def server_nodes(self) -> Json:
        """The same for server nodes."""
        tolerations = [{"key": "workload", "operator": "Exists"}]
        return {"nodeSelector": {"workload": self.profile.server}, "tolerations": tolerations}

    def server(self) -> Json:
        """Return the only server; it runs."""
        return only_server(self.release)

    def check(self, name: str) -> Json:
        """Return a check as status has it."""
        return next(dict(each) for each in self.profile.status["checks"] if each["name"] == name)

    async def says(self, name: str, result: str, *words: str, seconds: float = PATIENCE) -> Json:
        """Wait until a check has this result and these words in its message; return it."""

        def said() -> Json:
            found = self.check(name)
            assert found["result"] == result, found
            assert all(word in found["message"] for word in words), found
            return found

        return await eventually(said, timeout=seconds, interval=POLL)

    async def at_home(self, *, instead_of: str = "") -> Json:
        """Wait until Ready is True and the server, not the one of this uid, runs on a node of its pool; return it."""

        def there() -> Json:
            pod = self.server()
            assert pod["metadata"]["uid"] != instead_of
            labels = self.api.get(NODES, pod["spec"]["nodeName"])["metadata"]["labels"]
            assert labels["karpenter.sh/nodepool"] == self.profile.server, labels
            for name in ("ServerOnServerPool", "ServerProtected", "ServerNodesPersist"):
                assert self.check(name)["result"] == "Passed", self.check(name)
            return pod

        await self.profile.ready(seconds=PATIENCE)
        return await eventually(there, timeout=PATIENCE, interval=POLL)

    def claim_of(self, pod: Json) -> Json:
        """Return the NodeClaim of the node under a server."""
        return next(each for each in self.tenant.claims() if each["status"].get("nodeName") == pod["spec"]["nodeName"])

    async def start(self, name: str, tag: str) -> Json:
        """Start content; return its pod as soon as it runs."""
        return await self.running(self.launcher.launch({"name": name}, tag))

    async def running(self, job: str) -> Json:
        """Wait until the pod of a Job runs; return it."""

        def runs() -> Json:
            (pod,) = self._pods(job)
            assert pod["status"]["phase"] == "Running", pod["status"]
            return pod

        return await eventually(runs, timeout=PATIENCE, interval=POLL)

    def _pods(self, job: str) -> list[Json]:
        return self.api.list(self.release.kind("pods"), labelSelector=f"batch.kubernetes.io/job-name={job}")

    def end(self, pod: Json) -> None:
        """Stop content, as a user does."""
        self.api.delete(self.release.kind("jobs"), pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])

    def end_all(self) -> None:
        """Stop all content."""
        for job in self.api.list(self.release.kind("jobs")):
            self.api.delete(self.release.kind("jobs"), job["metadata"]["name"])

    async def scaled_to_zero(self) -> float:
        """Wait until the content pool has no node; return the seconds that took."""
        began = time.monotonic()
        await eventually(lambda: not self.tenant.claims(self.profile.content), timeout=PATIENCE, interval=POLL)
        return time.monotonic() - began


@asynccontextmanager
async def protected(stage: Stage, values: Mapping[str, Any] | None = None, **spec: Any) -> AsyncIterator[Protected]:
    """Have a release and a profile of which nothing is awaited yet.

    Args:
        stage: Where.
        values: Of the release, over one server that requests a core.
        spec: Of the profile, over the smallest one.
    """
    release = Release(stage.cluster, {**REQUESTS, **(values or {})})
    async with Tenant(stage, {"release": release.reference, **spec}) as tenant, release:
        it = Protected(tenant, release)
        tenant.apply()
        try:
            yield it
        finally:
            it.end_all()  # what must not be disturbed holds its node, and the node its NodePool


def only_server(release: Release) -> Json:
    """Return the only server of a release; it runs."""
    (pod,) = release.servers()
    assert pod["status"]["phase"] == "Running", pod["status"]
    return pod


def lost(timeline: Timeline) -> set[str]:
    """Return the uids of objects that were deleted, or asked to go."""
    metas = ((event.type, event.object["metadata"]) for event in timeline.events)
    return {meta["uid"] for kind, meta in metas if kind == "DELETED" or "deletionTimestamp" in meta}

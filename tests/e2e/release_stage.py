"""A profile with its release, and what a test asks about both."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

from connect_autoscaler.release.state import State
from harness import NODES, Json, Operator, Profile, Release, Timeline, Workspace, unique
from harness.releases import SERVER
from sandbox import eventually

PATIENCE: Final = 90.0
"""Seconds for one upgrade on a busy machine."""
AT_ONCE: Final[dict[str, Any]] = {"disruptions": {"when": "Immediately"}}
LONG_HISTORY: Final = {"revisionHistoryLimit": 100}
"""Values with which every pod template that there ever was leaves a ReplicaSet."""


@dataclass(frozen=True)
class Case:
    """One profile and its release."""

    profile: Profile
    release: Release
    node: str
    """A node that takes the server before it has a pool of its own, and content."""

    async def run_content(self, name: str, **annotations: str) -> None:
        """Have a pod of content running, as Connect starts it, with annotations of Karpenter's domain."""
        meta = {
            "name": name,
            "labels": {"app.kubernetes.io/name": "rstudio_connect"},
            "annotations": {f"karpenter.sh/{key.replace('_', '-')}": value for key, value in annotations.items()},
        }
        spec = {"nodeName": self.node, "containers": [{"name": "main", "image": "none"}]}
        pods = self.release.kind("pods")
        self.release.api.create(pods, {"kind": "Pod", "metadata": meta, "spec": spec})
        await eventually(lambda: self.release.api.get(pods, name)["status"]["phase"] == "Running")

    def end_content(self, name: str) -> None:
        """Have a pod of content succeed."""
        pods = self.release.kind("pods")
        self.release.api.merge(pods, name, {"status": {"phase": "Succeeded"}}, subresource="status", manager="kubelet")

    @property
    def target(self) -> str:
        return f"Release/{self.release.namespace}/connect"

    @property
    def deployment(self) -> str:
        return f"Deployment/{self.release.namespace}/{SERVER}"

    @property
    def config_map(self) -> str:
        return f"ConfigMap/{self.release.namespace}/{SERVER}-config"

    @property
    def last(self) -> Json:
        """Return the last revision, whatever became of it."""
        return self.release.revisions()[-1]

    @property
    def number(self) -> int:
        """Return the number of the last revision."""
        return int(self.last["version"])

    def statuses(self, *, since: int = 0) -> list[str]:
        """Return what became of the revisions after one."""
        return [each["info"]["status"] for each in self.release.revisions() if int(each["version"]) > since]

    def state(self) -> State | None:
        """Return what the operator remembers of the release."""
        label = f"connect-autoscaler.io/profile={self.profile.name}"
        found = self.release.api.list(self.release.kind("secrets"), labelSelector=label)
        return State.of(found[0]) if found else None

    def protect_content(self, duration: str) -> None:
        """Change the profile in a way that costs one upgrade and one restart."""
        self.profile.patch({"content": {"renderedDoNotDisrupt": duration}})

    def carries(self, duration: str) -> bool:
        annotation = self.release.config["config"]["Kubernetes"]["RenderedContentAnnotation"]
        return f"karpenter.sh/do-not-disrupt={duration}" in annotation

    async def settled(self, *, seconds: float = PATIENCE) -> None:
        """Wait until the profile is Ready, nothing is under way, and the last revision is the one that runs."""

        def check() -> bool:
            body = self.profile.read()
            ready = self.profile.condition("Ready")
            assert ready is not None, body
            assert (ready["status"], ready["observedGeneration"]) == ("True", body["metadata"]["generation"]), ready
            assert "attempt" not in body["status"], body["status"]["attempt"]
            assert self.last["info"]["status"] == "deployed", self.statuses()
            state = self.state()
            assert state is not None
            assert state.record is not None
            assert state.record.finished
            assert state.record.reason is None
            return True

        await eventually(check, timeout=seconds, interval=0.2)

    def planned(self) -> Json | None:
        """Return what `status.plan` says of the release."""
        found = [each for each in self.profile.status.get("plan", ()) if each["target"] == self.target]
        return dict(found[0]) if found else None

    async def drifts(self, target: str, path: str, reason: str | None = None, *, seconds: float = 20) -> Json:
        """Wait until `status.drift.items` has an open item of a target, a path and perhaps a reason; return it."""

        def check() -> Json:
            items = [item for item in self.profile.drift() if item["action"] != "Corrected"]
            found = [item for item in items if item["target"] == target and item["path"].startswith(path)]
            assert found, items
            assert reason in {None, found[0].get("reason")}, found
            return dict(found[0])

        return await eventually(check, timeout=seconds, interval=0.05)

    async def in_order(self, *, seconds: float = 30) -> None:
        """Wait until the profile is Ready, and nothing differs."""
        await self.profile.condition_is("Drifted", "False", seconds=seconds)
        await self.profile.ready(seconds=seconds)


@contextlib.asynccontextmanager
async def case(
    operator: Operator,
    values: Mapping[str, Any] | None = None,
    *arguments: str,
    content: tuple[str, ...] = (),
    **spec: Any,
) -> AsyncIterator[Case]:
    """Have a release that runs on a node of its own, and a profile for it of which nothing is awaited yet.

    Args:
        operator: Whose.
        values: Over the release's.
        arguments: More of `helm install`.
        content: Names of pods that run content before there is a profile.
        spec: Of the profile; `release` is laid over what names the release.
    """
    async with Workspace(operator.cluster) as workspace:
        node = workspace.create(NODES, _node())["metadata"]["name"]
        fits = [{"key": _BARE, "operator": "Equal", "value": node, "effect": "NoSchedule"}]
        values = {**LONG_HISTORY, **(values or {})}
        values["tolerations"] = [*values.get("tolerations", ()), *fits]
        async with Release(operator.cluster, values, *arguments) as release:
            await release.rolled_out()
            it = Case(Profile("", "", "", workspace.api), release, node)
            for name in content:
                await it.run_content(name)
            reference = {**release.reference, **spec.pop("release", {})}
            yield replace(it, profile=workspace.profile(release=reference, **spec))


_BARE: Final = "bare"


def _node() -> Json:
    """Return a node that nobody launched, and that nothing runs on by chance."""
    name, room = unique("bare"), {"cpu": "32", "memory": "64Gi", "pods": "100"}
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": [{"key": _BARE, "value": name, "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room},
    }


class Restarts:
    """Counts servers that were up and went: what a restart costs."""

    def __init__(self, release: Release) -> None:
        self._pods = Timeline(release.cluster, release.kind("pods"))

    async def __aenter__(self) -> Self:
        await self._pods.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pods.__aexit__(kind, error, trace)

    @property
    def count(self) -> int:
        ready = {event.object["metadata"]["uid"] for event in self._pods.events if _ready_server(event.object)}
        gone = {e.object["metadata"]["uid"] for e in self._pods.events if "deletionTimestamp" in e.object["metadata"]}
        return len(ready & gone)


def _ready_server(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    server = pod["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == "connect"
    return server and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

"""A Helm release for a plan, on an API server alone: Helm's part is the real one, that of the controllers is played."""

import asyncio
import contextlib
import functools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, Self

from pykube.exceptions import HTTPError

from connect_autoscaler.release.state import State
from harness import Api, Json, Kind, Release, kustomize
from harness.background import Background, Signals, until_stopped
from harness.installation import DEPLOY
from harness.releases import HELM_ACCOUNT, SERVER
from harness.watches import Event, follow
from sandbox import Cluster
from sandbox.apply import documents

CLAIM: Final = "users-own"
"""A claim of the user's, and the name of what else is in the namespace and belongs to no release."""
USERS: Final[Json] = {
    "sharedStorage": {"create": False, "mount": True, "name": CLAIM},
    "replicas": 2,
    "tolerations": [{"key": "mine", "operator": "Exists"}],
    "pod": {"annotations": {"mine": "yes"}, "env": [{"name": "TOKEN", "value": "MARKER-SECRET-token"}]},
    "config": {"Server": {"Address": "https://connect.example.com"}, "Applications": {"RunAsConcurrency": 3}},
}
"""What the user has set, and nobody may lose."""
_DEPLOYMENTS: Final = Kind("apps/v1", "deployments")
_ROLLING: Final = 0.3
"""Seconds that servers take to come up."""
_NAMESPACES: Final = Kind("v1", "namespaces")


class Rollouts(Background):
    """Rolls every generation of every Deployment out, and remembers the pod templates there were.

    What takes minutes of real servers takes a moment here; every template that differs from the one before it is a
    restart of the servers.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._templates: defaultdict[str, list[str]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__("rollouts", self._work)

    def templates(self, namespace: str) -> int:
        """Return how many pod templates followed each other in a namespace."""
        return len(self._templates[namespace])

    async def _work(self, signals: Signals) -> None:
        await until_stopped(signals, follow(self._cluster, _DEPLOYMENTS, self._see, signals.ready))

    def _see(self, api: Api, event: Event) -> None:
        meta, spec = event.object["metadata"], event.object["spec"]
        seen = self._templates[meta["namespace"]]
        template = json.dumps([meta["uid"], spec["template"]], sort_keys=True)
        if seen[-1:] != [template]:
            seen.append(template)
        if event.type != "DELETED" and event.object.get("status", {}).get("observedGeneration") != meta["generation"]:
            task = asyncio.create_task(self._roll(api, event.object))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _roll(self, api: Api, deployment: Json) -> None:
        await asyncio.sleep(_ROLLING)
        meta, count = deployment["metadata"], deployment["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        conditions = [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ]
        status = {"observedGeneration": meta["generation"], **counts, "conditions": conditions}
        kind = Kind("apps/v1", "deployments", meta["namespace"])
        with contextlib.suppress(HTTPError):  # deleted meanwhile
            api.merge(kind, meta["name"], {"status": status}, manager="kube-controller-manager", subresource="status")


class OwnRelease(Release):
    """The release of one plan; its namespace is left behind with the API server.

    Args:
        cluster: Where.
        own: The name of the plan, and of the namespace.
    """

    def __init__(self, cluster: Cluster, own: str) -> None:
        super().__init__(cluster, USERS)
        self.namespace = own
        self._own = own

    async def __aenter__(self) -> Self:
        self.api.create(_NAMESPACES, {"kind": "Namespace", "metadata": {"name": self.namespace}}, manager="kubectl")
        self.grant()
        meta, data = {"metadata": {"name": CLAIM}}, {"data": {"mine": "eWVz"}}
        storage = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        claims = self.kind("persistentvolumeclaims")
        self.api.create(claims, {"kind": "PersistentVolumeClaim", **meta, "spec": storage}, manager="kubectl")
        self.api.create(self.kind("secrets"), {"kind": "Secret", **meta, **data}, manager="kubectl")
        self.api.create(self.kind("configmaps"), {"kind": "ConfigMap", **meta, **data}, manager="kubectl")
        await self.helm("install", values=self.values)
        await self.rolled_out()
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def reference(self) -> Json:
        return {**super().reference, "timeout": "20s"}

    def grant(self) -> None:
        for text in _grants(self.cluster.dir, self.cluster):
            self.cluster.apply(json.loads(text.replace(_HERE, self.namespace)))

    def bend(self) -> None:
        """Take the servers' protection off the live Deployment, as `kubectl edit` does."""
        template = self.deployment()["spec"]["template"]
        remove = [{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]
        assert template["spec"]["nodeSelector"], template
        self.api.json_patch(self.kind("deployments"), SERVER, remove)

    @property
    def protected(self) -> bool:
        """Tell whether the live servers are sent to a pool."""
        return bool(self.deployment()["spec"]["template"]["spec"].get("nodeSelector"))

    def state(self) -> State | None:
        """Return what the operator remembers of the release."""
        label = f"connect-autoscaler.io/profile={self._own}"
        found = self.api.list(self.kind("secrets"), labelSelector=label)
        assert len(found) < 2, found
        return State.of(found[0]) if found else None

    def strangers(self) -> Json:
        """Return what in the namespace belongs neither to the release nor to the operator, as it is."""
        plurals = ("secrets", "configmaps", "persistentvolumeclaims")
        return {plural: self.api.get(self.kind(plural), CLAIM)["metadata"]["resourceVersion"] for plural in plurals}

    def picture(self) -> Json:
        """Return all that is to be the same in the end, however it came to be: revisions may be more."""
        last, state = self.revisions()[-1], self.state()
        record = state.record if state else None
        objects = {f"{each['kind']} {each['metadata']['name']}": each for each in documents(last["manifest"])}
        return {
            "status": last["info"]["status"],
            "chart": last["chart"]["metadata"]["version"],
            "values": last["config"],
            "objects": objects,
            "deployment": self.deployment()["spec"],
            "config": self.api.get(self.kind("configmaps"), f"{SERVER}-config")["data"],
            "remembered": state
            and {
                "applied": state.applied,
                "prior": sorted(state.prior),
                "corrections": [by for _, by in state.corrections],
                "record": record and [record.finished, record.reason],
            },
        }


_HERE: Final = "the-namespace-of-the-release"


@functools.cache
def _grants(_: Path, cluster: Cluster) -> tuple[str, ...]:
    """Return what deploy/release grants, as JSON, with a word for the namespace: kubectl takes its time."""
    found: list[str] = []
    for body in kustomize(cluster, DEPLOY / "release"):
        grant: dict[str, Any] = body
        if not grant["kind"].startswith("Cluster"):
            grant["metadata"]["namespace"] = _HERE
        for subject in grant.get("subjects", ()):
            if subject["name"] == HELM_ACCOUNT:
                subject["namespace"] = _HERE
        found.append(json.dumps(grant))
    return tuple(found)

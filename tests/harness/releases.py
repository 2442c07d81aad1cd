"""A Connect release of a test's own, as its users have it: installed and changed by the real helm."""

import asyncio
import base64
import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harness.api import Api, Json, Kind, unique
from harness.installation import DEPLOY, ROOT, kustomize
from sandbox import Cluster, SandboxError, eventually
from sandbox.apply import documents

STAND_IN: Final = ROOT / "tests" / "charts" / "rstudio-connect"
HELM_ACCOUNT: Final = "connect-autoscaler-helm"
SMALLEST: Final[Json] = {"sharedStorage": {"create": True, "mount": True}, "license": {"key": "MARKER-SECRET-licence"}}
"""Values of a release that runs."""
NAME: Final = "connect"
SERVER: Final = "connect-rstudio-connect"
_VOLUMES: Final = Kind("v1", "persistentvolumes")
_NAMESPACES: Final = Kind("v1", "namespaces")


def chart() -> Path:
    """Return the chart: the repository's stand-in, or the one that $CONNECT_CHART names."""
    return Path(os.environ.get("CONNECT_CHART") or STAND_IN)


def release_options(cluster: Cluster, helm: Path | None = None) -> tuple[str, ...]:
    """Return the operator's options for releases of `chart`.

    Args:
        cluster: Where.
        helm: Instead of the real binary.
    """
    binary = str(helm or cluster.binary("helm"))
    return "--helm", binary, "--require-service-account", "--chart-dir", str(chart().parent)


class Release:
    """A release in a namespace of its own, with the rights that the operator needs there.

        async with Release(cluster, {"replicas": 2}) as release:
            profile = workspace.profile(release=release.reference)

    Args:
        cluster: Where.
        values: Over the smallest that run.
        arguments: More of `helm install`.
    """

    def __init__(self, cluster: Cluster, values: Mapping[str, Any] | None = None, *arguments: str) -> None:
        self.cluster = cluster
        self.api = Api(cluster.api)
        self.namespace = unique("posit")
        self.values = {**SMALLEST, **(values or {})}
        self._arguments = arguments

    @property
    def reference(self) -> Json:
        """Return `spec.release`."""
        return {
            "namespace": self.namespace,
            "name": NAME,
            "chart": {"path": chart().name},
            "serviceAccountName": HELM_ACCOUNT,
            "timeout": "90s",
        }

    async def __aenter__(self) -> Self:
        self.api.create(_NAMESPACES, {"kind": "Namespace", "metadata": {"name": self.namespace}}, manager="kubectl")
        self.grant()
        volume = {
            "kind": "PersistentVolume",
            "metadata": {"name": self.namespace},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "accessModes": ["ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": "/srv/connect"},
                "claimRef": {"namespace": self.namespace, "name": f"{SERVER}-shared-storage"},
            },
        }
        self.api.create(_VOLUMES, volume, manager="kubectl")
        account = Kind("v1", "serviceaccounts", self.namespace)
        await eventually(lambda: self.api.get(account, "default"))  # without it, no pods
        await self.helm("install", *self._arguments, values=self.values)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.cluster.helm, "uninstall", NAME, "--namespace", self.namespace, "--no-hooks")
        self.api.delete(_NAMESPACES, self.namespace)
        self.api.delete(_VOLUMES, self.namespace)

    def grant(self) -> None:
        """Apply deploy/release for this namespace."""
        for body in kustomize(self.cluster, DEPLOY / "release"):
            if not body["kind"].startswith("Cluster"):
                body["metadata"]["namespace"] = self.namespace
            for subject in body.get("subjects", ()):
                if subject["name"] == HELM_ACCOUNT:
                    subject["namespace"] = self.namespace
            self.cluster.apply(body)

    async def helm(self, command: str, *arguments: str, values: Mapping[str, Any] | None = None) -> None:
        """Run a command of helm on the release; `install` and `upgrade` get the chart.

        Raises:
            SandboxError: With helm's words.
        """
        with_chart = [str(chart())] if command in {"install", "upgrade"} else []
        stdin = ["--values", "-"] if values is not None else []
        options = [*with_chart, "--namespace", self.namespace, *stdin, *arguments]
        text = json.dumps(values) if values is not None else None
        done = await asyncio.to_thread(self.cluster.helm, command, NAME, *options, input=text)
        if done.returncode:
            raise SandboxError(f"helm {command}: {done.stderr}")

    def revisions(self) -> list[Json]:
        """Return every revision, decoded, the oldest first."""
        secrets = self.api.list(self.kind("secrets"), labelSelector=f"owner=helm,name={NAME}")
        decoded = [
            json.loads(gzip.decompress(base64.b64decode(base64.b64decode(s["data"]["release"])))) for s in secrets
        ]
        return sorted(decoded, key=lambda each: int(each["version"]))

    @property
    def deployed(self) -> Json:
        """Return the newest deployed revision."""
        return [each for each in self.revisions() if each["info"]["status"] == "deployed"][-1]

    @property
    def config(self) -> Json:
        """Return the user's values of the newest deployed revision."""
        return dict(self.deployed["config"])

    def manifest(self) -> list[Json]:
        """Return the rendered objects of the newest deployed revision."""
        return list(documents(self.deployed["manifest"]))

    def kind(self, plural: str) -> Kind:
        """Return a namespaced kind of this namespace."""
        versions = {"deployments": "apps/v1", "replicasets": "apps/v1", "jobs": "batch/v1"}
        return Kind(versions.get(plural, "v1"), plural, self.namespace)

    def deployment(self) -> Json:
        """Return the server's Deployment."""
        return self.api.get(self.kind("deployments"), SERVER)

    def servers(self) -> list[Json]:
        """Return the server pods that are not going."""
        pods = self.api.list(self.kind("pods"), labelSelector=f"app.kubernetes.io/instance={NAME}")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def templates(self) -> int:
        """Count how many pod templates there ever were: every one but the first is a restart of the servers."""
        return len(self.api.list(self.kind("replicasets")))

    async def rolled_out(self, *, seconds: float = 60) -> Json:
        """Wait until all servers are of the present template; return the Deployment."""

        def done() -> Json:
            body = self.deployment()
            status, wanted = body.get("status", {}), body["spec"]["replicas"]
            assert status.get("observedGeneration") == body["metadata"]["generation"]
            for count in ("replicas", "updatedReplicas", "availableReplicas"):
                assert status.get(count) == wanted, status
            return body

        return await eventually(done, timeout=seconds)

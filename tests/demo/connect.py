"""Posit Connect as it runs before anybody protects it: installed by Helm, beside a NodePool that takes everything."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from harness import NODE_CLASS, NODE_POOLS, NODES, Api, Kind
from harness.releases import chart
from sandbox import Cluster, SandboxError, eventually

NAMESPACE: Final = "posit"
RELEASE: Final = "connect"
POOL: Final = "default"
_VALUES: Final = """\
sharedStorage: {create: true, mount: true}
license: {key: FAKE}
config: {Postgres: {Password: topsecret}}
"""
PODS: Final = Kind("v1", "pods", NAMESPACE)
_VOLUMES: Final = Kind("v1", "persistentvolumes")


@dataclass(frozen=True)
class Place:
    """Where a pod runs."""

    pod: str
    node: str
    capacity: str
    pool: str


def open_pool() -> dict[str, Any]:
    """Return the NodePool that many clusters have: everything may run on it, on spot nodes, and it consolidates."""
    any_capacity = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]}
    fixed = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
    requirements = [{"key": key, "operator": "In", "values": [value]} for key, value in fixed.items()]
    return {
        "apiVersion": NODE_POOLS.version,
        "kind": "NodePool",
        "metadata": {"name": POOL},
        "spec": {
            "template": {"spec": {"nodeClassRef": NODE_CLASS, "requirements": [any_capacity, *requirements]}},
            "disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "30s"},
        },
    }


async def provide_storage(cluster: Cluster) -> None:
    """Create the volume that the chart's claim asks for, and wait until it can be bound."""
    name = "connect-storage"
    spec = {
        "capacity": {"storage": "100Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": "/srv/connect"},
    }
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    api = Api(cluster.api)
    # A claim that is there before would wait for the binder's next round, a quarter of a minute later.
    await eventually(lambda: api.get(_VOLUMES, name).get("status", {}).get("phase") == "Available")


async def install(cluster: Cluster) -> None:
    """Install the release.

    Raises:
        SandboxError: With Helm's words.
    """
    options = ("--namespace", NAMESPACE, "--create-namespace", "--values", "-")
    done = await asyncio.to_thread(cluster.helm, "install", RELEASE, chart(), *options, input=_VALUES)
    if done.returncode:
        raise SandboxError(f"helm install failed: {done.stderr}")


async def server(api: Api) -> Place:
    """Wait until the Connect server runs, and tell where."""
    return place(api, await server_pod(api))


async def server_pod(api: Api) -> dict[str, Any]:
    """Wait until the Connect server runs, and return its pod."""
    return await eventually(lambda: _running_server(api), timeout=90)


def place(api: Api, pod: dict[str, Any]) -> Place:
    """Tell where a pod runs."""
    node = api.get(NODES, pod["spec"]["nodeName"])
    labels = node["metadata"]["labels"]
    return Place(
        pod["metadata"]["name"],
        node["metadata"]["name"],
        labels["karpenter.sh/capacity-type"],
        labels["karpenter.sh/nodepool"],
    )


def _running_server(api: Api) -> dict[str, Any]:
    pods = api.list(PODS, labelSelector=f"app.kubernetes.io/instance={RELEASE}")
    running = (pod for pod in pods if pod["status"]["phase"] == "Running")
    return next(pod for pod in running if "deletionTimestamp" not in pod["metadata"])

"""The vendor page's promises from beginning to end.

`make test` lets nodes churn for half a minute; `make e2e` for $E2E_MINUTES, ten by default, on each Karpenter.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from demo import connect
from harness import NODE_CLAIMS, NODE_POOLS, Api, Json, Kind, Operator, Release, Workspace
from harness.releases import release_options
from sandbox import Cluster, cluster, eventually

CHURN = 60 * float(os.environ.get("E2E_MINUTES", "0.5"))
"""Seconds."""
VERSIONS = os.environ.get("E2E_KARPENTER", "1.14").split(",")
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
IMPATIENT = {"BATCH_IDLE_DURATION": "200ms", "BATCH_MAX_DURATION": "1s"}
RENDERED = {"karpenter.sh/do-not-disrupt": "true"}


@pytest.fixture(scope="module", params=VERSIONS)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster as many are: one NodePool that takes everything and consolidates."""
    async with cluster(karpenter=request.param, karpenter_env=IMPATIENT) as running:
        running.apply(
            {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": "default"}}
        )
        pool = connect.open_pool()
        pool["spec"]["disruption"]["consolidateAfter"] = "0s"
        running.apply(pool)
        account = Kind("v1", "serviceaccounts", "default")
        await eventually(lambda: Api(running.api).get(account, "default"))  # without it, no pods
        yield running


@asynccontextmanager
async def operated(scene: Cluster) -> AsyncIterator[Operator]:
    async with Operator(scene, *release_options(scene)) as operator:
        yield operator


async def test_consolidation_never_takes_a_server_with_it(scene: Cluster) -> None:
    async with (
        operated(scene),
        Workspace(scene) as workspace,
        Release(scene, {"resources": {"requests": {"cpu": "1"}}}) as release,
    ):
        quick = {"disruption": {"consolidateAfter": "0s", "budgets": [{"nodes": "100%"}]}}
        profile = workspace.profile(release=release.reference, contentPool=quick)
        await profile.ready(seconds=120)
        await release.rolled_out()
        server = await running_server(release)
        placement = profile.read()["spec"]["placement"]
        nodes = {placement["labelKey"]: placement["content"]}
        with content(release, "render", nodes, RENDERED) as render:
            async with crowd(scene, release.namespace, nodes):
                began = await eventually(lambda: running(release, render), timeout=90)
                ends = time.monotonic() + CHURN
                while time.monotonic() < ends:
                    assert not moved(release, server), "the server moved"
                    assert running(release, render)["metadata"]["uid"] == began["metadata"]["uid"], "the render moved"
                    await asyncio.sleep(1)
        pool = f"karpenter.sh/nodepool={profile.content}"
        await eventually(lambda: not release.api.list(NODE_CLAIMS, labelSelector=pool), timeout=120)
        await profile.ready()


async def test_expiry_is_not_stopped_by_the_annotation(scene: Cluster) -> None:
    """The page says otherwise; a profile's server pool never gets there, since its nodes never expire."""
    api = Api(scene.api)
    short = connect.open_pool()
    short["metadata"]["name"] = "short-lived"
    short["spec"]["template"]["metadata"] = {"labels": {"life": "short"}}
    short["spec"]["template"]["spec"]["expireAfter"] = "20s"
    scene.apply(short)
    async with Release(scene, {"nodeSelector": {"life": "short"}, "pod": {"annotations": RENDERED}}) as release:
        server = await running_server(release)
        assert server["metadata"]["annotations"][DO_NOT_DISRUPT] == "true"

        def expired() -> bool:
            claims = api.list(NODE_CLAIMS, labelSelector="karpenter.sh/nodepool=short-lived")
            return any("deletionTimestamp" in claim["metadata"] for claim in claims)

        await eventually(expired, timeout=120)
    api.delete(NODE_POOLS, "short-lived")


async def running_server(release: Release) -> Json:
    """Wait for the only server; return its pod."""
    await release.rolled_out(seconds=120)
    (server,) = release.servers()
    return server


def moved(release: Release, server: Json) -> bool:
    """Tell whether the server is another pod than it was, or is about to be."""
    pods = release.servers()
    return not pods or all(pod["metadata"]["uid"] != server["metadata"]["uid"] for pod in pods)


def running(release: Release, name: str) -> Json:
    """Return a pod that runs."""
    pod = release.api.get(release.kind("pods"), name)
    assert pod["status"]["phase"] == "Running", pod["status"]
    return pod


@asynccontextmanager
async def crowd(scene: Cluster, namespace: str, nodes: dict[str, str] | None = None) -> AsyncIterator[None]:
    """Let pods come and go all the time, so that nodes are bought, emptied and consolidated."""
    task = asyncio.create_task(_churn(scene, namespace, nodes or {}))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        _clear(scene, namespace)


async def _churn(scene: Cluster, namespace: str, nodes: dict[str, str]) -> None:
    number = 0
    while True:
        for size in ("30", "3", "7"):
            number += 1
            await asyncio.to_thread(scene.apply, _filler(f"filler-{number}", namespace, size, nodes))
        await asyncio.sleep(8)
        await asyncio.to_thread(_clear, scene, namespace)
        await asyncio.sleep(4)


def _filler(name: str, namespace: str, cpu: str, nodes: dict[str, str]) -> Json:
    container: dict[str, Any] = {"name": "main", "image": "none", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"crowd": "yes"}},
        "spec": {"nodeSelector": nodes, "containers": [container], "terminationGracePeriodSeconds": 0},
    }


def _clear(scene: Cluster, namespace: str) -> None:
    scene.kubectl("delete", "pods", "--namespace", namespace, "--selector", "crowd=yes", "--wait=false")


@contextmanager
def content(release: Release, name: str, nodes: dict[str, str], annotations: dict[str, str]) -> Iterator[str]:
    """Have a content pod."""
    pod = {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "rstudio_connect"}, "annotations": annotations},
        "spec": {"nodeSelector": nodes, "containers": [{"name": "main", "image": "none"}]},
    }
    release.api.create(release.kind("pods"), pod)
    try:
        yield name
    finally:
        release.api.delete(release.kind("pods"), name)

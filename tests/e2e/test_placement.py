"""The checks of placement on a whole cluster: each property is broken for real, and the right check says so in time."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import NODE_CLAIMS, NODES, Operator, Profile, Release, Workspace
from harness.releases import release_options
from sandbox import Cluster, eventually

SECONDS = 5
"""What a check may take from the event to the status."""
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
CONTENT = {"app.kubernetes.io/name": "rstudio_connect"}


@pytest.fixture(scope="module")
async def placed(release_cluster: Cluster) -> AsyncIterator[tuple[Profile, Release]]:
    """Have a release whose server has moved."""
    async with (
        Operator(release_cluster, *release_options(release_cluster)),
        Workspace(release_cluster) as workspace,
        Release(release_cluster) as release,
    ):
        quick = {"disruption": {"consolidateAfter": "1s"}}
        profile = workspace.profile(release=release.reference, contentPool=quick)
        await profile.ready(seconds=90)
        await release.rolled_out()
        yield profile, release


async def test_an_annotation_that_goes(placed: tuple[Profile, Release]) -> None:
    profile, release = placed
    (server,) = release.servers()
    annotate(release, server, None)
    await fails(profile, "ServerProtected", server["metadata"]["name"])
    await profile.condition_is("Ready", "False")
    annotate(release, server, "true")
    await passes(profile, "ServerProtected")
    await profile.ready()


async def test_a_label_that_goes(placed: tuple[Profile, Release]) -> None:
    profile, release = placed
    (server,) = release.servers()
    node = server["spec"]["nodeName"]
    release.api.merge(NODES, node, {"metadata": {"labels": {"workload": None}}})
    await fails(profile, "ServerOnServerPool", node)
    value = profile.read()["spec"]["placement"]["server"]
    release.api.merge(NODES, node, {"metadata": {"labels": {"workload": value}}})
    await passes(profile, "ServerOnServerPool")


async def test_content_among_the_servers(placed: tuple[Profile, Release]) -> None:
    profile, release = placed
    (server,) = release.servers()
    with content(release, server["spec"]["nodeName"]) as name:
        await fails(profile, "ContentOnContentPool", name)
    await eventually(lambda: result(profile, "ContentOnContentPool") == "NotApplicable", timeout=30)


async def test_a_stranger_that_keeps_an_idle_node(placed: tuple[Profile, Release]) -> None:
    profile, release = placed
    placement = profile.read()["spec"]["placement"]
    pod = {
        "kind": "Pod",
        "metadata": {"name": "stranger", "annotations": {DO_NOT_DISRUPT: "true"}},
        "spec": {
            "nodeSelector": {placement["labelKey"]: placement["content"]},
            "containers": [{"name": "main", "image": "none"}],
        },
    }
    release.api.create(release.kind("pods"), pod)
    await eventually(
        lambda: release.api.get(release.kind("pods"), "stranger")["status"]["phase"] == "Running", timeout=60
    )
    found = await eventually(lambda: failed(profile, "ContentScalesDown"), timeout=100)
    assert f"pod {release.namespace}/stranger" in found["message"]
    assert DO_NOT_DISRUPT in found["message"]
    listed = [(each["namespace"], each["name"]) for each in profile.status["foreignPods"]]
    assert (release.namespace, "stranger") in listed
    release.api.delete(release.kind("pods"), "stranger")
    await passes(profile, "ContentScalesDown", seconds=60)


async def test_a_server_node_that_is_being_deleted(placed: tuple[Profile, Release]) -> None:
    """The last one: the node drains for ever, since the server holds it."""
    profile, release = placed
    (claim,) = release.api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={profile.server}")
    release.api.delete(NODE_CLAIMS, claim["metadata"]["name"])
    await fails(profile, "ServerNodesPersist", claim["metadata"]["name"])


def check(profile: Profile, name: str) -> dict[str, Any]:
    """Return a check as status has it."""
    return next(dict(each) for each in profile.status["checks"] if each["name"] == name)


def result(profile: Profile, name: str) -> str:
    """Return its result."""
    return str(check(profile, name)["result"])


def failed(profile: Profile, name: str) -> dict[str, Any]:
    """Return the check if it failed, and no other has."""
    assert [each["name"] for each in profile.status["checks"] if each["result"] == "Failed"] == [name]
    return check(profile, name)


async def fails(profile: Profile, name: str, word: str) -> None:
    """Wait until this check fails, and it alone; it must not take long."""
    begun = time.monotonic()
    found = await eventually(lambda: failed(profile, name), timeout=30)
    assert word in found["message"]
    assert time.monotonic() - begun < SECONDS


async def passes(profile: Profile, name: str, *, seconds: float = 30) -> None:
    """Wait until the check passes."""
    await eventually(lambda: result(profile, name) == "Passed", timeout=seconds)


def annotate(release: Release, pod: dict[str, Any], value: str | None) -> None:
    """Set the annotation of a pod; None removes it."""
    patch = {"metadata": {"annotations": {DO_NOT_DISRUPT: value}}}
    release.api.merge(release.kind("pods"), pod["metadata"]["name"], patch)


@contextmanager
def content(release: Release, node: str) -> Iterator[str]:
    """Have a content pod on a node."""
    pod = {
        "kind": "Pod",
        "metadata": {"name": "run-app-1", "labels": CONTENT},
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "none"}],
        },
    }
    release.api.create(release.kind("pods"), pod)
    try:
        yield "run-app-1"
    finally:
        release.api.delete(release.kind("pods"), "run-app-1")

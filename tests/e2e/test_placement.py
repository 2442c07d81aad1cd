"""The checks of placement on a whole cluster: each property is broken for real, and the right check says so in time."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from harness import NODE_CLAIMS, NODE_POOLS, NODES, PROFILES, Json, Operator, Profile, Release, Timeline, Workspace
from harness.releases import release_options
from sandbox import Cluster, eventually

SECONDS = 5.0
"""What a check may take from the event to the status."""
SCALE_DOWN = 60.0
"""What scale-down may take beyond consolidateAfter, which is a second here."""
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
CONTENT = {"app.kubernetes.io/name": "rstudio_connect"}
NODE_POOL = "karpenter.sh/nodepool"

Breaks = Callable[..., AbstractAsyncContextManager[None]]


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


@pytest.fixture
def breaks(
    placed: tuple[Profile, Release],
    request: pytest.FixtureRequest,
    record_testsuite_property: Callable[[str, object], None],
) -> Breaks:
    """What is done inside makes one check fail, and no other ever, and it does not take long: that is recorded."""
    profile, release = placed

    @asynccontextmanager
    async def context(name: str, *words: str, within: float = SECONDS) -> AsyncIterator[None]:
        async with Timeline(release.cluster, PROFILES) as profiles:
            assert failed(profile.read()) == []
            begun = time.perf_counter()
            yield
            event = await profiles.until(
                lambda each: each.name == profile.name and bool(failed(each.object)), seconds=within + 30
            )
            assert failed(event.object) == [name]
            assert all(word in check(event.object, name)["message"] for word in words), check(event.object, name)
            record_testsuite_property(f"{request.node.name}: seconds to the verdict", round(event.at - begun, 2))
            assert event.at - begun < within

    return context


async def test_an_annotation_that_goes(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    profile, release = placed
    (server,) = release.servers()
    async with breaks("ServerProtected", server["metadata"]["name"]):
        annotate(release, server, None)
    await profile.condition_is("Ready", "False")
    annotate(release, server, "true")
    await passes(profile, "ServerProtected")
    await profile.ready()


async def test_a_placement_label_that_goes(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    profile, release = placed
    (server,) = release.servers()
    node = server["spec"]["nodeName"]
    async with breaks("ServerOnServerPool", node, "lacks label workload="):
        label(release, node, "workload", None)
    label(release, node, "workload", profile.read()["spec"]["placement"]["server"])
    await passes(profile, "ServerOnServerPool")


async def test_a_node_of_another_pool(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    profile, release = placed
    (server,) = release.servers()
    node = server["spec"]["nodeName"]
    async with breaks("ServerOnServerPool", f"runs on {node} of NodePool {profile.content}"):
        label(release, node, NODE_POOL, profile.content)
    label(release, node, NODE_POOL, profile.server)
    await passes(profile, "ServerOnServerPool")


async def test_a_pool_that_lets_nodes_go(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    """While nobody puts it right; else it is over before it is seen."""
    profile, release = placed
    profile.patch({"driftPolicy": {"nodePools": "Warn"}})
    await profile.ready()
    async with breaks("ServerNodesPersist", f"NodePool {profile.server} lets Karpenter disrupt nodes in use"):
        release.api.merge(NODE_POOLS, profile.server, {"spec": {"disruption": {"budgets": [{"nodes": "10%"}]}}})
    profile.patch({"driftPolicy": {"nodePools": "Correct"}})
    await passes(profile, "ServerNodesPersist")
    await profile.ready()


async def test_content_among_the_servers(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    profile, release = placed
    (server,) = release.servers()
    with ExitStack() as stack:
        async with breaks("ContentOnContentPool", "run-app-1", profile.server):
            stack.enter_context(content(release, server["spec"]["nodeName"]))
    await eventually(lambda: result(profile, "ContentOnContentPool") == "NotApplicable", timeout=30)


async def test_a_stranger_that_keeps_an_idle_node(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    profile, release = placed
    placement = profile.read()["spec"]["placement"]
    pods = release.kind("pods")
    pod = {
        "kind": "Pod",
        "metadata": {"name": "stranger", "annotations": {DO_NOT_DISRUPT: "true"}},
        "spec": {
            "nodeSelector": {placement["labelKey"]: placement["content"]},
            "containers": [{"name": "main", "image": "none"}],
        },
    }
    # The node on which the server ran before it moved, for one, may still be there, and idle for longer.
    of_content = f"{NODE_POOL}={profile.content}"
    await eventually(lambda: not release.api.list(NODE_CLAIMS, labelSelector=of_content), timeout=90)
    begun = time.perf_counter()
    holder = f"pod {release.namespace}/stranger"
    # From its start the node, which takes its time to come, is idle: no content runs on it.
    async with breaks("ContentScalesDown", holder, DO_NOT_DISRUPT, within=1 + SCALE_DOWN + SECONDS):
        release.api.create(pods, pod)
        await eventually(lambda: release.api.get(pods, "stranger")["status"]["phase"] == "Running", timeout=60)
    assert time.perf_counter() - begun > SCALE_DOWN, "it was too early to complain"
    listed = [(each["namespace"], each["name"]) for each in profile.status["foreignPods"]]
    assert (release.namespace, "stranger") in listed
    release.api.delete(pods, "stranger")
    await passes(profile, "ContentScalesDown", seconds=60)


async def test_a_server_node_that_is_being_deleted(placed: tuple[Profile, Release], breaks: Breaks) -> None:
    """The last one: the node drains for ever, since the server holds it."""
    profile, release = placed
    (claim,) = release.api.list(NODE_CLAIMS, labelSelector=f"{NODE_POOL}={profile.server}")
    async with breaks("ServerNodesPersist", claim["metadata"]["name"]):
        release.api.delete(NODE_CLAIMS, claim["metadata"]["name"])


def check(profile: Json, name: str) -> dict[str, Any]:
    """Return a check as status has it."""
    return next(dict(each) for each in profile["status"]["checks"] if each["name"] == name)


def result(profile: Profile, name: str) -> str:
    """Return the result of a check as it is now."""
    return str(check(profile.read(), name)["result"])


def failed(profile: Json) -> list[str]:
    """Return the checks that fail."""
    return [each["name"] for each in profile["status"]["checks"] if each["result"] == "Failed"]


async def passes(profile: Profile, name: str, *, seconds: float = 30) -> None:
    """Wait until the check passes."""
    await eventually(lambda: result(profile, name) == "Passed", timeout=seconds)


def annotate(release: Release, pod: dict[str, Any], value: str | None) -> None:
    """Set the annotation of a pod; None removes it."""
    patch = {"metadata": {"annotations": {DO_NOT_DISRUPT: value}}}
    release.api.merge(release.kind("pods"), pod["metadata"]["name"], patch)


def label(release: Release, node: str, key: str, value: str | None) -> None:
    """Set a label of a node; None removes it."""
    release.api.merge(NODES, node, {"metadata": {"labels": {key: value}}})


@contextmanager
def content(release: Release, node: str) -> Iterator[None]:
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
        yield
    finally:
        release.api.delete(release.kind("pods"), "run-app-1")

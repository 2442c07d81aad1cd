"""What keeps nodes is looked up beside the passes: they never wait for it, and long lists are read to their end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest

from connect_autoscaler.api.names import LABEL_NODEPOOL
from connect_autoscaler.core import placement_reader
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.placement_reader import PlacementReader
from connect_autoscaler.core.release_model import ReleaseView
from connect_autoscaler.nodepools.claims import NodeClaim
from harness import NODES, Api, Json, Kind, unique
from sandbox import Cluster, eventually
from unit.builders import profile

ACCOUNTS = Kind("v1", "serviceaccounts", "default")
PODS = Kind("v1", "pods", "default")
OWNER = profile()
VIEW = ReleaseView("default", "connect")
GUESTS = 5


@pytest.fixture
def node(api_cluster: Cluster) -> Iterator[str]:
    """A node of a pool, with more pods than a page holds."""
    api, name = Api(api_cluster.api), unique("node")
    if not api.find(ACCOUNTS, "default"):
        api.create(ACCOUNTS, {"kind": "ServiceAccount", "metadata": {"name": "default"}})
    api.create(NODES, {"kind": "Node", "metadata": {"name": name, "labels": {LABEL_NODEPOOL: name}}})
    spec = {"nodeName": name, "containers": [{"name": "main", "image": "none"}]}
    names = [f"{name}-{n}" for n in range(GUESTS)]
    for each in names:
        api.create(PODS, {"kind": "Pod", "metadata": {"name": each}, "spec": spec})
    yield name
    api.delete(NODES, name)


@contextlib.asynccontextmanager
async def reader(cluster: Cluster) -> AsyncIterator[tuple[PlacementReader, asyncio.Event]]:
    changed = asyncio.Event()
    async with await Kube.connect(str(cluster.kubeconfig)) as kube:
        it = PlacementReader(kube, lambda: datetime.now(UTC), changed.set)
        yield it, changed
        it.close()


def claim(node: str) -> NodeClaim:
    meta = {"name": node, "uid": node, "resourceVersion": "1", "creationTimestamp": "2026-03-02T12:00:00Z"}
    return NodeClaim.of({"metadata": meta, "status": {"nodeName": node}})


async def test_a_look_does_not_wait_for_the_survey(
    api_cluster: Cluster, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_reader, "_PAGE", "2")
    pool: Json = {"metadata": {"name": node}}
    async with reader(api_cluster) as (it, changed):
        scene = await it.look(OWNER, VIEW, [pool], [], [claim(node)], [])
        assert scene.survey is None
        assert set(scene.nodes or {}) == {node}

        async def surveyed() -> bool:
            seen = await it.look(OWNER, VIEW, [pool], [], [claim(node)], [])
            return seen.survey is not None

        while not await surveyed():
            changed.clear()
            async with asyncio.timeout(30):
                await changed.wait()
        survey = (await it.look(OWNER, VIEW, [pool], [], [claim(node)], [])).survey
        assert survey is not None
        assert survey.complete
        assert sorted(guest.name for guest in survey.guests) == [f"{node}-{n}" for n in range(GUESTS)]


async def test_a_list_that_never_ends_is_not_taken_for_whole(
    api_cluster: Cluster, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_reader, "_PAGE", "1")
    monkeypatch.setattr(placement_reader, "_PAGES", GUESTS - 1)
    async with reader(api_cluster) as (it, _):
        await it.look(OWNER, VIEW, [], [], [claim(node)], [])
        survey = await eventually(lambda: it.survey)
        assert survey is not None
        assert not survey.complete
        assert len(survey.guests) == GUESTS - 1


async def test_without_a_pool_there_is_no_node_to_see(api_cluster: Cluster) -> None:
    async with reader(api_cluster) as (it, _):
        assert (await it.look(OWNER, VIEW, [], [], [], [])).nodes == {}

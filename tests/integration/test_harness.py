"""The harness itself: that others can rely on it."""

import logging

import pytest
from pykube.exceptions import HTTPError

from harness import (
    COLLEAGUE,
    NODE_CLAIMS,
    NODE_CLASS,
    NODE_POOLS,
    PROFILES,
    FakeKarpenterStatus,
    LocalOperator,
    Operator,
    Timeline,
    Workspace,
    stamp_ready,
    unique,
)
from sandbox import NotYetError, SandboxError, eventually


def claim(pool: str) -> dict[str, object]:
    spec = {"nodeClassRef": NODE_CLASS, "requirements": []}
    metadata = {"name": unique("claim"), "labels": {"karpenter.sh/nodepool": pool}}
    return {"kind": "NodeClaim", "metadata": metadata, "spec": spec}


async def test_a_local_operator_works_and_leaves_nothing(local_operator: LocalOperator) -> None:
    async with Workspace(local_operator.cluster) as workspace:
        profile = workspace.profile(contentPool={"weight": 5})
        await profile.ready()
        assert profile.pool(profile.content)["spec"]["weight"] == 5
        workspace.create(NODE_CLAIMS, claim(profile.server))
        await profile.condition_is_absent("Reconciling")
        api = workspace.api
    assert api.find(PROFILES, profile.name) is None
    assert [api.find(NODE_POOLS, name) for name in (profile.server, profile.content)] == [None, None]
    assert api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={profile.server}") == []


async def test_a_timeline_sees_a_bend_and_its_correction(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    async with Timeline(local_workspace.cluster, NODE_POOLS) as timeline:
        local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
        bent = await timeline.until(lambda event: event.object["spec"]["weight"] == 6)
        right = await timeline.until(lambda event: event.object["spec"]["weight"] == 5)
        assert bent.at < right.at
        with pytest.raises(TimeoutError):
            await timeline.until(lambda event: event.type == "DELETED", seconds=0.1)
    (item,) = await eventually(profile.drift)
    assert (item["path"], item["manager"]) == ("/spec/weight", COLLEAGUE)


async def test_conditions_are_played_by_hand_where_asked(
    fake_karpenter: FakeKarpenterStatus, local_workspace: Workspace
) -> None:
    name = unique()
    fake_karpenter.skip |= {f"{name}-server", f"{name}-content"}
    profile = local_workspace.profile(name)
    await profile.condition_is("Ready", "Unknown")
    with pytest.raises(NotYetError, match="Unknown"):
        await profile.ready(seconds=0)
    stamp_ready(local_workspace.api, profile.server)
    stamp_ready(local_workspace.api, profile.content, false="NodeClassReady", reason="Broken")
    await profile.condition_is("NodePoolsReady", "False", "NodeClassNotReady")
    stamp_ready(local_workspace.api, profile.content)
    await profile.ready()


async def test_a_local_operator_stops_and_starts(local_operator: LocalOperator, local_workspace: Workspace) -> None:
    await local_operator.stop()
    profile = local_workspace.profile()
    with pytest.raises(NotYetError):
        await profile.condition_is("Ready", seconds=0.5)
    await local_operator.start()
    await profile.ready()
    logging.getLogger("connect_autoscaler").warning("not the operator's own words")
    assert "own words" not in local_operator.log()


async def test_the_shipped_operator_stops_dies_and_starts(fake_karpenter: FakeKarpenterStatus) -> None:
    async with Operator(fake_karpenter.cluster, "--verbose") as operator:
        assert operator.healthy()
        first, port = operator.pid, operator.port
        await operator.kill()
        assert not operator.running
        assert not operator.healthy()
        await operator.start()
        assert (operator.pid, operator.port) != (first, port)
        await operator.restart()
        assert operator.log().count("probes on port") == 3
    assert not operator.healthy()


async def test_an_operator_that_ends_by_itself_is_an_error(fake_karpenter: FakeKarpenterStatus) -> None:
    with pytest.raises(SandboxError, match="No such option"):
        async with Operator(fake_karpenter.cluster, "--nonsense"):
            pass


async def test_refusals_are_told(local_workspace: Workspace) -> None:
    with pytest.raises(HTTPError, match="unknown field") as refused:
        local_workspace.api.create(NODE_CLAIMS, {**claim("x"), "nonsense": 1})
    assert refused.value.code == 400

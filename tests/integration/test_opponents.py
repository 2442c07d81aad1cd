"""Opponents as clusters have them, one of each kind: few writes, a name in status, and peace when they stop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

import pytest

from harness import COLLEAGUE, NODE_POOLS, Api, Json, Workspace
from integration.opponents import MOST, STATUS_BURST, STATUS_PAUSE, Opponent, at_peace, fighting, patching
from integration.written import POOLS, STATUS, Written

TICK: Final = 0.1
WHILE: Final = 1.5
UID: Final = "connect-autoscaler.io/profile-uid"
_OURS: Final = ("name", "labels", "annotations", "finalizers")
Move = Callable[[Api, Json], bool]


@dataclass(frozen=True)
class Kind:
    """What an opponent does.

    Attributes:
        manager: His field manager.
        field: Over what he fights.
        move: One move.
        every: Seconds between his looks; None: he follows the NodePool.
        named: What status calls him, if that is not his field manager.
    """

    manager: str
    field: str
    move: Move
    every: float | None = None
    named: str = ""


def gitops() -> Kind:
    """A GitOps tool: forced server-side apply of what stands in Git, again and again, needed or not."""
    manager = "argocd-controller"

    def move(api: Api, pool: Json) -> bool:
        name = pool["metadata"]["name"]
        body = {"kind": "NodePool", "metadata": {"name": name}, "spec": {"weight": 9}}
        api.apply(NODE_POOLS, name, body, manager=manager, force=True)
        return True

    return Kind(manager, "/spec/weight", move, TICK)


def editor() -> Kind:
    """A person with `kubectl edit`, who saves whenever his value is gone."""
    limits = {"spec": {"limits": {"cpu": "1000"}}}
    move = patching(
        NODE_POOLS, limits, unless=lambda pool: bool(pool["spec"]["limits"]["cpu"] == "1000"), manager=COLLEAGUE
    )
    return Kind(COLLEAGUE, "/spec/limits/cpu", move)


def replacer() -> Kind:
    """A person with `kubectl replace`, whose copy of the NodePool lacks what the operator has added."""
    manager = "kubectl-replace"

    def move(api: Api, pool: Json) -> bool:
        if pool["spec"].get("weight") == 7:
            return False
        keep = {key: pool["metadata"][key] for key in ("name", "uid", "resourceVersion", "annotations")}
        api.replace(
            NODE_POOLS,
            {"kind": "NodePool", "metadata": keep, "spec": {**pool["spec"], "weight": 7}},
            manager=manager,
        )
        return True

    return Kind(manager, "/spec/weight", move)


def autoscaler() -> Kind:
    """An autoscaler: one number, and never the same one twice."""
    manager, numbers = "horizontal-pod-autoscaler", count(65)

    def move(api: Api, pool: Json) -> bool:
        limits = {"spec": {"limits": {"cpu": str(next(numbers))}}}
        api.merge(NODE_POOLS, pool["metadata"]["name"], limits, manager=manager)
        return True

    return Kind(manager, "/spec/limits/cpu", move, TICK)


def second_operator() -> Kind:
    """A copy of the operator that knows the pool as that of a profile of the same name with another uid and spec."""
    manager = "connect-autoscaler"

    def move(api: Api, pool: Json) -> bool:
        if pool["spec"].get("weight") == 8:
            return False
        meta = {key: pool["metadata"][key] for key in _OURS if key in pool["metadata"]}
        meta["annotations"] = {UID: "of-another-cluster"}
        body = {"kind": "NodePool", "metadata": meta, "spec": {**pool["spec"], "weight": 8}}
        api.apply(NODE_POOLS, meta["name"], body, manager=manager, force=True)
        return True

    return Kind(manager, "/metadata/annotations/connect-autoscaler.io~1profile-uid", move, named="Another copy")


@pytest.mark.parametrize("make", [gitops, editor, replacer, autoscaler, second_operator])
async def test_he_is_named_and_costs_few_writes(local_workspace: Workspace, make: Callable[[], Kind]) -> None:
    cluster, kind = local_workspace.cluster, make()
    profile = local_workspace.profile(contentPool={"weight": 5, "limits": {"cpu": "64"}})
    await profile.ready()
    before = profile.pool(profile.content)
    written, reported = Written(cluster, [profile.content]), Written(cluster, [profile.name])
    async with Opponent(cluster, NODE_POOLS, profile.content, kind.move, every=kind.every) as opponent:
        message = await fighting(profile, f"NodePool/{profile.content}{kind.field}")
        assert kind.manager in message
        assert kind.named in message
        await asyncio.sleep(WHILE)
        assert opponent.moves >= MOST
        assert written.counts == {POOLS: MOST}
        assert reported.counts[STATUS] <= STATUS_BURST + WHILE / STATUS_PAUSE
        (item,) = (each for each in profile.drift() if each["path"] == kind.field)
        assert (item["action"], item["reason"], item["manager"]) == ("Deferred", "FightDetected", kind.manager)
    await at_peace(profile)
    after = profile.pool(profile.content)
    assert after["spec"] == before["spec"]
    assert {key: after["metadata"].get(key) for key in _OURS} == {key: before["metadata"].get(key) for key in _OURS}

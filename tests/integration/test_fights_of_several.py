"""Opponents of every kind, also several at once: few writes, named in status, and peace when they stop."""

import asyncio
import time
from collections.abc import Callable
from itertools import count
from typing import Final

import pytest

from connect_autoscaler.core.fights import MAX_PER_TARGET
from harness import NODE_CLAIMS, NODE_POOLS, PROFILES, Api, Json, LocalOperator, Profile, Workspace
from integration.claims import node_claim
from integration.opponents import (
    LONG,
    MOST,
    OPPONENT,
    SHORT,
    STATUS_BURST,
    STATUS_PAUSE,
    Opponent,
    at_peace,
    fighting,
    patching,
)
from integration.written import CLAIMS, FINALIZER, POOLS, STATUS, Written
from sandbox import eventually

GITOPS, STRIPPER, SCALER = "argocd-controller", "label-cleaner", "horizontal-autoscaler"
PROTECT: Final = "connect-autoscaler.io/protect"
LABELS: Final[Json] = {"metadata": {"labels": {"connect-autoscaler.io/profile": None}}}


def syncing(spec: Json) -> Callable[[Api, Json], bool]:
    """Return a GitOps tool's move: forced server-side apply of what stands in Git, unless it is in place."""

    def move(api: Api, pool: Json) -> bool:
        if spec.items() <= pool["spec"].items():
            return False
        name = pool["metadata"]["name"]
        body = {"kind": "NodePool", "metadata": {"name": name}, "spec": spec}
        api.apply(NODE_POOLS, name, body, manager=GITOPS, force=True)
        return True

    return move


def stripped(pool: Json) -> bool:
    return "connect-autoscaler.io/profile" not in pool["metadata"].get("labels", {})


async def settled_profile(workspace: Workspace) -> Profile:
    profile = workspace.profile(contentPool={"weight": 5, "limits": {"cpu": "64"}})
    await profile.ready()
    return profile


async def test_a_gitops_tool_and_a_stripper_of_labels_at_once(local_workspace: Workspace) -> None:
    profile, cluster = await settled_profile(local_workspace), local_workspace.cluster
    written, reported = Written(cluster, [profile.content]), Written(cluster, [profile.name])
    sync = syncing({"weight": 9})
    strip = patching(NODE_POOLS, LABELS, unless=stripped, manager=STRIPPER)
    began = time.monotonic()
    async with (
        Opponent(cluster, NODE_POOLS, profile.content, sync) as tool,
        Opponent(cluster, NODE_POOLS, profile.content, strip) as stripper,
    ):

        def told() -> bool:
            message = (profile.condition("Fighting") or {"message": ""})["message"]
            assert f"NodePool/{profile.content}/spec/weight" in message
            assert f"NodePool/{profile.content}/metadata/labels/" in message
            assert GITOPS in message
            # Nobody owns a field that is gone: the API server does not know who took it away.
            assert "Somebody unknown" in message
            return True

        await eventually(told)
        await asyncio.sleep(began + LONG - time.monotonic())
        assert min(tool.moves, stripper.moves) >= MOST
        # One correction may mend what both did.
        assert MOST <= written.counts[POOLS] <= 2 * MOST
        assert reported.counts[STATUS] <= STATUS_BURST + LONG / STATUS_PAUSE
        drift = {item["path"]: item["manager"] for item in profile.drift() if item["action"] == "Deferred"}
        assert drift["/spec/weight"] == GITOPS
    await at_peace(profile)
    assert profile.pool(profile.content)["spec"]["weight"] == 5
    assert not stripped(profile.pool(profile.content))


async def test_one_that_bends_something_else_each_time(local_workspace: Workspace) -> None:
    """As an autoscaler does: never the same value, and here never the same path either."""
    profile, cluster = await settled_profile(local_workspace), local_workspace.cluster
    other = await settled_profile(local_workspace)
    written, reported = Written(cluster, [profile.content]), Written(cluster, [profile.name])
    numbers = count()

    def bend(api: Api, pool: Json) -> bool:
        labels = pool["spec"]["template"].get("metadata", {}).get("labels", {})
        if any(key.startswith("example.com/") for key in labels):
            return False
        patch = {"metadata": {"labels": {f"example.com/n{next(numbers)}": "bent"}}}
        api.merge(NODE_POOLS, pool["metadata"]["name"], {"spec": {"template": patch}}, manager=SCALER)
        return True

    began = time.monotonic()
    async with Opponent(cluster, NODE_POOLS, profile.content, bend) as opponent:
        message = await fighting(profile, f"NodePool/{profile.content}")
        assert SCALER in message
        # Nobody else is slowed down by it.
        other.api.merge(NODE_POOLS, other.content, {"spec": {"weight": 6}})
        await eventually(lambda: other.pool(other.content)["spec"]["weight"] == 5)
        await asyncio.sleep(max(0.0, began + LONG - time.monotonic()))
        lasted = time.monotonic() - began
        assert opponent.moves > MAX_PER_TARGET
        assert written.counts[POOLS] == MAX_PER_TARGET + 1
        assert reported.counts[STATUS] <= STATUS_BURST + lasted / STATUS_PAUSE
    await at_peace(profile)
    labels = profile.pool(profile.content)["spec"]["template"]["metadata"]["labels"]
    assert set(labels) == {"workload"}


async def test_over_the_finalizer_of_a_pool(local_workspace: Workspace) -> None:
    profile, cluster = await settled_profile(local_workspace), local_workspace.cluster
    written = Written(cluster, [profile.server])

    def bare(pool: Json) -> bool:
        return PROTECT not in pool["metadata"].get("finalizers", ())

    strip = patching(NODE_POOLS, {"metadata": {"finalizers": None}}, unless=bare)
    async with Opponent(cluster, NODE_POOLS, profile.server, strip) as opponent:
        await fighting(profile, f"NodePool/{profile.server}/metadata/finalizers")
        await asyncio.sleep(SHORT)
        assert opponent.moves >= MOST
        assert written.counts == {POOLS: MOST}
    await at_peace(profile)
    assert not bare(profile.pool())


async def test_over_the_ownership_of_a_node(local_workspace: Workspace) -> None:
    """Somebody gives a protected pool's NodeClaim its ownerReference back whenever it is gone."""
    profile, cluster = await settled_profile(local_workspace), local_workspace.cluster
    pool = profile.pool()
    written = Written(cluster)
    claim = node_claim(local_workspace, pool)
    await eventually(lambda: "ownerReferences" not in profile.api.get(NODE_CLAIMS, claim)["metadata"])
    owner = {
        "apiVersion": NODE_POOLS.version,
        "kind": "NodePool",
        "name": profile.server,
        "uid": pool["metadata"]["uid"],
    }
    own = patching(
        NODE_CLAIMS,
        {"metadata": {"ownerReferences": [owner]}},
        unless=lambda body: bool(body["metadata"].get("ownerReferences")),
    )
    async with Opponent(cluster, NODE_CLAIMS, claim, own) as opponent:
        await fighting(profile, f"NodeClaim/{claim}/metadata/ownerReferences")
        await asyncio.sleep(SHORT)
        assert opponent.moves >= MOST
        assert sum(each.name == claim and each.code < 300 for each in written.entries) == MOST
        assert written.counts[CLAIMS] <= 2 * MOST
    await at_peace(profile)
    await eventually(lambda: "ownerReferences" not in profile.api.get(NODE_CLAIMS, claim)["metadata"])


async def test_a_second_operator_without_election(local_workspace: Workspace, local_operator: LocalOperator) -> None:
    """A mistake, but no storm: both want the same."""
    cluster = local_workspace.cluster
    async with LocalOperator(cluster):
        assert local_operator.log is not None
        name = "twice"
        written = Written(cluster, (name, f"{name}-server", f"{name}-content"))
        profile = local_workspace.profile(name, contentPool={"weight": 5})
        await profile.ready()
        counts = await written.settled()
        print("a new profile, two operators:", dict(counts))
        assert counts[POOLS] <= 4
        assert counts[FINALIZER] <= 2
        assert counts[STATUS] <= 8
        written = Written.about(cluster, profile)
        for weight in (6, 7, 8):
            profile.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": weight}})
            await eventually(lambda: profile.pool(profile.content)["spec"]["weight"] == 5)
        counts = await written.settled()
        print("three drifts, two operators:", dict(counts))
        assert counts[POOLS] <= 6
        assert counts[STATUS] <= 2 * (STATUS_BURST + 3)
        assert profile.condition("Fighting") is None
    await at_peace(profile)


@pytest.mark.parametrize("kind", ["annotations", "labels"])
async def test_over_what_is_not_ours(local_workspace: Workspace, kind: str) -> None:
    """Whoever changes a profile's own metadata all the time costs nothing."""
    profile, cluster = await settled_profile(local_workspace), local_workspace.cluster
    written, numbers = Written.about(cluster, profile), count()

    def note(api: Api, body: Json) -> bool:
        api.merge(
            PROFILES, body["metadata"]["name"], {"metadata": {kind: {"note": str(next(numbers))}}}, manager=OPPONENT
        )
        return True

    async with Opponent(cluster, PROFILES, profile.name, note) as opponent:
        await asyncio.sleep(SHORT)
        assert opponent.moves >= MOST
    assert await written.settled() == {}

"""Changes of the template with nodes at hand: announced first, done when it is time, or when somebody says so."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness import NODE_CLAIMS, NODE_POOLS, Json, Profile, Workspace
from integration.claims import node_claim
from integration.kstatus import assert_regular, conditions, kstatus
from integration.written import POOLS, Written
from profile_specs import Spec
from sandbox import eventually

TIER: Spec = {"labels": {"tier": "b"}}


def labels(profile: Profile) -> Json:
    return dict(profile.pool(profile.content)["spec"]["template"]["metadata"]["labels"])


async def populated(workspace: Workspace, **patch: Any) -> tuple[Profile, str]:
    """Return a converged profile with a node in its content pool, and that node's NodeClaim."""
    profile = workspace.profile(**patch)
    await profile.ready()
    claim = node_claim(workspace, profile.pool(profile.content))
    await eventually(lambda: profile.status["content"] == "1/1")
    return profile, claim


async def deferred(profile: Profile, reason: str) -> Json:
    """Wait until a change of the content pool is planned and held back; return the plan's entry."""
    body = await profile.condition_is("Ready", "False", "Deferred")
    assert_regular(body)
    assert kstatus(body) == "InProgress"
    (planned,) = body["status"]["plan"]
    assert planned["target"] == f"NodePool/{profile.content}"
    assert (planned["disruption"], planned["nodeClaims"], planned["reason"]) == ("ReplacesNodes", 1, reason)
    return dict(planned)


async def test_a_change_waits_while_nodes_are_in_use(local_workspace: Workspace) -> None:
    profile, claim = await populated(local_workspace)
    profile.patch({"contentPool": {**TIER, "weight": 9}})
    planned = await deferred(profile, "NodesInUse")
    assert planned["fields"] == ["/spec/template/metadata/labels/tier"]
    assert "tier" not in labels(profile)
    assert profile.pool(profile.content)["spec"]["weight"] == 9  # replaces no node
    local_workspace.api.delete(NODE_CLAIMS, claim)
    await profile.ready()
    assert labels(profile)["tier"] == "b"


async def test_approval_releases_exactly_the_plan_that_is_shown(local_workspace: Workspace) -> None:
    profile, _ = await populated(local_workspace)
    profile.patch({"contentPool": TIER})
    await deferred(profile, "NodesInUse")
    old = profile.status["planDigest"]
    assert old in conditions(profile.read())["Ready"]["message"]
    profile.patch({"contentPool": {"labels": {"tier": "c"}}})
    await deferred(profile, "NodesInUse")
    await eventually(lambda: profile.status["planDigest"] != old)
    written = Written.about(local_workspace.cluster, profile)
    profile.annotate(approve=old)
    assert (await written.settled())[POOLS] == 0
    assert "tier" not in labels(profile)
    profile.annotate(approve=profile.status["planDigest"])
    status = (await profile.ready())["status"]
    assert labels(profile)["tier"] == "c"
    assert not {"plan", "planDigest"} & status.keys()


def closed(now: datetime) -> Spec:
    """Return a window that opens in six hours."""
    return {"windows": [{"schedule": f"0 {(now.hour + 6) % 24} * * *", "duration": "1h"}]}


def opened(now: datetime) -> Spec:
    """Return a window that is open for an hour, and for one more."""
    start = now - timedelta(hours=1)
    return {"windows": [{"schedule": f"0 {start.hour} * * *", "duration": "3h"}]}


@pytest.mark.parametrize(
    ("disruptions", "reason"),
    [
        (lambda _: {"when": "OnApproval"}, "AwaitingApproval"),
        (lambda now: {"when": "Immediately", **closed(now)}, "OutsideWindow"),
    ],
    ids=["approval", "window"],
)
async def test_a_gate_that_only_approval_opens_now(
    local_workspace: Workspace, disruptions: Callable[[datetime], Spec], reason: str
) -> None:
    profile, _ = await populated(local_workspace, disruptions=disruptions(datetime.now(UTC)))
    profile.patch({"contentPool": TIER})
    await deferred(profile, reason)
    assert "tier" not in labels(profile)
    profile.annotate(approve=profile.status["planDigest"])
    await profile.ready()
    assert labels(profile)["tier"] == "b"


@pytest.mark.parametrize("windows", [lambda _: {}, opened], ids=["none", "open"])
async def test_a_gate_that_is_open(local_workspace: Workspace, windows: Callable[[datetime], Spec]) -> None:
    profile, _ = await populated(local_workspace, disruptions={"when": "Immediately", **windows(datetime.now(UTC))})
    profile.patch({"contentPool": TIER})
    await profile.ready()
    assert labels(profile)["tier"] == "b"


async def test_a_fresh_bend_of_the_template_is_put_back_at_once(local_workspace: Workspace) -> None:
    profile, _ = await populated(local_workspace, disruptions={"when": "OnApproval"})
    before = labels(profile)
    bend = {"metadata": {"labels": {"tier": "x"}}, "spec": {"expireAfter": "1h"}}
    local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"template": bend}})
    await eventually(lambda: labels(profile) == before)
    assert profile.pool(profile.content)["spec"]["template"]["spec"]["expireAfter"] == "720h"
    assert kstatus(await profile.ready()) == "Current"


async def test_the_server_pool_changes_at_once_under_its_budget(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(disruptions={"when": "OnApproval"})
    await profile.ready()
    node_claim(local_workspace, profile.pool())
    await eventually(lambda: profile.status["server"] == "1/1")
    profile.patch({"serverPool": TIER})
    status = (await profile.ready())["status"]
    assert profile.pool()["spec"]["template"]["metadata"]["labels"]["tier"] == "b"
    server = next(each for each in status["nodePools"] if each["name"] == profile.server)
    assert server["outdatedNodes"] == 1

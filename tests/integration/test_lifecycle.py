"""A profile from its first generation to the next: what is said when, what is done when, and what is left alone."""

import asyncio
import json
from pathlib import Path

import pytest

from harness import (
    NODE_POOLS,
    PROFILES,
    Event,
    FakeKarpenterStatus,
    Json,
    LocalOperator,
    Timeline,
    Workspace,
    install,
    stamp_ready,
)
from integration.kstatus import assert_regular, conditions, kstatus
from integration.obstacles import untouched
from integration.written import STATUS, Written
from profile_specs import Spec
from sandbox import eventually

CHANGES = 8


async def test_ready_is_said_of_the_generation_that_is_in_place(local_workspace: Workspace) -> None:
    cluster = local_workspace.cluster
    profile = local_workspace.profile(contentPool={"weight": 50})
    await profile.ready()
    async with Timeline(cluster, PROFILES) as profiles, Timeline(cluster, NODE_POOLS) as pools:
        for weight in range(1, CHANGES + 1):
            await asyncio.to_thread(profile.patch, {"contentPool": {"weight": weight}})
            if weight % 2:
                waited = await asyncio.to_thread(
                    cluster.kubectl, "wait", "--for=condition=Ready", "--timeout=30s", f"cap/{profile.name}"
                )
                assert waited.returncode == 0, waited.stderr
                assert profile.pool(profile.content)["spec"]["weight"] == weight
        await profile.ready()
        await pools.until(lambda event: _weight(event.object) == CHANGES)
    states = [event for event in pools.events if event.name == profile.content]
    said = [event.object for event in profiles.events if event.name == profile.name]
    assert {kstatus(body) for body in said} == {"InProgress", "Current"}
    for body in said:
        assert_regular(body)
        if kstatus(body) == "Current":
            pool = _as_of(states, body)
            assert pool is None or _weight(pool) == body["spec"]["contentPool"]["weight"]
            assert pool is None or _judged(pool)


async def test_who_runs_it_needs_no_name(
    local_operator: LocalOperator, local_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On OpenShift, for one, a container has a uid that no file lists."""

    def nobody() -> str:
        raise OSError("No username set in the environment")  # what Python says since 3.13

    monkeypatch.setattr("getpass.getuser", nobody)
    await local_operator.restart()
    await local_workspace.profile().ready()


async def test_of_several_kubeconfigs_the_first_one_says_the_context(
    local_operator: LocalOperator, local_workspace: Workspace, tmp_path: Path
) -> None:
    """As for kubectl and helm; the last one's leads elsewhere."""
    cluster = {"name": "elsewhere", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "elsewhere", "context": {"cluster": "elsewhere", "user": "elsewhere"}}
    other = {"clusters": [cluster], "contexts": [context], "users": [], "current-context": "elsewhere"}
    (tmp_path / "config").write_text(json.dumps(other))
    both = f"{tmp_path / 'missing'}:{install(local_workspace.cluster)}:{tmp_path / 'config'}"
    await local_operator.stop()
    try:
        async with LocalOperator(local_workspace.cluster, kubeconfig=both):
            await local_workspace.profile().ready()
    finally:
        await local_operator.start()


def _weight(pool: Json) -> int | None:
    weight = pool["spec"].get("weight")
    return int(weight) if weight is not None else None


def _as_of(states: list[Event], body: Json) -> Json | None:
    """Return the pool as it was when this version of the profile was written: all kinds share one clock."""
    version = int(body["metadata"]["resourceVersion"])
    earlier = [each.object for each in states if int(each.object["metadata"]["resourceVersion"]) < version]
    return earlier[-1] if earlier else None


def _judged(pool: Json) -> bool:
    ready = next(each for each in pool["status"]["conditions"] if each["type"] == "Ready")
    return bool(ready["status"] == "True" and ready["observedGeneration"] == pool["metadata"]["generation"])


async def test_ready_waits_for_karpenters_verdict(
    local_workspace: Workspace, fake_karpenter: FakeKarpenterStatus
) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    fake_karpenter.skip.add(profile.content)
    profile.patch({"contentPool": {"weight": 9}})
    body = await profile.condition_is("Ready", "Unknown", "WaitingForNodePools")
    assert _weight(profile.pool(profile.content)) == 9
    assert kstatus(body) == "InProgress"
    assert_regular(body)
    stamp_ready(local_workspace.api, profile.content, false="ValidationSucceeded", reason="NodePoolValidationFailed")
    body = await profile.condition_is("Ready", "False", "Invalid")
    assert profile.content in conditions(body)["Ready"]["message"]
    stamp_ready(local_workspace.api, profile.content)
    await profile.ready()


async def test_a_request_to_reconcile_is_answered(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    for request in ("2026-01-01T00:00:00Z", "again"):
        profile.annotate(requestedAt=request)
        await eventually(lambda: profile.status.get("lastHandledReconcileAt") == request)  # noqa: B023 - awaited here
    assert profile.read()["metadata"]["generation"] == 1


async def test_a_suspended_profile_writes_status_only(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    profile.patch({"suspend": True})
    await profile.condition_is("Suspended", reason="SuspendRequested")
    written = Written.about(local_workspace.cluster, profile)
    bent = local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
    local_workspace.api.delete(NODE_POOLS, profile.server)
    await eventually(lambda: [item["action"] for item in profile.drift()] == ["Deferred"])
    (item,) = profile.drift()
    assert (item["path"], item["reason"]) == ("/spec/weight", "SuspendRequested")
    profile.patch({"contentPool": {"limits": {"cpu": "64"}}})
    body = await profile.condition_is("Suspended")
    assert_regular(body)
    assert set(await written.settled()) == {STATUS}
    assert untouched(local_workspace.api, bent)
    profile.patch({"suspend": False})
    await profile.ready()
    body = await profile.condition_is_absent("Suspended")
    assert kstatus(body) == "Current"
    pool = profile.pool(profile.content)
    assert (pool["spec"]["weight"], pool["spec"]["limits"]) == (5, {"cpu": "64"})
    assert "deletionTimestamp" not in profile.pool()["metadata"]


async def test_a_plan_is_shown_and_then_done(local_workspace: Workspace) -> None:
    written = Written(local_workspace.cluster)
    profile = local_workspace.profile(mode="Plan")
    body = await profile.condition_is("Ready", "False", "PlanMode")
    assert_regular(body)
    planned = {(each["action"], each["target"], each["disruption"], each["reason"]) for each in body["status"]["plan"]}
    pools = [profile.server, profile.content]
    assert planned == {("Create", f"NodePool/{name}", "None", "PlanMode") for name in pools}
    profile.annotate(approve=body["status"]["planDigest"])  # approves a gate, not the mode
    assert set(await written.settled()) == {STATUS}
    assert [local_workspace.api.find(NODE_POOLS, name) for name in pools] == [None, None]
    assert "finalizers" not in profile.read()["metadata"]
    profile.patch({"mode": "Enforce"})
    status = (await profile.ready())["status"]
    assert "plan" not in status
    assert "planDigest" not in status


async def test_a_plan_of_changes_and_corrections(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    profile.patch({"mode": "Plan"})
    await eventually(lambda: profile.status["mode"]["nodePools"] == "Plan")
    written = Written.about(local_workspace.cluster, profile)
    local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
    profile.patch({"serverPool": {"weight": 7}})

    def shown() -> bool:
        status = profile.status
        plan = {each["target"]: each for each in status.get("plan", ())}
        assert {target: each["fields"] for target, each in plan.items()} == {
            f"NodePool/{profile.content}": ["/spec/weight"],
            f"NodePool/{profile.server}": ["/spec/weight"],
        }
        (item,) = status["drift"]["items"]  # what the profile itself asks for is no drift
        assert (item["target"], item["action"]) == (f"NodePool/{profile.content}", "Reported")
        return True

    await eventually(shown)
    assert set(await written.settled()) == {STATUS}
    profile.patch({"mode": "Enforce"})
    await profile.ready()
    assert [_weight(profile.pool(name)) for name in (profile.server, profile.content)] == [7, 5]


async def test_what_the_profile_drops_leaves_no_trace(local_workspace: Workspace) -> None:
    taint = {"key": "example.com/gpu", "value": "yes", "effect": "NoSchedule"}
    pool: Spec = {
        "labels": {"team": "data"},
        "annotations": {"example.com/cost": "high"},
        "taints": [taint],
        "startupTaints": [{**taint, "effect": "NoExecute"}],
        "limits": {"cpu": "64"},
        "weight": 5,
    }
    profile = local_workspace.profile(serverPool=pool, contentPool={**pool, "terminationGracePeriod": "1h"})
    plain = local_workspace.profile()
    await profile.ready()
    await plain.ready()
    gone: Spec = dict.fromkeys([*pool, "terminationGracePeriod"])
    profile.patch({"serverPool": gone, "contentPool": gone})
    await profile.ready()
    for name, other in ((profile.server, plain.server), (profile.content, plain.content)):
        assert profile.pool(name)["spec"] == _renamed(plain.pool(other)["spec"], plain.name, profile.name)


def _renamed(node: object, old: str, new: str) -> object:
    if isinstance(node, dict):
        return {key: _renamed(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed(each, old, new) for each in node]
    return node.replace(old, new) if isinstance(node, str) else node

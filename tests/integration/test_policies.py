"""What is reported, ignored or somebody else's, and therefore not corrected."""

from typing import Final

import pytest

from harness import NODE_POOLS, Json, Profile, Workspace, unique
from integration.kstatus import assert_regular, conditions, kstatus
from integration.obstacles import pool_of_others, untouched
from integration.written import POOLS, STATUS, Written
from profile_specs import Spec
from sandbox import eventually

TOOL: Final = "cost-tool"
MOST_TOLD: Final = 20


def weight(profile: Profile) -> int | None:
    found = profile.pool(profile.content)["spec"].get("weight")
    return int(found) if found is not None else None


async def test_warn_reports_and_correct_corrects(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(driftPolicy={"nodePools": "Warn"}, contentPool={"weight": 5})
    await profile.ready()
    written = Written.about(local_workspace.cluster, profile)
    many = {f"example.com/extra-{number}": "yes" for number in range(MOST_TOLD)}
    bend = {"weight": 6, "template": {"metadata": {"labels": many}}}
    bent = local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": bend})
    body = await profile.condition_is("Drifted", reason="DriftDetected")
    assert kstatus(body) == "Current"
    assert_regular(body)
    drift = body["status"]["drift"]
    assert (drift["total"], len(drift["items"])) == (len(many) + 1, MOST_TOLD)
    assert {(item["action"], item["reason"], item["manager"]) for item in drift["items"]} == {
        ("Reported", "Policy", "kubectl-edit")
    }
    assert set(await written.settled()) == {STATUS}
    assert untouched(local_workspace.api, bent)
    profile.patch({"driftPolicy": {"nodePools": "Correct"}})
    await profile.condition_is("Drifted", "False", "NoDriftDetected")
    assert weight(profile) == 5
    assert profile.pool(profile.content)["spec"]["template"]["metadata"]["labels"] == {"workload": profile.content}


@pytest.mark.parametrize("policy", ["Warn", "Ignore"])
async def test_a_broken_promise_is_said_whatever_the_policy(local_workspace: Workspace, policy: str) -> None:
    profile = local_workspace.profile(driftPolicy={"nodePools": policy})
    await profile.ready()
    taints = profile.pool()["spec"]["template"]["spec"]["taints"]
    local_workspace.api.merge(NODE_POOLS, profile.server, {"spec": {"template": {"spec": {"taints": None}}}})
    body = await profile.condition_is("Ready", "False", "GuaranteeBroken")
    assert_regular(body)
    message = conditions(body)["Ready"]["message"]
    assert f"{profile.server}/spec/template/spec/taints[key=workload,effect=NoSchedule]" in message
    local_workspace.api.merge(NODE_POOLS, profile.server, {"spec": {"template": {"spec": {"taints": taints}}}})
    await profile.ready()


async def test_ignore_says_nothing_of_what_does_no_harm(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(driftPolicy={"nodePools": "Ignore"}, contentPool={"weight": 5})
    await profile.ready()
    written = Written.about(local_workspace.cluster, profile)
    local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
    counts = await written.settled()
    assert counts[POOLS] == 0
    assert (weight(profile), profile.drift()) == (6, [])
    assert kstatus(profile.read()) == "Current"


@pytest.mark.parametrize("policy", ["Warn", "Ignore"])
async def test_protection_from_deletion_is_no_matter_of_policy(local_workspace: Workspace, policy: str) -> None:
    profile = local_workspace.profile(driftPolicy={"nodePools": policy})
    await profile.ready()
    uid = profile.pool()["metadata"]["uid"]
    local_workspace.api.delete(NODE_POOLS, profile.server)
    local_workspace.api.delete(NODE_POOLS, profile.content)
    body = await profile.condition_is("Ready", "False", "PoolMissing")
    assert kstatus(body) == "InProgress"
    await eventually(lambda: _uid(profile) not in {None, uid})
    assert local_workspace.api.find(NODE_POOLS, profile.content) is None


def _uid(profile: Profile) -> str | None:
    pool = profile.api.find(NODE_POOLS, profile.server)
    return str(pool["metadata"]["uid"]) if pool else None


RULES: Final[Spec] = {
    "driftPolicy": {
        "ignore": [
            {"managers": [TOOL]},
            {"paths": ["/spec/template/spec/taints[key=example.com/gpu,effect=NoSchedule]"]},
        ]
    }
}


async def test_what_is_ignored_survives_other_corrections(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5, "limits": {"cpu": "64"}}, **RULES)
    await profile.ready()
    api, name = local_workspace.api, profile.content
    taint = {"key": "example.com/gpu", "effect": "NoSchedule"}
    api.merge(NODE_POOLS, name, {"spec": {"limits": {"cpu": "99", "memory": "1Gi"}}}, manager=TOOL)
    tolerated: Json = {
        "template": {"spec": {"taints": [taint]}, "metadata": {"annotations": {"example.com/tool": "on"}}}
    }
    api.merge(NODE_POOLS, name, {"spec": {"template": {"spec": {"taints": [taint]}}}})
    api.merge(NODE_POOLS, name, {"spec": {"template": {"metadata": tolerated["template"]["metadata"]}}}, manager=TOOL)
    for number in range(3):
        extra = [taint, {"key": f"example.com/other-{number}", "effect": "NoSchedule"}]
        bend = {"weight": 6 + number, "template": {"spec": {"taints": extra}}}
        api.merge(NODE_POOLS, name, {"spec": bend})
        await eventually(lambda: weight(profile) == 5)
        spec = profile.pool(name)["spec"]
        assert spec["limits"] == {"cpu": "99", "memory": "1Gi"}
        assert spec["template"]["spec"]["taints"] == [taint]
        assert spec["template"]["metadata"]["annotations"] == {"example.com/tool": "on"}

    def told() -> bool:
        ignored = {item["path"] for item in profile.drift() if item["action"] == "Ignored"}
        assert ignored == {
            "/spec/limits/cpu",
            "/spec/limits/memory",
            "/spec/template/metadata/annotations/example.com~1tool",
            "/spec/template/spec/taints[key=example.com/gpu,effect=NoSchedule]",
        }
        return True

    await eventually(told)
    body = await profile.ready()
    assert conditions(body)["Drifted"]["status"] == "False"
    # A rule for a manager ends with what he wrote: what somebody else makes of it is corrected.
    api.merge(NODE_POOLS, name, {"spec": {"limits": {"cpu": "1"}}})
    await eventually(lambda: profile.pool(name)["spec"]["limits"] == {"cpu": "64", "memory": "1Gi"})


async def test_an_external_pool_is_checked_and_never_written(local_workspace: Workspace) -> None:
    model = local_workspace.profile()
    await model.ready()
    name = f"{unique()}-server"
    external: Spec = {
        "serverPool": {"name": name, "management": "External"},
        "placement": {"server": model.server},  # shared, as only External pools may be
    }
    profile = local_workspace.profile(**external)
    body = await profile.condition_is("Ready", "False", "PoolMissing")
    assert "create it" in conditions(body)["Ready"]["message"]
    assert kstatus(body) == "InProgress"
    written = Written(local_workspace.cluster, [name])
    spec = {**model.pool()["spec"], "weight": 3, "limits": {"cpu": "9"}}  # what does not concern the protection
    pool = pool_of_others(local_workspace, name, spec=spec)
    body = await profile.ready()
    assert body["status"]["drift"]["items"] == []
    local_workspace.api.merge(NODE_POOLS, name, {"spec": {"template": {"spec": {"expireAfter": "1h"}}}})
    body = await profile.condition_is("Ready", "False", "GuaranteeBroken")
    (item,) = body["status"]["drift"]["items"]
    assert (item["path"], item["action"], item["reason"]) == ("/spec/template/spec/expireAfter", "Reported", "External")
    local_workspace.api.merge(NODE_POOLS, name, {"spec": {"template": {"spec": {"expireAfter": "Never"}}}})
    await profile.ready()
    assert untouched(local_workspace.api, pool)
    profile.delete()
    await profile.gone()
    assert untouched(local_workspace.api, pool)
    assert written.entries == []
    local_workspace.api.delete(NODE_POOLS, name)


async def test_two_profiles_share_an_external_pool(local_workspace: Workspace) -> None:
    owner = local_workspace.profile()
    await owner.ready()
    guests = [
        local_workspace.profile(
            serverPool={"name": owner.server, "management": "External"}, placement={"server": owner.server}
        )
        for _ in range(2)
    ]
    for guest in guests:
        await guest.ready()
    assert kstatus(owner.read()) == "Current"
    local_workspace.api.merge(NODE_POOLS, owner.server, {"spec": {"template": {"spec": {"taints": None}}}})
    await eventually(lambda: "taints" in owner.pool()["spec"]["template"]["spec"])
    for guest in guests:
        await guest.ready()

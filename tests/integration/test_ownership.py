"""NodePools that are somebody else's: whose they are, and how they change hands."""

import json
from collections.abc import AsyncIterator
from typing import Final

import pytest

from harness import NODE_CLASS, NODE_POOLS, Json, LocalOperator, Workspace, unique
from integration.kstatus import kstatus
from integration.obstacles import pool_of_others, untouched
from integration.refused import Bystander, refused
from profile_specs import Spec
from sandbox import eventually

ALWAYS: Final[Spec] = {"takeOver": "Always"}
OTHERS: Final[Json] = {
    "template": {
        "metadata": {"labels": {"team": "data"}},
        "spec": {
            "nodeClassRef": NODE_CLASS,
            "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}],
        },
    },
    "weight": 3,
}
"""What somebody's own NodePool may look like."""


@pytest.fixture(scope="module")
async def bystander(local_operator: LocalOperator) -> AsyncIterator[Bystander]:
    async with Workspace(local_operator.cluster) as workspace:
        profile = workspace.profile()
        await profile.ready()
        yield Bystander(profile)


async def test_a_name_that_is_taken(local_workspace: Workspace, bystander: Bystander) -> None:
    names = [unique(), unique(), unique()]
    pools = [pool_of_others(local_workspace, f"{name}-server", spec=OTHERS) for name in names]
    never = local_workspace.profile(names[0])
    careful = local_workspace.profile(names[1], takeOver="IfNoDiff")
    await refused(never, "NameTaken", never.server, "spec.takeOver", standing=[never.server])
    await refused(
        careful, "NameTaken", careful.server, "/spec/weight", "requirements", "Always", standing=[careful.server]
    )
    await bystander.is_served()
    assert untouched(local_workspace.api, pools[0])
    assert untouched(local_workspace.api, pools[1])
    bold = local_workspace.profile(names[2], takeOver="Always")
    await bold.ready()
    taken = bold.pool()
    assert taken["metadata"]["uid"] == pools[2]["metadata"]["uid"]
    assert taken["metadata"]["labels"]["connect-autoscaler.io/profile"] == bold.name
    assert "weight" not in taken["spec"]
    assert taken["spec"]["template"]["metadata"]["labels"] == {"workload": bold.server}
    # The careful one needs only that the pool becomes equal; the other one, that it goes.
    equal = json.loads(json.dumps(taken["spec"]).replace(bold.name, careful.name))
    local_workspace.api.json_patch(NODE_POOLS, careful.server, [{"op": "replace", "path": "/spec", "value": equal}])
    generation = careful.pool()["metadata"]["generation"]
    await careful.ready()
    assert careful.pool()["metadata"]["generation"] == generation
    local_workspace.api.delete(NODE_POOLS, never.server)
    await never.ready()
    assert never.pool()["metadata"]["uid"] != pools[0]["metadata"]["uid"]


@pytest.mark.parametrize("take_over", ["IfNoDiff", "Always"])
async def test_pools_that_git_could_prune(local_workspace: Workspace, bystander: Bystander, take_over: str) -> None:
    cases: list[tuple[Json, str, str]] = [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "a"}}, "argocd.argoproj.io/sync-options", "Prune=false"),
        ({"labels": {"argocd.argoproj.io/instance": "a"}}, "argocd.argoproj.io/sync-options", "Prune=false"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}}, "kustomize.toolkit.fluxcd.io/prune", "disabled"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "a"}}, "helm.sh/resource-policy", "keep"),
        ({"annotations": {"meta.helm.sh/release-name": "a"}}, "helm.sh/resource-policy", "keep"),
    ]
    taking = []
    for mark, key, value in cases:
        name = unique()
        pool = pool_of_others(local_workspace, f"{name}-server", spec=OTHERS, **mark)
        taking.append((local_workspace.profile(name, takeOver=take_over), pool, key, value))
    for profile, pool, key, value in taking:
        await refused(profile, "GitOwned", f"{key}: {value}", profile.server, standing=[profile.server])
        assert untouched(local_workspace.api, pool)
    await bystander.is_served()
    for profile, _, key, value in taking:
        local_workspace.api.merge(NODE_POOLS, profile.server, {"metadata": {"annotations": {key: value}}})
    for profile, pool, _, _ in taking:
        if take_over == "Always":
            await profile.ready()
            assert profile.pool()["metadata"]["uid"] == pool["metadata"]["uid"]
        else:
            await refused(profile, "NameTaken", "differs", standing=[profile.server])


async def test_a_static_pool_is_not_taken_over(local_workspace: Workspace, bystander: Bystander) -> None:
    name = unique()
    spec = {"template": OTHERS["template"], "replicas": 2}
    pool = pool_of_others(local_workspace, f"{name}-server", spec=spec)
    profile = local_workspace.profile(name, takeOver="Always")
    await refused(profile, "ImmutableField", "/spec/replicas", profile.server, standing=[profile.server])
    await bystander.is_served()
    assert untouched(local_workspace.api, pool)
    local_workspace.api.delete(NODE_POOLS, profile.server)
    await profile.ready()


@pytest.mark.parametrize("shared", ["pool", "placement"])
async def test_what_two_profiles_claim_stays_with_the_first(
    local_workspace: Workspace, bystander: Bystander, shared: str
) -> None:
    first = local_workspace.profile(unique("b"))  # its name is the later one: what counts is who holds the mark
    await first.ready()
    pool = first.pool()
    claim: Spec = {
        "pool": {"serverPool": {"name": first.server}, **ALWAYS},
        "placement": {"placement": {"content": f"{first.name}-content"}},
    }[shared]
    second = local_workspace.profile(unique("a"), **claim)
    standing = [first.server] if shared == "pool" else []
    reason = "PoolClaimedTwice" if shared == "pool" else "PlacementClaimedTwice"
    await refused(second, reason, first.name, "name another" if shared == "pool" else "choose other", standing=standing)
    await bystander.is_served()
    assert second.read()["metadata"].get("finalizers") is None
    assert kstatus(first.read()) == "Current"
    assert untouched(local_workspace.api, pool)
    # Not even the other's drift is the second one's business: the first corrects it.
    local_workspace.api.merge(NODE_POOLS, first.server, {"spec": {"weight": 9}})
    await eventually(lambda: "weight" not in first.pool()["spec"])
    assert untouched(local_workspace.api, pool)
    first.delete()
    await first.gone()
    await second.ready()
    assert second.pool()["metadata"]["labels"]["connect-autoscaler.io/profile"] == second.name


async def test_without_its_marks_a_pool_is_nobodys(local_workspace: Workspace, bystander: Bystander) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    marks = profile.pool(profile.content)["metadata"]
    local_workspace.api.merge(NODE_POOLS, profile.content, {"metadata": {"labels": None, "annotations": None}})
    pools = [profile.server, profile.content]
    await refused(profile, "NameTaken", profile.content, "spec.takeOver", standing=pools)
    await bystander.is_served()
    bent = local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 7}})
    local_workspace.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": 7}})
    await eventually(lambda: "weight" not in profile.pool()["spec"])  # that one is still the profile's
    assert untouched(local_workspace.api, bent)
    mine = {key: marks[key] for key in ("labels", "annotations")}
    local_workspace.api.merge(NODE_POOLS, profile.content, {"metadata": mine})
    await profile.ready()
    await eventually(lambda: "weight" not in profile.pool(profile.content)["spec"])

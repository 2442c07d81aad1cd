"""What is left when a pool leaves its profile, when the profile goes, and when it comes back."""

import pytest

from harness import NODE_CLAIMS, NODE_POOLS, PROFILES, Json, LocalOperator, Profile, Workspace, unique
from integration.claims import node_claim
from integration.kstatus import conditions
from integration.obstacles import allow_deletion
from profile_specs import Spec
from sandbox import eventually

DELETE: Spec = {"deletionPolicy": {"nodePools": "Delete"}}
ADDED: Spec = {"labels": {"tier": "gpu"}, "weight": 9, "deletionProtection": True}


def is_free(profile: Profile, name: str, spec: Json) -> bool:
    """Tell whether a NodePool stands as it was, without anything of ours."""
    pool = profile.api.get(NODE_POOLS, name)
    meta = pool["metadata"]
    assert pool["spec"] == spec
    assert not meta.keys() & {"labels", "annotations", "finalizers", "deletionTimestamp"}, meta
    return True


def refers(workspace: Workspace, claim: str, pool: Json) -> bool:
    """Tell whether a NodeClaim goes with this NodePool when that is deleted."""
    owners = workspace.api.get(NODE_CLAIMS, claim)["metadata"].get("ownerReferences", ())
    return [owner["uid"] for owner in owners] == [pool["metadata"]["uid"]]


async def protected(workspace: Workspace, profile: Profile, name: str) -> str:
    """Give a pool a node, wait until the operator has taken it out of every cascade, and return its NodeClaim."""
    claim = node_claim(workspace, profile.pool(name))
    await eventually(lambda: "ownerReferences" not in workspace.api.get(NODE_CLAIMS, claim)["metadata"])
    return claim


@pytest.fixture
async def deleting(local_workspace: Workspace) -> Workspace:
    """A workspace where the operator may delete NodePools."""
    await allow_deletion(local_workspace)
    return local_workspace


async def test_an_additional_pool_that_leaves_is_released(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    name = f"{profile.name}-gpu"
    local_workspace.remember(NODE_POOLS, name)
    await profile.ready()
    profile.patch({"additionalContentPools": [{"name": name, **ADDED}]})
    body = await profile.ready()
    assert [each["name"] for each in body["status"]["nodePools"]] == [profile.server, profile.content, name]
    pool = profile.pool(name)
    assert pool["spec"]["template"]["metadata"]["labels"] == {"workload": profile.content, "tier": "gpu"}
    claim = await protected(local_workspace, profile, name)
    profile.patch({"additionalContentPools": None})
    body = await profile.ready()
    assert [each["name"] for each in body["status"]["nodePools"]] == [profile.server, profile.content]
    assert is_free(profile, name, pool["spec"])
    assert refers(local_workspace, claim, pool)
    local_workspace.api.merge(NODE_POOLS, name, {"spec": {"weight": 1}})
    profile.annotate(requestedAt="now")
    await eventually(lambda: profile.status.get("lastHandledReconcileAt") == "now")
    assert profile.pool(name)["spec"]["weight"] == 1


async def test_an_additional_pool_that_leaves_is_deleted_where_asked(deleting: Workspace) -> None:
    profile = deleting.profile(**DELETE)
    name = f"{profile.name}-gpu"
    await profile.ready()
    profile.patch({"additionalContentPools": [{"name": name, **ADDED}]})
    await profile.ready()
    pool = profile.pool(name)
    claim = await protected(deleting, profile, name)
    profile.patch({"additionalContentPools": None})
    body = await profile.condition_is("Ready", "False", "Deferred")
    (planned,) = body["status"]["plan"]
    assert (planned["action"], planned["target"]) == ("Delete", f"NodePool/{name}")
    assert (planned["disruption"], planned["nodeClaims"]) == ("ReplacesNodes", 1)
    assert profile.pool(name) == pool
    profile.annotate(approve=body["status"]["planDigest"])
    await eventually(lambda: deleting.api.find(NODE_POOLS, name) is None)
    assert refers(deleting, claim, pool)  # so it goes, too
    await profile.ready()


async def test_retain_leaves_everything_as_it_is(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    pools = {name: profile.pool(name) for name in (profile.server, profile.content)}
    claim = await protected(local_workspace, profile, profile.server)
    profile.delete()
    await profile.gone()
    for name, pool in pools.items():
        assert is_free(profile, name, pool["spec"])
    assert refers(local_workspace, claim, pools[profile.server])
    # Applied again, it finds its pools, and has nothing to change.
    again = local_workspace.profile(profile.name, contentPool={"weight": 5}, takeOver="IfNoDiff")
    await again.ready()
    for name, pool in pools.items():
        now = again.pool(name)["metadata"]
        assert (now["uid"], now["generation"]) == (pool["metadata"]["uid"], pool["metadata"]["generation"])


async def test_delete_deletes(deleting: Workspace) -> None:
    profile = deleting.profile(**DELETE)
    await profile.ready()
    pool = profile.pool()
    claim = await protected(deleting, profile, profile.server)
    profile.delete()
    await profile.gone()
    assert [deleting.api.find(NODE_POOLS, name) for name in (profile.server, profile.content)] == [None, None]
    assert refers(deleting, claim, pool)


@pytest.mark.parametrize("patch", [{"suspend": True}, {"mode": "Plan"}], ids=["suspended", "plan"])
async def test_a_profile_that_rests_deletes_nothing(deleting: Workspace, patch: Spec) -> None:
    profile = deleting.profile(**DELETE)
    await profile.ready()
    spec = profile.pool()["spec"]
    profile.patch(patch)
    profile.delete()
    await profile.gone()
    assert is_free(profile, profile.server, spec)


async def test_a_deletion_that_is_forbidden_says_so(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(**DELETE)
    await profile.ready()
    profile.delete()

    def refused() -> bool:
        found = conditions(profile.read())
        assert {found[kind]["reason"] for kind in ("Ready", "Stalled")} == {"Forbidden"}
        assert "cannot delete" in found["Ready"]["message"]
        return True

    await eventually(refused)
    await allow_deletion(local_workspace)
    profile.annotate(requestedAt="now")
    await profile.gone()
    assert local_workspace.api.find(NODE_POOLS, profile.server) is None


async def test_a_deletion_while_the_operator_is_down(local_workspace: Workspace, local_operator: LocalOperator) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    spec = profile.pool()["spec"]
    await local_operator.stop()
    try:
        profile.delete()
        assert "deletionTimestamp" in profile.read()["metadata"]
    finally:
        await local_operator.start()
    await profile.gone()
    assert is_free(profile, profile.server, spec)


async def test_a_profile_lost_and_restored_finds_its_pools(
    local_workspace: Workspace, local_operator: LocalOperator
) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    before = profile.pool()["metadata"]
    await local_operator.stop()
    try:
        local_workspace.api.merge(PROFILES, profile.name, {"metadata": {"finalizers": None}})
        profile.delete()
        assert local_workspace.api.find(PROFILES, profile.name) is None
        restored = local_workspace.profile(profile.name)
    finally:
        await local_operator.start()
    body = await restored.ready()
    now = restored.pool()["metadata"]
    assert (now["uid"], now["generation"]) == (before["uid"], before["generation"])
    assert now["annotations"]["connect-autoscaler.io/profile-uid"] == body["metadata"]["uid"]


async def test_a_pool_deleted_with_its_profile_goes_with_its_nodes(local_workspace: Workspace) -> None:
    """Protection ends with the profile: whoever deletes the pool then gets what he asks for."""
    profile = local_workspace.profile(unique())
    await profile.ready()
    claim = await protected(local_workspace, profile, profile.server)
    pool = profile.pool()
    profile.patch({"serverPool": {"deletionProtection": False}})
    await eventually(lambda: "finalizers" not in profile.pool()["metadata"])
    assert refers(local_workspace, claim, pool)

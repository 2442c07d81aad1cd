"""`uninstall`: with the operator, without it, and for what somebody else has left behind."""

from collections.abc import AsyncIterator

import pytest

from harness import NODE_CLAIMS, NODE_POOLS, PROFILES, FakeKarpenterStatus, Json, LocalOperator, Profile, Workspace
from integration.claims import node_claim
from integration.cli_calls import Cli
from sandbox import eventually

PROTECT = "connect-autoscaler.io/protect"
MARK = "connect-autoscaler.io/profile"


@pytest.fixture
def cli(fake_karpenter: FakeKarpenterStatus) -> Cli:
    return Cli(fake_karpenter.cluster)


@pytest.fixture
async def protected(local_workspace: Workspace) -> AsyncIterator[Profile]:
    """A profile, Ready, with a NodeClaim whose reference the operator has taken off."""
    profile = local_workspace.profile()
    await profile.ready()
    name = node_claim(local_workspace, profile.pool())
    await eventually(lambda: "ownerReferences" not in local_workspace.api.get(NODE_CLAIMS, name)["metadata"])
    yield profile
    for pool in (profile.server, profile.content):
        local_workspace.remember(NODE_POOLS, pool)


def claims(profile: Profile) -> list[Json]:
    return profile.api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={profile.server}")


def nothing_is_left(profile: Profile) -> bool:
    """The pools stay as they were, less what was ours; the NodeClaim goes with its pool again."""
    assert profile.api.find(PROFILES, profile.name) is None
    for name in (profile.server, profile.content):
        meta = profile.pool(name)["metadata"]
        assert PROTECT not in meta.get("finalizers", ())
        assert MARK not in meta.get("labels", {})
        assert "deletionTimestamp" not in meta
    (claim,) = claims(profile)
    assert [each["uid"] for each in claim["metadata"]["ownerReferences"]] == [profile.pool()["metadata"]["uid"]]
    return True


async def test_it_asks_first_and_can_only_show(cli: Cli, protected: Profile) -> None:
    before = protected.read()["metadata"]["resourceVersion"]
    shown = await cli("uninstall", protected.name, "--dry-run")
    assert shown.code == 0
    assert f"Release NodePool/{protected.server}\n" in shown.out
    unasked = await cli("uninstall", protected.name)
    assert (unasked.code, "say --yes" in unasked.err) == (2, True)
    assert protected.read()["metadata"]["resourceVersion"] == before
    unknown = await cli("uninstall", f"{protected.name[:-1]}z", "--yes")
    assert (unknown.code, f"did you mean {protected.name}" in unknown.err) == (2, True)


async def test_the_operator_lets_go(cli: Cli, protected: Profile) -> None:
    done = await cli("uninstall", protected.name, "--yes")
    assert done.code == 0, done.err
    assert f"{protected.name}: gone" in done.out
    assert f"The operator lets go of {protected.name}" in done.err, "it shows progress"
    assert "does not answer" not in done.err
    assert nothing_is_left(protected)


async def test_without_an_operator_its_work_is_done(
    cli: Cli, local_operator: LocalOperator, protected: Profile
) -> None:
    await local_operator.stop()
    try:
        done = await cli("uninstall", "--yes", "--patience", "1")
        assert done.code == 0, done.err
        assert "Looking whether the operator runs" in done.err, "it shows progress"
        assert "The operator does not answer" in done.err
        assert nothing_is_left(protected)
        again = await cli("uninstall", "--yes")
        assert (again.code, "nothing to let go of" in again.out) == (0, True)
    finally:
        await local_operator.start()


async def test_without_an_operator_a_deletion_that_hangs_is_ended(
    cli: Cli, local_operator: LocalOperator, protected: Profile
) -> None:
    await local_operator.stop()
    try:
        protected.delete()
        protected.api.delete(NODE_POOLS, protected.content)  # not protected: gone at once
        protected.api.delete(NODE_POOLS, protected.server)  # protected: hangs
        assert "deletionTimestamp" in protected.pool()["metadata"]
        done = await cli("uninstall", protected.name, "--yes", "--patience", "1")
        assert done.code == 0, done.err
        assert protected.api.find(PROFILES, protected.name) is None
        pool = protected.pool()
        assert "deletionTimestamp" not in pool["metadata"], "the pool is back before its protection ends"
        assert PROTECT not in pool["metadata"].get("finalizers", ())
        (claim,) = claims(protected)
        assert "deletionTimestamp" not in claim["metadata"]
    finally:
        await local_operator.start()


async def test_values_that_were_to_be_restored_are_not_forgotten_silently(
    cli: Cli, local_operator: LocalOperator, protected: Profile
) -> None:
    protected.patch(
        {
            "release": {"namespace": "default", "name": "connect"},
            "deletionPolicy": {"nodePools": "Delete", "release": "Restore"},
        }
    )
    await protected.condition_is("ReleaseConfigured", "False", "Forbidden")
    await local_operator.stop()
    try:
        refused = await cli("uninstall", protected.name, "--yes", "--patience", "1")
        assert refused.code == 1
        assert "start it again, or leave the values with --keep-release" in refused.err
        assert "deletionTimestamp" not in protected.read()["metadata"]
        done = await cli("uninstall", protected.name, "--yes", "--patience", "1", "--keep-release")
        assert done.code == 0, done.err
        assert nothing_is_left(protected), "without the operator no NodePool is deleted, whatever the policy"
    finally:
        await local_operator.start()


async def test_pools_of_a_profile_that_was_removed_by_force(
    cli: Cli, local_operator: LocalOperator, protected: Profile
) -> None:
    await local_operator.stop()
    try:
        protected.delete()
        protected.api.merge(PROFILES, protected.name, {"metadata": {"finalizers": None}})
        assert protected.api.find(PROFILES, protected.name) is None
        assert PROTECT in protected.pool()["metadata"]["finalizers"]
        done = await cli("uninstall", "--yes")
        assert done.code == 0, done.err
        assert f"NodePool {protected.server}: released" in done.out
        assert nothing_is_left(protected)
    finally:
        await local_operator.start()

"""Each overlay applied, and the operator run with exactly its rights; users' rights; the end, in either order."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from harness import DEPLOY, NAMESPACE, NODE_POOLS, PROFILES, USER, FakeKarpenterStatus, Profile, Workspace
from harness.api import Kind
from integration.deploying import PROMETHEUS_OPERATOR, operator_of
from sandbox import Cluster, Parts, cluster, eventually

OBSERVE_ONLY: Final = DEPLOY / "overlays" / "observe-only"
PRODUCTION: Final = DEPLOY / "overlays" / "production"
CRD: Final = "connectautoscalingprofiles.connect-autoscaler.io"
CRDS: Final = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
NAMESPACES: Final = Kind("v1", "namespaces")
LEASES: Final = Kind("coordination.k8s.io/v1", "leases", NAMESPACE)
STATUS: Final = ("connectautoscalingprofiles", "status")
PROTECT: Final = "connect-autoscaler.io/protect"


@pytest.fixture(scope="module")
async def own_cluster() -> AsyncIterator[Cluster]:
    """With controllers: namespaces end, roles are aggregated, and nothing of other tests is there."""
    async with cluster(parts=Parts.API | Parts.CONTROL) as it, FakeKarpenterStatus(it):
        it.apply(*PROMETHEUS_OPERATOR)
        yield it


@pytest.fixture
async def workspace(own_cluster: Cluster) -> AsyncIterator[Workspace]:
    async with Workspace(own_cluster) as opened:
        yield opened


def apply(where: Cluster, directory: Path) -> None:
    applied = where.kubectl("apply", "-k", directory)
    assert applied.returncode == 0, applied.stderr


def remove(where: Cluster, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return where.kubectl("delete", "--ignore-not-found", *options, "-k", directory)


async def gone(workspace: Workspace) -> None:
    """Wait until neither the resource nor the namespace is there."""

    def check() -> bool:
        assert workspace.api.find(CRDS, CRD) is None
        assert workspace.api.find(NAMESPACES, NAMESPACE) is None
        return True

    await eventually(check, timeout=90)


async def test_observe_only_writes_nothing_but_status(own_cluster: Cluster, workspace: Workspace) -> None:
    apply(own_cluster, OBSERVE_ONLY)
    since = own_cluster.audit.marker()
    async with operator_of(own_cluster, OBSERVE_ONLY):
        planned = workspace.profile(mode="Plan")
        await planned.condition_is("Ready", "False", "PlanMode")
        assert {each["action"] for each in planned.status["plan"]} == {"Create"}
        enforced = workspace.profile()
        body = await enforced.condition_is("NodePoolsReady", "False", "Forbidden")
        told = next(each for each in body["status"]["conditions"] if each["type"] == "NodePoolsReady")
        assert "connectautoscalingprofiles" in told["message"]
        for profile in (planned, enforced):
            assert "finalizers" not in profile.read()["metadata"]
            profile.delete()
            await profile.gone()
    entries = own_cluster.audit.writes(user=USER, since=since)
    written = {(entry.resource, entry.subresource) for entry in entries if entry.code < 300}
    assert written <= {STATUS, ("events", "")}
    assert STATUS in written
    assert workspace.api.list(NODE_POOLS) == []
    refused = {(entry.verb, entry.resource) for entry in entries if entry.code == 403}
    assert refused == {("patch", "connectautoscalingprofiles")}  # the finalizer comes before all else
    # Its rights are those of deploy/ without all that writes: they are enough for reading.
    reads = own_cluster.audit.requests(user=USER, since=since)
    assert [entry for entry in reads if entry.code == 403 and entry not in entries] == []


async def test_production_works_with_its_rights(own_cluster: Cluster, workspace: Workspace) -> None:
    apply(own_cluster, PRODUCTION)
    since = own_cluster.audit.marker()
    async with operator_of(own_cluster, PRODUCTION):
        profile = workspace.profile()
        await profile.ready(seconds=60)
        assert workspace.api.get(LEASES, "connect-autoscaler")["spec"]["holderIdentity"]
        workspace.api.delete(NODE_POOLS, profile.content)
        await eventually(lambda: "deletionTimestamp" not in profile.pool(profile.content)["metadata"])
        profile.delete()
        await profile.gone()
    refused = [entry for entry in own_cluster.audit.requests(user=USER, since=since) if entry.code == 403]
    assert refused == []
    assert remove(own_cluster, PRODUCTION, "--timeout=120s").returncode == 0
    await gone(workspace)


async def test_who_may_view_may_read_profiles_and_nobody_may_write_by_edit(
    own_cluster: Cluster, workspace: Workspace
) -> None:
    apply(own_cluster, OBSERVE_ONLY)
    group = "rbac.authorization.k8s.io"
    for role in ("view", "edit", "admin"):
        binding = {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"test-{role}"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": f"may-{role}"}],
        }
        workspace.create(Kind(f"{group}/v1", "clusterrolebindings"), binding)
    resource, _, of = CRD.partition(".")

    def may(role: str, verb: str) -> bool:
        spec = {"user": f"may-{role}", "resourceAttributes": {"group": of, "resource": resource, "verb": verb}}
        review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
        answer = own_cluster.api.post(version=review["apiVersion"], url="subjectaccessreviews", json=review)
        return bool(answer.json()["status"]["allowed"])

    for role in ("view", "edit", "admin"):
        await eventually(partial(may, role, "get"), timeout=60)
        assert may(role, "watch")
        assert not any(may(role, verb) for verb in ("create", "update", "patch", "delete"))


# The end


def is_free(profile: Profile) -> bool:
    """Tell whether both pools stand, less what was ours."""
    for name in (profile.server, profile.content):
        meta = profile.pool(name)["metadata"]
        assert PROTECT not in meta.get("finalizers", ())
        assert "deletionTimestamp" not in meta
    return True


async def test_the_end_profiles_first(own_cluster: Cluster, workspace: Workspace) -> None:
    apply(own_cluster, DEPLOY)
    async with operator_of(own_cluster, DEPLOY):
        profile = workspace.profile()
        await profile.ready()
        done = own_cluster.kubectl("delete", "cap", "--all", "--timeout=60s")
        assert done.returncode == 0, done.stderr
        assert is_free(profile)
        assert "connect-autoscaler.io/profile" not in profile.pool()["metadata"].get("labels", {})
    removed = remove(own_cluster, DEPLOY, "--timeout=120s")
    assert removed.returncode == 0, removed.stderr
    await gone(workspace)
    for pool in (profile.server, profile.content):
        workspace.api.delete(NODE_POOLS, pool)


async def _apply_again(where: Cluster, profile: Profile) -> None:
    """The operator comes back, lets go of the profiles, and may go for good."""
    namespace = Kind("v1", "namespaces")
    await eventually(lambda: profile.api.find(namespace, NAMESPACE) is None, timeout=90)
    apply(where, DEPLOY)
    async with operator_of(where, DEPLOY):
        await eventually(lambda: profile.api.find(PROFILES, profile.name) is None, timeout=60)
    assert remove(where, DEPLOY, "--timeout=120s").returncode == 0


async def _uninstall(where: Cluster, profile: Profile) -> None:
    """The command line lets go with the administrator's rights."""
    command = [sys.executable, "-m", "connect_autoscaler", "uninstall", "--yes", "--patience", "1"]
    command += ["--kubeconfig", str(where.kubeconfig)]
    run = partial(subprocess.run, command, capture_output=True, text=True, check=False, timeout=120)
    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert profile.api.find(PROFILES, profile.name) is None


async def _by_hand(where: Cluster, profile: Profile) -> None:
    """With kubectl alone, as the page on removal says."""
    gone = '[{"op": "remove", "path": "/metadata/finalizers"}]'
    for target in (f"cap/{profile.name}", f"nodepool/{profile.server}"):
        done = where.kubectl("patch", target, "--type=json", "-p", gone)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way_out", [_uninstall, _apply_again, _by_hand])
async def test_the_end_operator_first(
    own_cluster: Cluster, workspace: Workspace, way_out: Callable[[Cluster, Profile], Awaitable[None]]
) -> None:
    """The resource waits for its profiles, and those for an operator that is gone: each way out of the docs ends it."""
    apply(own_cluster, DEPLOY)
    async with operator_of(own_cluster, DEPLOY):
        profile = workspace.profile()
        await profile.ready()
    stuck = remove(own_cluster, DEPLOY, "--timeout=1s")
    assert stuck.returncode != 0
    assert "timed out" in stuck.stderr
    assert profile.read()["metadata"]["deletionTimestamp"]
    assert PROTECT in profile.pool()["metadata"]["finalizers"]  # what is protected stays so
    await way_out(own_cluster, profile)
    await gone(workspace)
    assert is_free(profile)
    for pool in (profile.server, profile.content):
        workspace.api.delete(NODE_POOLS, pool)

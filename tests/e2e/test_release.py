"""The release of a profile, on a whole cluster: taken over, watched, and given back."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from harness import NODES, Operator, Profile, Release, Workspace
from harness.releases import SERVER, SMALLEST
from sandbox import eventually

OVERLAY = {"nodeSelector", "tolerations", "pod", "backends", "config"}


@asynccontextmanager
async def taken_over(
    operator: Operator, values: Mapping[str, Any] | None = None, **spec: Any
) -> AsyncIterator[tuple[Profile, Release]]:
    """Have a release whose profile is Ready."""
    async with Workspace(operator.cluster) as workspace, Release(operator.cluster, values) as release:
        profile = workspace.profile(release=release.reference, **spec)
        await profile.ready(seconds=90)
        yield profile, release


async def test_the_server_moves_with_one_upgrade_and_one_restart(operator: Operator) -> None:
    async with taken_over(operator) as (profile, release):
        assert [each["version"] for each in release.revisions()] == [1, 2]
        assert release.templates() == 2
        await release.rolled_out()
        (server,) = release.servers()
        node = release.api.get(NODES, server["spec"]["nodeName"])
        assert node["metadata"]["labels"]["karpenter.sh/nodepool"] == profile.server
        assert server["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert set(release.config) == OVERLAY | set(SMALLEST)
        assert release.deployed["info"]["description"] == f"ConnectAutoscalingProfile {profile.name}, generation 1"


async def test_deleting_the_profile_gives_everything_back(operator: Operator) -> None:
    policy = {"release": "Restore"}
    values = {"tolerations": [{"key": "mine", "operator": "Exists"}], "pod": {"annotations": {"mine": "yes"}}}
    async with taken_over(operator, values, deletionPolicy=policy) as (profile, release):
        assert len(release.config["tolerations"]) == 2
        profile.delete()
        await profile.gone(seconds=60)
        assert release.config == {**SMALLEST, **values}
        secrets = release.api.list(release.kind("secrets"), labelSelector="connect-autoscaler.io/profile")
        assert not secrets
        assert "nodeSelector" not in release.deployment()["spec"]["template"]["spec"]


async def test_kept_by_default(operator: Operator) -> None:
    async with taken_over(operator) as (profile, release):
        before = release.deployed["version"]
        profile.delete()
        await profile.gone()
        assert release.deployed["version"] == before


async def test_foreign_upgrades_and_edits_are_reported(operator: Operator) -> None:
    async with taken_over(operator) as (profile, release):
        await release.helm("upgrade", "--reset-values", values=SMALLEST)
        await eventually(lambda: _item(profile, f"Release/{release.namespace}/connect", "/nodeSelector"), timeout=5)
        item = _item(profile, f"Release/{release.namespace}/connect", "/nodeSelector")
        assert (item["manager"], item["action"], item["reason"]) == ("helm revision 3", "Reported", "Policy")
        await profile.condition_is("Ready", "False", "GuaranteeBroken")
        await release.helm("rollback", "2")
        await profile.ready()
        release.api.merge(
            release.kind("deployments"),
            SERVER,
            {"spec": {"template": {"spec": {"nodeSelector": {"workload": "elsewhere"}}}}},
        )
        target = f"Deployment/{release.namespace}/{SERVER}"
        item = await eventually(lambda: _item(profile, target, "/spec/template/spec/nodeSelector"), timeout=5)
        assert item["manager"] == "kubectl-edit"
        release.api.delete(release.kind("configmaps"), f"{SERVER}-config")
        await eventually(lambda: _item(profile, f"ConfigMap/{release.namespace}/{SERVER}-config", "/"), timeout=5)


def _item(profile: Profile, target: str, path: str) -> dict[str, Any]:
    found = [item for item in profile.drift() if item["target"] == target and item["path"].startswith(path)]
    assert found, profile.drift()
    return found[0]

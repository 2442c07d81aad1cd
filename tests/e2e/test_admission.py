"""The component admission-policy at work: deletions that could take nodes along are refused, others are mended.

An API server, the operator and the policy; no garbage collector, which a foreground deletion would need to go on.
"""

from collections.abc import AsyncIterator

import pytest
import requests

from harness import DEPLOY, NODE_POOLS, LocalOperator, Profile, Workspace
from sandbox import Cluster, eventually

GUARD = DEPLOY / "components" / "admission-policy" / "deletion-guard.yaml"


@pytest.fixture
async def profile(oldest: LocalOperator) -> AsyncIterator[Profile]:
    """A profile under the policy, which acts some moments after it was created."""
    oldest.cluster.apply(GUARD)
    async with Workspace(oldest.cluster) as workspace:
        profile = workspace.profile()
        await profile.ready()
        await eventually(lambda: not _delete(oldest.cluster, profile.server, dryRun=["All"]).ok)
        yield profile
        assert oldest.cluster.kubectl("delete", "-f", GUARD).returncode == 0
        await eventually(lambda: _delete(oldest.cluster, profile.server, dryRun=["All"]).ok)


def _delete(cluster: Cluster, pool: str = "", *, how: str = "Foreground", **options: list[str]) -> requests.Response:
    url = f"{NODE_POOLS.plural}/{pool}".rstrip("/")
    body = {"propagationPolicy": how, **options}
    answer: requests.Response = cluster.api.delete(version=NODE_POOLS.version, url=url, json=body)
    return answer


async def test_foreground_is_refused_and_background_is_mended(oldest: LocalOperator, profile: Profile) -> None:
    cluster, old = oldest.cluster, profile.pool()
    refused = _delete(cluster, profile.server)
    assert refused.status_code == requests.codes.forbidden
    message = refused.json()["message"]
    assert f"NodePool {profile.server} belongs to ConnectAutoscalingProfile {profile.name}" in message
    assert "Delete it with --cascade=background" in message
    told = cluster.kubectl("delete", "nodepool", profile.server, "--cascade=foreground")
    assert told.returncode
    assert "under Posit Connect" in told.stderr
    assert _delete(cluster).status_code == requests.codes.forbidden
    assert "deletionTimestamp" not in profile.pool()["metadata"]

    passed = cluster.kubectl("delete", "nodepool", profile.server, "--timeout=30s")
    assert passed.returncode == 0, passed.stderr
    back = await eventually(lambda: profile.api.find(NODE_POOLS, profile.server))
    assert back is not None
    assert back["metadata"]["uid"] != old["metadata"]["uid"]
    assert back["spec"] == old["spec"]
    await profile.ready()

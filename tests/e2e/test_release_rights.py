"""The rights of deploy/release, both ways: nothing is refused, and nothing is granted to the operator for nothing."""

from harness import DEPLOY, USER, Operator, Release, Workspace, kustomize
from harness.installation import SERVICE_ACCOUNT
from harness.releases import HELM_ACCOUNT, release_options
from harness.rights import Right, granted, used
from sandbox import Cluster, eventually

FLUX = {"helm.toolkit.fluxcd.io/name": "connect"}


async def test_every_request_is_granted_and_every_right_is_used(release_cluster: Cluster) -> None:
    since = release_cluster.audit.marker()
    async with (
        Operator(release_cluster, *release_options(release_cluster)),
        Workspace(release_cluster) as workspace,
        Release(release_cluster) as one,
        Release(release_cluster) as other,
    ):
        restore = {"release": "Restore"}
        profile = workspace.profile(release=one.reference, deletionPolicy=restore)
        exported = workspace.profile(release={**other.reference, "manager": "Flux"}, deletionPolicy=restore)
        await profile.ready(seconds=90)
        await exported.condition_is("ReleaseConfigured", "False", "OverlayExported", seconds=60)
        other.api.delete(other.kind("configmaps"), f"{exported.name}-values")
        await eventually(lambda: other.api.find(other.kind("configmaps"), f"{exported.name}-values"))
        profile.delete()
        exported.delete()
        await profile.gone(seconds=90)
        await exported.gone()
        namespaces = {one.namespace, other.namespace}
    requests = release_cluster.audit.requests(user=USER, since=since)
    refused = [entry for entry in requests if entry.code == 403]
    # Flux is not installed: its kind does not exist, so the answer is 404 and no right is judged by it.
    assert refused == []
    helms = [
        entry
        for namespace in namespaces
        for entry in release_cluster.audit.requests(
            user=f"system:serviceaccount:{namespace}:{HELM_ACCOUNT}", since=since
        )
    ]
    assert helms
    assert [entry for entry in helms if entry.code == 403] == []
    needed = {Right(r.verb, r.group, r.resource, "", r.name) for r in used(requests)}
    needed.add(Right("impersonate", "", "serviceaccounts", "", HELM_ACCOUNT))
    needed.add(Right("list", "batch", "jobs", "", ""))  # asked for only where connectAPI is set and answers
    rights = [
        Right(r.verb, r.group, r.resource, "", r.name)
        for r in granted(kustomize(release_cluster, DEPLOY / "release"), SERVICE_ACCOUNT)
    ]
    assert [right for right in rights if not any(right.covers(each) for each in needed)] == []

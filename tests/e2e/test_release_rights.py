"""The rights of deploy/release, both ways: nothing is refused, and nothing is granted to the operator for nothing."""

import contextlib
from collections.abc import AsyncIterator

from harness import DEPLOY, USER, Kind, Operator, Release, Workspace, kustomize, unique
from harness.installation import SERVICE_ACCOUNT
from harness.releases import HELM_ACCOUNT, release_options
from harness.rights import Right, granted, used
from sandbox import Cluster, eventually

FLUX = {"helm.toolkit.fluxcd.io/name": "connect"}


async def test_every_request_is_granted_and_every_right_is_used(release_cluster: Cluster) -> None:
    since = release_cluster.audit.marker()
    content = unique("content")
    elsewhere = {"backends": {"kubernetes": {"namespace": content}}}
    async with (
        Operator(release_cluster, *release_options(release_cluster)),
        Workspace(release_cluster) as workspace,
        _content_namespace(workspace, content),
        Release(release_cluster) as one,
        Release(release_cluster, elsewhere) as other,
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
    of_content = granted(kustomize(release_cluster, DEPLOY / "content"), SERVICE_ACCOUNT)
    assert {(r.verb, r.resource) for r in of_content} == {
        (entry.verb, entry.resource) for entry in requests if entry.namespace == content
    }


@contextlib.asynccontextmanager
async def _content_namespace(workspace: Workspace, name: str) -> AsyncIterator[None]:
    """Have a namespace for content, with the rights of deploy/content."""
    namespaces = Kind("v1", "namespaces")
    workspace.api.create(namespaces, {"kind": "Namespace", "metadata": {"name": name}})
    for body in kustomize(workspace.cluster, DEPLOY / "content"):
        workspace.cluster.apply({**body, "metadata": {**body["metadata"], "namespace": name}})
    try:
        yield
    finally:
        workspace.api.delete(namespaces, name)

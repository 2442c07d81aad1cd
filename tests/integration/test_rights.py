"""The operator's rights, both ways: nothing that it asks for is refused, and nothing that it is granted is unused.

The judge is the API server's audit log, over a run that makes the operator do everything it can do.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from harness import (
    NODE_CLAIMS,
    NODE_CLASS,
    NODE_POOLS,
    USER,
    FakeKarpenterStatus,
    Json,
    Operator,
    Profile,
    Workspace,
    kustomize,
    unique,
)
from harness.installation import NAMESPACE, SERVICE_ACCOUNT
from harness.rights import Right, granted, used
from sandbox import Cluster, Parts, cluster, eventually

# Every NodeClass in the operator's rights but kwok's, whose definition the sandbox has.
PROVIDERS = {
    "karpenter.k8s.aws": ("ec2nodeclasses", "EC2NodeClass"),
    "eks.amazonaws.com": ("nodeclasses", "NodeClass"),
    "karpenter.azure.com": ("aksnodeclasses", "AKSNodeClass"),
    "karpenter.k8s.gcp": ("gcenodeclasses", "GCENodeClass"),
}


PREDECESSOR = Right("get", "", "pods", NAMESPACE, "")
"""Used only inside of a cluster, after a pod of the operator was replaced amid an upgrade."""


def node_class_definition(group: str, plural: str, kind: str) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Cluster", "names": names, "versions": [version]},
    }


@pytest.fixture(scope="module")
async def own_cluster() -> AsyncIterator[Cluster]:
    async with cluster(parts=Parts.API) as it, FakeKarpenterStatus(it):
        for group, (plural, kind) in PROVIDERS.items():
            it.apply(node_class_definition(group, plural, kind))
            it.apply({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "default"}})
        yield it


async def test_every_request_is_granted_and_every_right_is_used(own_cluster: Cluster) -> None:
    rights = sorted(granted(kustomize(own_cluster), SERVICE_ACCOUNT))
    async with Operator(own_cluster), Workspace(own_cluster) as workspace:
        profile = workspace.profile()
        await profile.ready()
        await _drift(profile)
        await _deletion_of_pools(workspace, profile)
        await _missing_node_class(workspace)
        life = {"expireAfter": "504h"}  # EKS Auto Mode takes no longer one
        for group, (_, kind) in PROVIDERS.items():
            reference = {"group": group, "kind": kind, "name": "default"}
            await workspace.profile(nodeClassRef=reference, serverPool=life, contentPool=life).ready()
        profile.delete()
        await profile.gone()
    entries = own_cluster.audit.requests(user=USER)
    assert [entry for entry in entries if entry.code == 403] == []
    needed = set(used(entries))
    assert sorted(right for right in needed if not any(each.covers(right) for each in rights)) == []
    needed.add(PREDECESSOR)
    assert [right for right in rights if not any(right.covers(each) for each in needed)] == []


async def _drift(profile: Profile) -> None:
    """Bend what an apply puts right, and what it leaves in place."""
    template = {"metadata": {"annotations": {"example.com/foreign": "yes"}}}
    profile.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": 7, "template": template}})

    def healed() -> bool:
        spec = profile.pool()["spec"]
        assert "weight" not in spec
        assert not spec["template"].get("metadata", {}).get("annotations")
        return True

    await eventually(healed)


async def _deletion_of_pools(workspace: Workspace, profile: Profile) -> None:
    """Delete both: one comes back, the other one is saved with its node."""
    server = profile.pool()
    claim = _claim(workspace, server)
    await eventually(lambda: "ownerReferences" not in workspace.api.get(NODE_CLAIMS, claim)["metadata"])
    content = profile.pool(profile.content)
    for pool in (server, content):
        workspace.api.delete(NODE_POOLS, pool["metadata"]["name"])
    await eventually(lambda: _is_another(profile, server) and _is_another(profile, content))
    await profile.ready()


def _is_another(profile: Profile, pool: Json) -> bool:
    live = profile.api.find(NODE_POOLS, pool["metadata"]["name"])
    return live is not None and live["metadata"]["uid"] != pool["metadata"]["uid"]


def _claim(workspace: Workspace, pool: Json) -> str:
    """Play Karpenter: a NodeClaim that its NodePool owns and whose node has registered."""
    meta = pool["metadata"]
    owner = {"apiVersion": NODE_POOLS.version, "kind": "NodePool", "name": meta["name"], "uid": meta["uid"]}
    body: Mapping[str, Any] = {
        "kind": "NodeClaim",
        "metadata": {
            "name": unique("claim"),
            "labels": {"karpenter.sh/nodepool": meta["name"]},
            "ownerReferences": [owner],
        },
        "spec": {"nodeClassRef": NODE_CLASS, "requirements": pool["spec"]["template"]["spec"]["requirements"]},
    }
    name = str(workspace.create(NODE_CLAIMS, body, manager="karpenter")["metadata"]["name"])
    registered = {
        "type": "Registered",
        "status": "True",
        "reason": "Registered",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    workspace.api.merge(NODE_CLAIMS, name, {"status": {"conditions": [registered]}}, subresource="status")
    return name


async def _missing_node_class(workspace: Workspace) -> None:
    missing = workspace.profile(nodeClassRef={**NODE_CLASS, "name": "missing"})
    await missing.condition_is("Ready", "False", "NodeClassNotFound")

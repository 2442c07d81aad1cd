"""NodeClaims as Karpenter makes them, where no Karpenter runs."""

from typing import Any

from harness import NODE_CLAIMS, Json, Workspace, unique


def node_claim(workspace: Workspace, pool: Json, *, name: str = "", owned: bool = True, **labels: str) -> str:
    """Create a NodeClaim that was born under a NodePool as it is, and whose node has registered; return its name.

    Args:
        workspace: Removes it at the end.
        pool: The live NodePool.
        name: Its name; any, unless given.
        owned: Whether it refers to the pool as its owner.
        labels: More of them.
    """
    meta, template = pool["metadata"], pool["spec"]["template"]
    born = template.get("metadata", {})
    fixed = {each["key"]: each["values"][0] for each in template["spec"]["requirements"] if each["operator"] == "In"}
    metadata: dict[str, Any] = {
        "name": name or unique("claim"),
        "labels": {"karpenter.sh/nodepool": meta["name"], **fixed, **born.get("labels", {}), **labels},
        "annotations": born.get("annotations", {}),
    }
    if owned:
        owner = {"apiVersion": pool["apiVersion"], "kind": "NodePool", "name": meta["name"], "uid": meta["uid"]}
        metadata["ownerReferences"] = [{**owner, "blockOwnerDeletion": True}]
    body = {"kind": "NodeClaim", "metadata": metadata, "spec": template["spec"]}
    name = workspace.create(NODE_CLAIMS, body, manager="karpenter")["metadata"]["name"]
    conditions = [
        {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("Launched", "Registered", "Initialized", "Ready")
    ]
    status = {"status": {"conditions": conditions}}
    workspace.api.merge(NODE_CLAIMS, name, status, manager="karpenter", subresource="status")
    return name

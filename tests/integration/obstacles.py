"""What can stand in the operator's way on a cluster: policies, missing rights, missing or old definitions."""

from dataclasses import dataclass
from typing import Any, Final

import requests
import yaml

from harness import NODE_CLASS, NODE_POOLS, USER, Api, Json, Kind, Workspace, unique
from sandbox import Cluster, build, eventually

CRDS: Final = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
_POLICIES: Final = Kind("admissionregistration.k8s.io/v1", "validatingadmissionpolicies")
_BINDINGS: Final = Kind("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings")
_ROLE_BINDINGS: Final = Kind("rbac.authorization.k8s.io/v1", "clusterrolebindings")
_ROLES: Final = Kind("rbac.authorization.k8s.io/v1", "clusterroles")
_RIGHTS: Final = "connect-autoscaler-nodepools"
_TEMPLATE: Final[Json] = {"spec": {"nodeClassRef": NODE_CLASS, "requirements": []}}


@dataclass
class Policy:
    """A ValidatingAdmissionPolicy that refuses NodePools with a name or a weight.

    Attributes:
        name: Its own name.
        prefix: Of names that are refused.
        weight: That is refused.
        message: What it says.
    """

    workspace: Workspace
    name: str
    prefix: str
    weight: int = 13
    message: str = "ask the platform team for NodePools"

    @classmethod
    async def create(cls, workspace: Workspace) -> "Policy":
        """Create it, and wait until the API server goes by it."""
        policy = cls(workspace, unique("policy"), unique("bad"))
        nodepools = {
            "apiGroups": ["karpenter.sh"],
            "apiVersions": ["*"],
            "resources": ["nodepools"],
            "operations": ["CREATE", "UPDATE"],
        }
        rule = (
            f"object.metadata.name.startsWith('{policy.prefix}') || object.spec.?weight.orValue(0) == {policy.weight}"
        )
        spec: Json = {
            "matchConstraints": {"resourceRules": [nodepools]},
            "validations": [{"expression": f"!({rule})", "message": policy.message}],
        }
        meta: Json = {"metadata": {"name": policy.name}}
        workspace.create(_POLICIES, {"kind": "ValidatingAdmissionPolicy", **meta, "spec": spec})
        binding = {"policyName": policy.name, "validationActions": ["Deny"]}
        workspace.create(_BINDINGS, {"kind": "ValidatingAdmissionPolicyBinding", **meta, "spec": binding})
        await eventually(policy._denies)
        return policy

    def lift(self) -> None:
        """Take it away."""
        for kind in (_BINDINGS, _POLICIES):
            self.workspace.api.delete(kind, self.name)

    def _denies(self) -> bool:
        answer = self.workspace.cluster.api.post(
            version=NODE_POOLS.version,
            url=NODE_POOLS.plural,
            params={"dryRun": "All"},
            json={
                "apiVersion": NODE_POOLS.version,
                "kind": "NodePool",
                "metadata": {"name": unique()},
                "spec": {"weight": self.weight, "template": _TEMPLATE},
            },
        )
        return bool(answer.status_code == requests.codes.unprocessable_entity)


def may(workspace: Workspace, verb: str) -> bool:
    """Tell whether the operator has a right on NodePools."""
    version = "authorization.k8s.io/v1"
    attributes = {"group": "karpenter.sh", "resource": "nodepools", "verb": verb}
    spec = {"user": USER, "resourceAttributes": attributes}
    review = {"apiVersion": version, "kind": "SubjectAccessReview", "spec": spec}
    answer = workspace.cluster.api.post(version=version, url="subjectaccessreviews", json=review)
    answer.raise_for_status()
    return bool(answer.json()["status"]["allowed"])


class Rights:
    """The operator's rights to write: what `components/enforcement` brings."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        binding = workspace.api.get(_ROLE_BINDINGS, _RIGHTS)
        self._binding = {**binding, "metadata": {"name": _RIGHTS}}

    async def revoke(self) -> None:
        """Take it away, and wait until the API server goes by that."""
        self._workspace.api.delete(_ROLE_BINDINGS, _RIGHTS)
        await eventually(lambda: not may(self._workspace, "patch"))

    def grant(self) -> None:
        """Give it back; a right that is there is no error."""
        if self._workspace.api.find(_ROLE_BINDINGS, _RIGHTS) is None:
            self._workspace.api.create(_ROLE_BINDINGS, self._binding)


async def allow_deletion(workspace: Workspace) -> None:
    """Grant what `deletionPolicy.nodePools: Delete` needs, for as long as the workspace lasts."""
    await allow(workspace, "delete")


async def allow(workspace: Workspace, *verbs: str) -> None:
    """Grant the operator more verbs on NodePools, for as long as the workspace lasts."""
    name = unique("more-nodepools")
    rule = {"apiGroups": ["karpenter.sh"], "resources": ["nodepools"], "verbs": list(verbs)}
    group = "rbac.authorization.k8s.io"
    workspace.create(_ROLES, {"kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]})
    workspace.create(
        _ROLE_BINDINGS,
        {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
        },
    )
    await eventually(lambda: all(may(workspace, verb) for verb in verbs))


def karpenter_definitions() -> dict[str, Json]:
    """Return Karpenter's own custom resource definitions, by name."""
    files = build.find("karpenter-1.14-crds").glob("*.yaml")
    bodies = [yaml.safe_load(file.read_text()) for file in files]
    return {body["metadata"]["name"]: body for body in bodies}


def schema_at(definition: Json, path: str) -> Any:
    """Return a part of a definition's schema."""
    (version,) = definition["spec"]["versions"]
    node = version["schema"]["openAPIV3Schema"]
    for name in path.split("."):
        node = node["properties"][name]
    return node


def install_provider(workspace: Workspace, group: str, kind: str, name: str) -> None:
    """Make a kind of NodeClass known, and create one."""
    plural = f"{kind.lower()}es"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    workspace.remember(CRDS, f"{plural}.{group}")
    workspace.cluster.apply(
        {
            "apiVersion": CRDS.version,
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Cluster", "names": names, "versions": [version]},
        }
    )
    workspace.cluster.apply({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}})


def default_node_class(cluster: Cluster) -> None:
    """Create the NodeClass that profiles of tests name."""
    cluster.apply(
        {
            "apiVersion": f"{NODE_CLASS['group']}/v1alpha1",
            "kind": NODE_CLASS["kind"],
            "metadata": {"name": NODE_CLASS["name"]},
        }
    )


def pool_of_others(workspace: Workspace, name: str, *, spec: Json, **metadata: Any) -> Json:
    """Create a NodePool that is not ours."""
    return workspace.create(NODE_POOLS, {"kind": "NodePool", "metadata": {"name": name, **metadata}, "spec": spec})


def untouched(api: Api, pool: Json) -> bool:
    """Tell whether a NodePool is as it was, status aside."""
    now = api.get(NODE_POOLS, pool["metadata"]["name"])
    return bool(now["spec"] == pool["spec"] and _marks(now) == _marks(pool))


def _marks(pool: Json) -> Json:
    return {key: pool["metadata"].get(key) for key in ("labels", "annotations", "finalizers")}

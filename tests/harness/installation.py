"""What an administrator does before the operator runs: `kubectl apply -k deploy`, but for the pod itself."""

from pathlib import Path
from typing import Any, Final

from sandbox import Cluster, SandboxError
from sandbox.apply import documents

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
NAMESPACE: Final = "connect-autoscaler"
SERVICE_ACCOUNT: Final = "connect-autoscaler"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
"""The operator's name in audit logs."""
NODE_CLASS: Final[dict[str, Any]] = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
"""A `nodeClassRef` that exists on every installed cluster."""


def kustomize(cluster: Cluster, directory: Path = DEPLOY) -> list[dict[str, Any]]:
    """Return the objects that `kubectl kustomize` builds of a directory.

    Raises:
        SandboxError: With kubectl's words.
    """
    built = cluster.kubectl("kustomize", directory)
    if built.returncode:
        raise SandboxError(f"kubectl kustomize {directory}: {built.stderr}")
    return list(documents(built.stdout))


def install(cluster: Cluster, directory: Path = DEPLOY) -> Path:
    """Apply deploy/, or an overlay, without its Deployment, and the NodeClass; return the ServiceAccount's kubeconfig.

    The Deployment stays out because a process plays its pod: the sandbox runs no containers.
    """
    cluster.apply(*(each for each in kustomize(cluster, directory) if each["kind"] != "Deployment"))
    group, kind, name = NODE_CLASS["group"], NODE_CLASS["kind"], NODE_CLASS["name"]
    if cluster.api.get(version=f"{group}/v1alpha1").ok:
        cluster.apply({"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name}})
    return cluster.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT)

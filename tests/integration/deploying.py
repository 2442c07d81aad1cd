"""The operator as a Deployment of deploy/ would run it, and what deploy/ meets on clusters of users."""

from pathlib import Path
from typing import Final

from harness import NAMESPACE, Json, Operator, kustomize
from sandbox import Cluster


def definition(group: str, plural: str, kind: str, version: str = "v1", scope: str = "Cluster") -> Json:
    """Return a CustomResourceDefinition that takes any fields, for a kind of somebody else's."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": scope, "names": names, "versions": [served]},
    }


PROMETHEUS_OPERATOR: Final = tuple(
    definition("monitoring.coreos.com", f"{kind.lower()}s", kind, scope="Namespaced")
    for kind in ("ServiceMonitor", "PrometheusRule")
)
"""What component monitoring needs."""


def operator_of(cluster: Cluster, directory: Path) -> Operator:
    """Return the operator with the rights, arguments and variables of a folder's Deployment; ports are free ones."""
    (deployment,) = (each for each in kustomize(cluster, directory) if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    verb, *arguments = container["args"]
    assert verb == "run"
    if "--leader-elect" in arguments:
        arguments += ["--namespace", NAMESPACE]  # a pod is told by its ServiceAccount
    env = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    free = {name: "0" for name in env if name.endswith("_PORT")}
    return Operator(cluster, *arguments, env={**env, **free}, deploy=directory, name=f"operator-{directory.name}")

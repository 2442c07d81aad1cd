"""A local control plane: real etcd, Kubernetes, kwok, Karpenter and Helm, without containers and without root."""

from sandbox.audit import Audit, Entry
from sandbox.cluster import Cluster, cluster
from sandbox.components import Parts
from sandbox.errors import SandboxError
from sandbox.wait import NotYetError, eventually

__all__ = ["Audit", "Cluster", "Entry", "NotYetError", "Parts", "SandboxError", "cluster", "eventually"]

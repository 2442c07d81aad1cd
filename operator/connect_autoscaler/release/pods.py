"""Pods of a release: servers and content. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from connect_autoscaler.release.overlay import DO_NOT_DISRUPT
from connect_autoscaler.release.values import Json

OVER: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """What is remembered of a pod."""

    name: str
    namespace: str
    uid: str
    created: datetime
    phase: str
    ready: bool
    terminating: bool
    node: str | None
    protected: bool
    """Whether it carries Karpenter's do-not-disrupt annotation."""
    body: Json = field(repr=False)
    """The part that may show the overlay."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Read a pod."""
        meta, spec, status = body["metadata"], body["spec"], body.get("status", {})
        annotations = meta.get("annotations", {})
        kept = ("nodeSelector", "tolerations", "topologySpreadConstraints")
        return cls(
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            created=datetime.fromisoformat(meta["creationTimestamp"]),
            phase=status.get("phase", "Pending"),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())),
            terminating="deletionTimestamp" in meta,
            node=spec.get("nodeName"),
            protected=DO_NOT_DISRUPT in annotations,
            body={
                "metadata": {"annotations": annotations},
                "spec": {key: spec[key] for key in kept if key in spec},
            },
        )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase in OVER


def in_the_way(content: Iterable[Pod], since: datetime | None) -> tuple[str, ...]:
    """Content that a restart of the server may orphan, by name, sorted.

    A pod that started unannotated after the overlay came into effect is an interactive one, which is started again on
    the next visit. Whatever else runs may be a render: the annotation is what tells them apart.

    Args:
        content: Pods of content.
        since: When servers with the overlay came up; None: none runs with it.
    """
    return tuple(
        sorted(
            pod.name for pod in content if not pod.over and not (since and pod.created > since and not pod.protected)
        )
    )


def complete(deployment: Mapping[str, Any]) -> bool:
    """Whether all pods of a Deployment are of its present template, and available.

    Source: ``kubectl rollout status``, ``k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go``.
    """
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas"))
    return current and all(count == replicas for count in counts)

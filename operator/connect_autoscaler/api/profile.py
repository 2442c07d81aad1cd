"""A profile as the operator works with it: typed spec and status, and the metadata that decisions need."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from pydantic import ValidationError

from connect_autoscaler.api.policies import Policy
from connect_autoscaler.api.pools import Management, NodeClassRef, PoolSpec, Role
from connect_autoscaler.api.spec import ProfileSpec
from connect_autoscaler.api.status import ProfileStatus


@dataclass(frozen=True, slots=True)
class Pool:
    """One NodePool that a profile asks for."""

    spec: PoolSpec
    node_class: NodeClassRef
    """The pool's own nodeClassRef, else the profile's."""
    label: tuple[str, str]
    """Placement label, key and value, of its nodes."""

    @property
    def role(self) -> Role:
        """What runs on its nodes."""
        return self.spec.role

    @property
    def name(self) -> str:
        """Name of the NodePool."""
        return self.spec.name

    @property
    def node_class_key(self) -> tuple[str, str, str]:
        """Group, kind and name of its NodeClass."""
        ref = self.node_class
        return ref.group, ref.kind, ref.name

    @property
    def managed(self) -> bool:
        """Whether the operator writes it (External pools are only checked)."""
        return self.spec.management is Management.MANAGED


@dataclass(frozen=True)
class Profile:
    """A ConnectAutoscalingProfile."""

    name: str
    uid: str
    generation: int
    version: int
    created: datetime
    deleting: bool
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str]
    spec: ProfileSpec
    status: ProfileStatus
    deleted_at: datetime | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Parse a live object.

        Raises:
            pydantic.ValidationError: The spec was accepted by an API server with another CRD than this version's.
        """
        meta = body["metadata"]
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            generation=meta["generation"],
            version=int(meta["resourceVersion"]),
            created=datetime.fromisoformat(meta["creationTimestamp"]),
            deleting="deletionTimestamp" in meta,
            finalizers=tuple(meta.get("finalizers", ())),
            annotations=meta.get("annotations", {}),
            spec=ProfileSpec.model_validate(body["spec"]),
            status=_status(body.get("status", {})),
            deleted_at=datetime.fromisoformat(meta["deletionTimestamp"]) if "deletionTimestamp" in meta else None,
        )

    @classmethod
    def bare(cls, body: Mapping[str, Any]) -> Self:
        """Read a live object whose spec cannot be parsed: its metadata, its status, and an empty spec."""
        spec = {"nodeClassRef": {"group": "unknown", "kind": "Unknown", "name": "unknown"}}
        return cls.of({**body, "spec": spec})

    @cached_property
    def claimed_pools(self) -> frozenset[str]:
        """Names of its Managed pools; External pools are shared and claim nothing."""
        return frozenset(pool.name for pool in self.pools if pool.managed)

    @cached_property
    def claimed_placements(self) -> frozenset[tuple[str, str]]:
        """Placement labels of its Managed pools."""
        return frozenset(pool.label for pool in self.pools if pool.managed)

    @cached_property
    def claimed_release(self) -> tuple[str, str] | None:
        """Namespace and name of its release; with driftPolicy.release: Ignore it claims none."""
        release = self.spec.release
        cared_for = release is not None and self.spec.drift_policy.release is not Policy.IGNORE
        return (release.namespace, release.name) if release and cared_for else None

    @property
    def guard(self) -> dict[str, Any]:
        """The metadata that a guarded patch tests."""
        return {
            "metadata": {"uid": self.uid, "resourceVersion": str(self.version), "finalizers": list(self.finalizers)}
        }

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """Every pool the spec names, the server pool first."""
        spec, placement = self.spec, self.spec.placement

        def pool(pool_spec: PoolSpec) -> Pool:
            value = placement.server if pool_spec.role is Role.SERVER else placement.content
            return Pool(pool_spec, spec.node_class(pool_spec), (placement.label_key, value))

        return tuple(map(pool, spec.pools))


def _status(raw: Any) -> ProfileStatus:
    """Read a status; one that another version, or somebody else, has written is as good as none: it is made anew."""
    try:
        return ProfileStatus.model_validate(raw)
    except ValidationError:
        return ProfileStatus()

"""NodePools as a profile asks for them. The rules and their messages are those of the CRD."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from connect_autoscaler.api.disruption import Disruption, Lifetime, ServerDisruption
from connect_autoscaler.api.fields import (
    Boolean,
    DnsName,
    Duration,
    Kind,
    Model,
    PoolName,
    integer,
    parse_duration,
    require,
)
from connect_autoscaler.api.names import LABEL_CAPACITY_TYPE
from connect_autoscaler.api.nodes import (
    SPOT,
    Limits,
    NodeAnnotations,
    NodeLabels,
    Operator,
    Requirement,
    Taints,
)


class Role(StrEnum):
    """What runs on the nodes of a pool."""

    SERVER = "Server"
    CONTENT = "Content"


class Management(StrEnum):
    """Who writes a NodePool."""

    MANAGED = "Managed"
    EXTERNAL = "External"


class NodeClassRef(Model):
    """The provider's object that says how nodes are launched."""

    group: DnsName
    kind: Kind
    name: DnsName


class PoolSpec(Model):
    """What the pools have in common; lists and maps that are absent are empty here."""

    role: ClassVar[Role]

    name: PoolName
    management: Management = Management.MANAGED
    node_class_ref: NodeClassRef | None = None
    requirements: Annotated[tuple[Requirement, ...], Field(max_length=50)] = ()
    disruption: Disruption = Disruption()
    expire_after: Lifetime = "720h"
    termination_grace_period: Duration | None = None
    deletion_protection: Boolean = False
    labels: NodeLabels = Field(default_factory=dict)
    annotations: NodeAnnotations = Field(default_factory=dict)
    taints: Taints = ()
    startup_taints: Taints = ()
    limits: Limits = Field(default_factory=dict)
    weight: Annotated[int, integer(1, 100)] | None = None

    @model_validator(mode="after")
    def _check_taints(self) -> Self:
        both = {(t.key, t.effect) for t in self.taints} & {(t.key, t.effect) for t in self.startup_taints}
        require(not both, "taints and startupTaints must not contain the same key and effect")
        return self

    @property
    def keys(self) -> frozenset[str]:
        """Every label key that the pool's labels, requirements and taints speak of."""
        return frozenset(self.labels).union(
            (requirement.key for requirement in self.requirements),
            (taint.key for taint in (*self.taints, *self.startup_taints)),
        )

    def lives_at_most(self, limit: timedelta) -> bool:
        """Return whether Karpenter deletes every node of the pool before it is older than `limit`."""
        age = parse_duration(self.expire_after)
        return age is not None and age <= limit


class ServerPool(PoolSpec):
    """The NodePool of the Connect servers."""

    role: ClassVar[Role] = Role.SERVER

    name: PoolName = "connect-server"
    disruption: ServerDisruption = ServerDisruption()
    expire_after: Lifetime = "Never"
    deletion_protection: Boolean = True

    @model_validator(mode="after")
    def _check_protection(self) -> Self:
        require(
            self.termination_grace_period is None,
            "must not be set on the server pool: when it ends Karpenter deletes the server pods, "
            "whatever protects them; leave it out",
        )
        require(
            all(_without_spot(r) for r in self.requirements if r.key == LABEL_CAPACITY_TYPE),
            "must keep spot nodes out of the server pool: "
            "karpenter.sh/capacity-type must be In without spot, or NotIn with spot",
        )
        require(
            self.labels.get(LABEL_CAPACITY_TYPE) != SPOT,
            "must keep spot nodes out of the server pool: the label karpenter.sh/capacity-type must not be spot",
        )
        return self


def _without_spot(requirement: Requirement) -> bool:
    match requirement.operator:
        case Operator.IN:
            return SPOT not in requirement.values
        case Operator.NOT_IN:
            return SPOT in requirement.values
        case _:
            return False


class ContentPool(PoolSpec):
    """The NodePool of content jobs."""

    role: ClassVar[Role] = Role.CONTENT

    name: PoolName = "connect-content"


class AdditionalContentPool(ContentPool):
    """One more NodePool of content jobs."""

    name: PoolName

"""The spec of a ConnectAutoscalingProfile. Defaults, bounds, rules and messages are those of the CRD."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from connect_autoscaler.api.disruption import Budget, ConsolidationPolicy, Disruption, DisruptionReason
from connect_autoscaler.api.fields import Boolean, Duration, Model, parse_duration, require, unique, within
from connect_autoscaler.api.nodes import Operator, Requirement, Taint, TaintEffect
from connect_autoscaler.api.placement import Content, Placement, Server, SpreadConstraint, WhenUnsatisfiable
from connect_autoscaler.api.policies import (
    ConnectApi,
    DeletionPolicy,
    Disruptions,
    DriftPolicy,
    IgnoreRule,
    IgnoreTarget,
    Mode,
    OrphanPolicy,
    Policy,
    PoolDeletion,
    Recovery,
    ReleaseDeletion,
    TakeOver,
    TargetKind,
    When,
    Window,
)
from connect_autoscaler.api.pools import (
    AdditionalContentPool,
    ContentPool,
    Management,
    NodeClassRef,
    PoolSpec,
    Role,
    ServerPool,
)
from connect_autoscaler.api.release import Chart, OnConflict, Release, ReleaseManager

__all__ = [
    "AdditionalContentPool",
    "Budget",
    "Chart",
    "ConnectApi",
    "ConsolidationPolicy",
    "Content",
    "ContentPool",
    "DeletionPolicy",
    "Disruption",
    "DisruptionReason",
    "Disruptions",
    "DriftPolicy",
    "IgnoreRule",
    "IgnoreTarget",
    "Management",
    "Mode",
    "NodeClassRef",
    "OnConflict",
    "Operator",
    "OrphanPolicy",
    "Placement",
    "Policy",
    "PoolDeletion",
    "PoolSpec",
    "ProfileSpec",
    "Recovery",
    "Release",
    "ReleaseDeletion",
    "ReleaseManager",
    "Requirement",
    "Role",
    "Server",
    "ServerPool",
    "SpreadConstraint",
    "Taint",
    "TaintEffect",
    "TakeOver",
    "TargetKind",
    "When",
    "WhenUnsatisfiable",
    "Window",
]

_AUTO_MODE: Final = ("eks.amazonaws.com", "NodeClass")
_AUTO_MODE_LIFETIME: Final = timedelta(hours=504)
_AUTO_MODE_MESSAGE: Final = (
    "must be at most 504h with EKS Auto Mode's NodeClass (eks.amazonaws.com), which refuses Never and longer lives"
)


class ProfileSpec(Model):
    """What the operator is to ensure."""

    mode: Mode = Mode.ENFORCE
    suspend: Boolean = False
    interval: Annotated[
        Duration,
        within(
            "must be a duration of at least 1m and at most 1h, such as 5m",
            least=timedelta(minutes=1),
            most=timedelta(hours=1),
        ),
    ] = "5m"
    node_class_ref: NodeClassRef
    placement: Placement = Placement()
    server_pool: ServerPool = ServerPool()
    content_pool: ContentPool = ContentPool()
    additional_content_pools: Annotated[
        tuple[AdditionalContentPool, ...],
        Field(max_length=8),
        unique(lambda pool: pool.name, "must not contain the same name twice"),
    ] = ()
    server: Server = Server()
    content: Content = Content()
    release: Release | None = None
    disruptions: Disruptions = Disruptions()
    drift_policy: DriftPolicy = DriftPolicy()
    take_over: TakeOver = TakeOver.NEVER
    deletion_policy: DeletionPolicy = DeletionPolicy()
    connect_api: Annotated[ConnectApi | None, Field(alias="connectAPI")] = None
    recovery: Recovery = Recovery()

    @property
    def pools(self) -> Iterator[PoolSpec]:
        """Every pool, the server pool first."""
        yield self.server_pool
        yield self.content_pool
        yield from self.additional_content_pools

    def node_class(self, pool: PoolSpec) -> NodeClassRef:
        """Return the NodeClass in effect for a pool."""
        return pool.node_class_ref or self.node_class_ref

    @property
    def may_write(self) -> bool:
        """Whether anything but status may be written: neither mode nor suspension forbids it."""
        return self.mode is Mode.ENFORCE and not self.suspend

    @property
    def resync(self) -> timedelta:
        """`interval` as a length of time."""
        return parse_duration(self.interval) or timedelta.max

    @model_validator(mode="after")
    def _check_pools(self) -> Self:
        names = self.server_pool.name, self.content_pool.name
        require(len(set(names)) == len(names), "must differ from serverPool.name")
        require(
            all(pool.name not in names for pool in self.additional_content_pools),
            "names must differ from serverPool.name and contentPool.name",
        )
        for pool in self.pools:
            require(
                self.placement.label_key not in pool.keys,
                "labels, requirements, taints and startupTaints must not contain placement.labelKey: "
                "the operator sets it itself",
            )
            node_class = self.node_class(pool)
            require(
                pool.management is not Management.MANAGED
                or (node_class.group, node_class.kind) != _AUTO_MODE
                or pool.lives_at_most(_AUTO_MODE_LIFETIME),
                _AUTO_MODE_MESSAGE,
            )
        return self

    @model_validator(mode="after")
    def _check_release(self) -> Self:
        require(
            self.release is None
            or self.deletion_policy.node_pools is not PoolDeletion.DELETE
            or self.deletion_policy.release is ReleaseDeletion.RESTORE,
            "must be Restore if deletionPolicy.nodePools is Delete and a release is set: "
            "its pods would stay pinned to nodes that are gone",
        )
        require(
            self.connect_api is None or self.release is not None,
            "must go with release: the Secret is read from the namespace of the release",
        )
        require(
            self.recovery.orphaned_jobs is not OrphanPolicy.RERUN or self.connect_api is not None,
            "must be Report unless connectAPI is set: jobs are run again through the Connect API",
        )
        return self

"""The status of a ConnectAutoscalingProfile.

What is long by nature is cut here to the bounds of the CRD: messages, JSON texts, and lists beside which a total says
how many there are.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from connect_autoscaler.api.clipping import (
    Digest,
    JsonText,
    Message,
    Path,
    Target,
    Time,
    Word,
    clip,
    clipped,
    first_of,
    json_text,
)
from connect_autoscaler.api.fields import (
    CONDITION_TYPE,
    REASON,
    Boolean,
    CamelCase,
    Count,
    Generation,
    Model,
    PoolName,
    integer,
    text,
)
from connect_autoscaler.api.nodes import Operator
from connect_autoscaler.api.pools import Management, Role

__all__ = [
    "Attempt",
    "Check",
    "CheckResult",
    "Condition",
    "ConditionStatus",
    "Disruption",
    "DriftAction",
    "DriftItem",
    "DriftStatus",
    "EffectivePolicies",
    "ForeignPod",
    "Heals",
    "Limitation",
    "NodePoolStatus",
    "OrphanedJob",
    "Orphans",
    "PlannedAction",
    "ProfileStatus",
    "ReleaseStatus",
    "RenderedRequirement",
    "clip",
    "json_text",
]


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Disruption(StrEnum):
    """What an action costs."""

    NONE = "None"
    OUTDATES_NODES = "OutdatesNodes"
    REPLACES_NODES = "ReplacesNodes"
    RESTARTS_SERVER = "RestartsServer"


class DriftAction(StrEnum):
    """What the operator did about a difference."""

    CORRECTED = "Corrected"
    DEFERRED = "Deferred"
    IGNORED = "Ignored"
    REPORTED = "Reported"


class CheckResult(StrEnum):
    """What came out of a check."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"
    NOT_APPLICABLE = "NotApplicable"


class Condition(Model):
    """One aspect of the state."""

    type: Annotated[str, text(316, CONDITION_TYPE)]
    status: ConditionStatus
    reason: Annotated[str, text(128, REASON)]
    message: Message
    observed_generation: Generation | None = None
    last_transition_time: Time | None = None


class EffectivePolicies(Model):
    """Policies in effect, after mode, suspend and driftPolicy."""

    node_pools: Word | None = None
    release: Word | None = None


class RenderedRequirement(Model):
    """A requirement as it stands in a NodePool."""

    key: Annotated[str, text(316)]
    operator: Operator
    values: Annotated[tuple[Annotated[str, text(63, minimum=0)], ...], first_of(200)] = ()
    min_values: Annotated[int, integer(1, 50)] | None = None


class NodePoolStatus(Model):
    """One NodePool as it is."""

    name: PoolName
    role: Role
    management: Management | None = None
    generation: Generation | None = None
    ready: ConditionStatus | None = None
    reason: Annotated[str, text(1024, REASON)] | None = None
    message: Message | None = None
    nodes: Count | None = None
    empty_nodes: Count | None = None
    outdated_nodes: Count | None = None
    drifted_node_claims: Count | None = None
    expiring_node_claims: Count | None = None
    lost_node_claims: Count | None = None
    next_expiry: Time | None = None
    owned: Boolean | None = None
    spec_hash: Digest | None = None
    requirements: Annotated[tuple[RenderedRequirement, ...], first_of(64)] = ()


class ReleaseStatus(Model):
    """The Helm release as it is."""

    namespace: Annotated[str, text(63)] | None = None
    name: Annotated[str, text(53)] | None = None
    manager: Word | None = None
    revision: Count | None = None
    chart: Annotated[str, text(128)] | None = None
    apply_method: Annotated[str, text(16)] | None = None
    overlay_digest: Digest | None = None
    server_restart_pending: Boolean | None = None


class Attempt(Model):
    """Long work in flight."""

    id: Annotated[str, text(64)]
    phase: Word | None = None
    started_at: Time | None = None


PLANNED_FIELDS: Final = 32
"""How many fields of an action the plan names at most."""


class PlannedAction(Model):
    """One action of the plan."""

    action: Annotated[CamelCase, text(64)]
    target: Target
    fields: Annotated[tuple[Path, ...], first_of(PLANNED_FIELDS)] = ()
    disruption: Disruption
    node_claims: Count | None = None
    reason: CamelCase | None = None
    message: Message | None = None


class DriftItem(Model):
    """One difference between what is wanted and what is there."""

    target: Target
    path: Path
    expected: JsonText | None = None
    actual: JsonText | None = None
    manager: Annotated[str, text(128)] | None = None
    changed_at: Time | None = None
    first_seen: Time | None = None
    last_seen: Time | None = None
    action: DriftAction
    reason: CamelCase | None = None
    node_claims: Count | None = None


class DriftStatus(Model):
    """All differences, the first 20 in detail."""

    total: Count = 0
    items: Annotated[tuple[DriftItem, ...], first_of(20)] = ()


class Heals(Model):
    """Corrections that worked."""

    total: Generation = 0
    last_time: Time | None = None


class Check(Model):
    """One check."""

    name: Annotated[str, text(64, "^[A-Za-z][A-Za-z0-9]*$")]
    result: CheckResult
    message: Message | None = None
    observed: JsonText | None = None
    last_changed: Time | None = None


class Limitation(Model):
    """A known limit of the protection that is met at the moment."""

    name: Annotated[str, text(64, "^[A-Za-z][A-Za-z0-9]*$")]
    count: Count
    message: Message | None = None


class ForeignPod(Model):
    """A pod of others on a pool of the profile."""

    namespace: Annotated[str, text(63)]
    name: Annotated[str, text(253)]
    node: Annotated[str, text(253)] | None = None
    pool: Annotated[str, text(63)] | None = None


class OrphanedJob(Model):
    """A content job that lost its server."""

    content_guid: Annotated[str, text(64), Field(alias="contentGUID")]
    job_key: Annotated[str, text(64)]
    tag: Annotated[str, text(64)] | None = None
    variant_key: Annotated[str, text(64)] | None = None
    hostname: Annotated[str, text(253)] | None = None
    last_heartbeat: Time | None = None
    action: Word | None = None
    reason: CamelCase | None = None


class Orphans(Model):
    """All of them, the first 20 in detail."""

    total: Count = 0
    items: Annotated[tuple[OrphanedJob, ...], first_of(20)] = ()


class ProfileStatus(Model):
    """What the operator found and did."""

    observed_generation: Generation | None = None
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = ()
    mode: EffectivePolicies | None = None
    last_check_time: Time | None = None
    last_handled_reconcile_at: Annotated[str, clipped(256)] | None = None
    """Cut to 256 characters: compare it with the annotation cut alike (`clip`)."""
    server: Annotated[str, text(32)] | None = None
    content: Annotated[str, text(32)] | None = None
    node_pools: Annotated[tuple[NodePoolStatus, ...], Field(max_length=10)] = ()
    release: ReleaseStatus | None = None
    attempt: Attempt | None = None
    plan: Annotated[tuple[PlannedAction, ...], first_of(32)] = ()
    plan_digest: Digest | None = None
    drift: DriftStatus | None = None
    heals: Heals | None = None
    checks: Annotated[tuple[Check, ...], first_of(32)] = ()
    limitations: Annotated[tuple[Limitation, ...], first_of(32)] = ()
    foreign_pods: Annotated[tuple[ForeignPod, ...], first_of(20)] = ()
    orphans: Orphans | None = None

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type, None if it is absent."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def dump(self) -> dict[str, Any]:
        """Return the status as it is written: names of the API, plain JSON values, nothing absent or empty."""
        whole = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {name: value for name, value in whole.items() if value != []}

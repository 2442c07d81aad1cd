"""Condition types, their reasons, and the rules for merging them into a status.

The rules are the Kubernetes API conventions and fluxcd/pkg ``runtime/conditions``: a condition always carries
``observedGeneration``; ``lastTransitionTime`` moves only when ``status`` moves; abnormal-true conditions
(Reconciling, Stalled, Suspended, Fighting) are absent unless True.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Self

from connect_autoscaler.api.status import Condition


class ConditionType(StrEnum):
    """Condition types of a profile."""

    READY = "Ready"
    NODE_POOLS_READY = "NodePoolsReady"
    RELEASE_CONFIGURED = "ReleaseConfigured"
    PLACEMENT_VERIFIED = "PlacementVerified"
    DRIFTED = "Drifted"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    FIGHTING = "Fighting"


class Reason(StrEnum):
    """Every reason that a condition, a drift item or a planned action can carry; `explain` tells what to do."""

    explain: str

    def __new__(cls, value: str, explain: str) -> Self:
        """Attach the explanation to the member."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.explain = explain
        return member

    # Ready, NodePoolsReady
    IN_SYNC = "InSync", "Everything the profile asks for is in place."
    ALL_READY = "AllReady", "Karpenter reports every NodePool of the profile Ready."
    PROGRESSING = "Progressing", "The operator is working on the current generation; nothing to do."
    GUARANTEE_BROKEN = (
        "GuaranteeBroken",
        "A field that protects the Connect server differs and is not being corrected; see status.drift.items.",
    )
    NOT_READY = "NotReady", "Karpenter reports a NodePool not Ready; its conditions say why."
    NODE_CLASS_NOT_FOUND = (
        "NodeClassNotFound",
        "The NodeClass named by nodeClassRef does not exist; create it, or correct the name. Picked up by itself.",
    )
    NODE_CLASS_NOT_READY = "NodeClassNotReady", "The NodeClass exists but is not Ready; its own conditions say why."
    NOT_PICKED_UP = (
        "NotPickedUp",
        "No Karpenter reacted to a NodePool: none is running, or none serves the group and kind of nodeClassRef.",
    )
    KARPENTER_NOT_INSTALLED = (
        "KarpenterNotInstalled",
        "The NodePool CRD nodepools.karpenter.sh does not exist; install Karpenter. Picked up by itself.",
    )
    UNSUPPORTED_KARPENTER = (
        "UnsupportedKarpenter",
        "The NodePool CRD is older than Karpenter 1.13; upgrade it.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "A NodePool of that name exists and is not the profile's; rename the pool, delete it, or set spec.takeOver.",
    )
    GIT_OWNED = (
        "GitOwned",
        "Argo CD, Flux or Helm could prune the NodePool; add the annotation that the message names, then take it over.",
    )
    POOL_MISSING = "PoolMissing", "A NodePool does not exist and is not created (External, Plan, Warn or Ignore)."
    POOL_CLAIMED_TWICE = (
        "PoolClaimedTwice",
        "Another profile holds a NodePool of the same name; give one of them another pool name.",
    )
    PLACEMENT_CLAIMED_TWICE = (
        "PlacementClaimedTwice",
        "Another profile uses the same placement label and value; give one of them other values.",
    )
    INVALID = "Invalid", "The API server or Karpenter refused a NodePool; the message names the field to correct."
    UNSATISFIABLE = "Unsatisfiable", "Requirements of a pool contradict each other; no node can ever satisfy them."
    PLAN_MODE = "PlanMode", "spec.mode is Plan: what would be done is in status.plan; set Enforce to have it done."
    RELEASE_NOT_SUPPORTED = (
        "ReleaseNotSupported",
        "This version manages NodePools only; set driftPolicy.release: Ignore to say that you know.",
    )

    # The API server
    FORBIDDEN = "Forbidden", "The operator's ServiceAccount may not do this; grant the right that the message names."
    UNAUTHORIZED = "Unauthorized", "The API server did not accept the operator's credentials; retried."
    ADMISSION_DENIED = "AdmissionDenied", "An admission policy or webhook refused the write; the message is its own."
    CONFLICT = "Conflict", "The object changed between reading and writing; retried at once."
    THROTTLED = "Throttled", "The API server asked to slow down (429); retried when it said."
    API_UNAVAILABLE = "ApiUnavailable", "The API server failed or did not answer in time; retried with back-off."
    INTERNAL_ERROR = "InternalError", "A fault of the operator itself; its log has the details. Please report it."

    # Drifted, drift items
    DRIFT_DETECTED = "DriftDetected", "Live objects differ from the profile; see status.drift.items."
    NO_DRIFT_DETECTED = "NoDriftDetected", "Live objects are as the profile asks."
    CHECK_FAILED = "CheckFailed", "The comparison could not be made; another condition says why."
    POLICY = "Policy", "driftPolicy says to report this difference, not to correct it."
    IGNORED = "Ignored", "driftPolicy.ignore matches this difference."
    EXTERNAL = "External", "The pool is External: it is checked and never written."

    # Reconciling, gates
    WAITING_FOR_NODE_POOLS = (
        "WaitingForNodePools",
        "The NodePools are written; Karpenter has not judged them yet.",
    )
    DEFERRED = "Deferred", "Planned, and waiting for its gate; status.plan says for what, approval always works."
    OUTSIDE_WINDOW = "OutsideWindow", "Waits for the next of disruptions.windows, or for approval."
    NODES_IN_USE = "NodesInUse", "Would replace nodes that exist; waits until they are gone, or for approval."
    AWAITING_APPROVAL = "AwaitingApproval", "Waits for annotation connect-autoscaler.io/approve: <status.planDigest>."
    DAILY_LIMIT = "DailyLimit", "disruptions.maxCorrectionsPerDay is reached; continues tomorrow, or by approval."

    # Stalled, Suspended, Fighting
    IMMUTABLE_FIELD = (
        "ImmutableField",
        "The change needs an immutable NodePool field; delete the pool first.",
    )
    SUSPEND_REQUESTED = "SuspendRequested", "spec.suspend is true: nothing is written but status."
    FIGHT_DETECTED = "FightDetected", "Somebody reverts corrections; they go on once a minute. Stop the one it names."


def merge(
    previous: Iterable[Condition], wanted: Iterable[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Give the wanted conditions their times: a status that did not move keeps the time of its last transition.

    Args:
        previous: Conditions of the status at hand.
        wanted: Conditions of this pass; those not wanted any more are dropped.
        generation: Generation of the profile that the pass looked at.
        now: Time of the pass.

    Returns:
        The conditions in the order of `ConditionType`.
    """
    before = {c.type: c for c in previous}
    order = {t: i for i, t in enumerate(ConditionType)}

    def timed(condition: Condition) -> Condition:
        old = before.get(condition.type)
        since = old.last_transition_time if old and old.status == condition.status else now
        return condition.model_copy(update={"last_transition_time": since, "observed_generation": generation})

    return tuple(sorted(map(timed, wanted), key=lambda c: order[ConditionType(c.type)]))

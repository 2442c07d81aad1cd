"""Condition types, their reasons, and the rules for merging them into a status.

The rules are the Kubernetes API conventions and fluxcd/pkg ``runtime/conditions``: a condition always carries
``observedGeneration``; ``lastTransitionTime`` moves only when ``status`` moves; abnormal-true conditions
(Reconciling, Stalled, Suspended, Fighting) are absent unless True.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from connect_autoscaler.api.explained import Explained
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


class Reason(Explained):
    """Every reason that a condition, a drift item or a planned action can carry; `explain` tells what to do."""

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
    # ReleaseConfigured: what the release is
    OVERLAY_APPLIED = "OverlayApplied", "The release carries the overlay, and what runs is what it asks for."
    OVERLAY_MISSING = "OverlayMissing", "Values of the overlay are not in the release; see status.drift.items and plan."
    OVERLAY_INEFFECTIVE = (
        "OverlayIneffective",
        "The release has the values, but its rendered objects do not show them: this chart ignores or renames keys.",
    )
    OVERLAY_SHADOWED = (
        "OverlayShadowed",
        "Other values of the release's owner override the overlay; the message says which.",
    )
    OVERLAY_EXPORTED = (
        "OverlayExported",
        "The merged overlay is in a ConfigMap; add the line that the message gives to the release's own source.",
    )
    RELEASE_NOT_FOUND = "ReleaseNotFound", "The Helm release does not exist; install it. Picked up by itself."
    RELEASE_CLAIMED_TWICE = (
        "ReleaseClaimedTwice",
        "Another profile manages the same release; remove release from one of the two.",
    )
    UNSUPPORTED_STORAGE = (
        "UnsupportedStorage",
        "Helm keeps this release elsewhere than in Secrets (HELM_DRIVER), where the operator cannot read it.",
    )
    PENDING_RELEASE = (
        "PendingRelease",
        "Another Helm operation holds the release; waits for its end. One that died is undone with helm rollback.",
    )
    RELEASE_NOT_DEPLOYED = (
        "ReleaseNotDeployed",
        "No revision of the release was ever deployed; make the installation work.",
    )
    OWNER_AMBIGUOUS = "OwnerAmbiguous", "Several tools seem to own the release; say which one in spec.release.manager."
    NAMESPACE_NOT_SERVED = (
        "NamespaceNotServed",
        "The release's namespace is not among the operator's --release-namespaces.",
    )
    SERVICE_ACCOUNT_REQUIRED = (
        "ServiceAccountRequired",
        "The operator runs with --require-service-account: set spec.release.serviceAccountName.",
    )

    # ReleaseConfigured: what makes the overlay impossible
    UNSUPPORTED_CHART = (
        "UnsupportedChart",
        "The chart is not rstudio-connect, or older than 0.9.0; upgrade the release.",
    )
    UNSUPPORTED_CONNECT = (
        "UnsupportedConnect",
        "Connect is older than 2026.04.0, which off-host execution needs; upgrade it.",
    )
    VERSION_UNKNOWN = (
        "VersionUnknown",
        "Connect's version cannot be read from image.tag, versionOverride or the chart; set versionOverride.",
    )
    LAUNCHER_ENABLED = (
        "LauncherEnabled",
        "launcher.enabled is true; move to backends.kubernetes first, as Posit's documentation describes.",
    )
    LOCAL_EXECUTION = (
        "LocalExecution",
        "backends.kubernetes.enabled is false: content runs in the server's pod, nothing can be placed.",
    )
    STORAGE_MISSING = (
        "StorageMissing",
        "Off-host execution needs sharedStorage.create, sharedStorage.mount or config.Kubernetes.DataDirPVCName.",
    )
    STORAGE_NOT_SHARED = (
        "StorageNotShared",
        "The data volume is ReadWriteOnce: a rolling restart on another node would wait for ever. Use ReadWriteMany.",
    )
    NODE_SELECTOR_CONFLICT = (
        "NodeSelectorConflict",
        "The release selects nodes by the same label with another value; remove it, or change spec.placement.",
    )
    AFFINITY_CONFLICT = (
        "AffinityConflict",
        "Node selection of the release excludes the nodes of the pool; the message names the term.",
    )
    INVALID_VALUES = (
        "InvalidValues",
        "A value of the release has a form that the chart does not understand; correct it.",
    )
    JOB_BASE_INVALID = "JobBaseInvalid", "backends.kubernetes.defaultResourceJobBase is no Job; correct it."

    # ReleaseConfigured: what stops an upgrade
    CHART_UNAVAILABLE = (
        "ChartUnavailable",
        "The chart at the installed version could not be fetched from its source; retried.",
    )
    CHART_INCOMPLETE = "ChartIncomplete", "The chart lacks a dependency in charts/; run helm dependency build on it."
    CHART_NOT_ALLOWED = (
        "ChartNotAllowed",
        "The chart's source is not among the operator's --chart-sources, or it has hooks or resource definitions.",
    )
    CHART_MISMATCH = (
        "ChartMismatch",
        "The chart at hand does not render the installed release from its own values; nothing is written.",
    )
    RENDER_FAILED = "RenderFailed", "The chart refuses to render the merged values; the message is the chart's."
    HELM_NOT_FOUND = "HelmNotFound", "The helm 4 binary is not there; put it on the operator's PATH or set --helm."
    HELM_FAILED = "HelmFailed", "Helm failed in a way the operator does not know; its log has the redacted message."
    OWNERSHIP_CONFLICT = "OwnershipConflict", "An object of the chart belongs to another release or tool."
    MUTATED_BY_ADMISSION = (
        "MutatedByAdmission",
        "An admission policy or webhook changes what Helm applies; exempt the Connect Deployment from it.",
    )
    ROLLED_BACK = (
        "RolledBack",
        "The upgrade failed and was rolled back; tried again when something changes, or on request.",
    )
    ROLLBACK_FAILED = (
        "RollbackFailed",
        "The upgrade failed, and its rollback too; look at helm history and helm status.",
    )
    TIMEOUT = "Timeout", "The servers did not become ready within spec.release.timeout."
    CANCELLED = "Cancelled", "The upgrade was interrupted; it is started again by itself."

    # The release's gates and plan
    ANNOUNCED = "Announced", "The plan is being written to status before it starts."
    CONTENT_RUNNING = (
        "ContentRunning",
        "Waits until content ends that a restart of the server would orphan, or for approval.",
    )
    WAITING_FOR_ROLLOUT = "WaitingForRollout", "The release is written; its servers are being rolled out."
    USER_VALUE = "UserValue", "The release has a value of its own there, and it stays."

    CONNECT_API = "ConnectApi", "The Connect API gives no answer that can be used; the message says why. Asked again."

    # PlacementVerified
    PODS_ON_SERVER_POOL = "PodsOnServerPool", "Every server runs on the server pool, protected; see status.checks."
    PODS_MISPLACED = "PodsMisplaced", "A server or content pod runs elsewhere than on its pool; see status.checks."
    ANNOTATION_MISSING = "AnnotationMissing", "A server pod lacks karpenter.sh/do-not-disrupt; see status.checks."
    NODES_AT_RISK = "NodesAtRisk", "A node under a server is going, or will; see status.checks."
    CONTENT_NODES_IDLE = "ContentNodesIdle", "Idle content nodes do not go; status.checks names what holds them."
    NO_PODS = "NoPods", "There is no server pod to check."

    # The API server
    FORBIDDEN = "Forbidden", "The operator's ServiceAccount may not do this; grant the right that the message names."
    UNAUTHORIZED = "Unauthorized", "The API server did not accept the operator's credentials; retried."
    ADMISSION_DENIED = "AdmissionDenied", "An admission policy or webhook refused the write; the message is its own."
    CONFLICT = (
        "Conflict",
        "Another write is in the way: the object changed meanwhile (retried), or another manager owns the field named.",
    )
    THROTTLED = "Throttled", "The API server asked to slow down (429); retried when it said."
    API_UNAVAILABLE = "ApiUnavailable", "The API server failed or did not answer in time; retried with back-off."
    INTERNAL_ERROR = "InternalError", "A fault of the operator itself; its log has the details. Please report it."

    # Drifted, drift items
    DRIFT_DETECTED = "DriftDetected", "Live objects differ from the profile; see status.drift.items."
    NO_DRIFT_DETECTED = "NoDriftDetected", "Live objects are as the profile asks."
    CHECK_FAILED = "CheckFailed", "The comparison could not be made; another condition says why."
    POLICY = "Policy", "driftPolicy has this difference reported, not corrected; a release is corrected on approval."
    IGNORED = "Ignored", "driftPolicy.ignore matches this difference."
    EXTERNAL = "External", "The pool is External: it is checked and never written."

    # Reconciling, gates
    WAITING_FOR_NODE_POOLS = (
        "WaitingForNodePools",
        "Not every NodePool is Ready yet; NodePoolsReady says which, and why.",
    )
    DEFERRED = "Deferred", "Planned, and waiting for its gate; status.plan says for what, approval always works."
    OUTSIDE_WINDOW = "OutsideWindow", "Waits for the next of disruptions.windows, or for approval."
    NODES_IN_USE = "NodesInUse", "Waits until the nodes are gone that it would replace, or for approval."
    AWAITING_APPROVAL = "AwaitingApproval", "Waits for annotation connect-autoscaler.io/approve: <status.planDigest>."
    DAILY_LIMIT = "DailyLimit", "Waits until disruptions.maxCorrectionsPerDay allows another one, or for approval."

    # Stalled, Suspended, Fighting
    IMMUTABLE_FIELD = (
        "ImmutableField",
        "The change needs a field that is immutable; delete the object that the message names first.",
    )
    SUSPEND_REQUESTED = "SuspendRequested", "spec.suspend is true: nothing is written but status; set false to go on."
    FIGHT_DETECTED = (
        "FightDetected",
        "Somebody reverts corrections; NodePools are corrected once a minute, a release after a day or on approval.",
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a step cannot go on."""

    reason: Reason
    message: str
    stalled: bool = True
    """Whether only the user can end it (condition Stalled); else the operator looks again by itself."""


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

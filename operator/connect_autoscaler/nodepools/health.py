"""What Karpenter says of a NodePool, in our words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import ANNOTATION_NODEPOOL_HASH
from connect_autoscaler.api.status import ConditionStatus
from connect_autoscaler.nodepools.paths import TEMPLATE, get

PICKED_UP_WITHIN: Final = timedelta(seconds=60)
"""Karpenter reacts within seconds; a pool without any condition after this time has no Karpenter."""


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict on one pool."""

    ready: ConditionStatus
    reason: Reason
    message: str
    current: bool = True
    """Whether Karpenter has looked at the pool's present generation."""


def health(live: Mapping[str, Any], now: datetime) -> Health:
    """Judge a live NodePool by Karpenter's own conditions (``pkg/apis/v1/nodepool_status.go``)."""
    name = live["metadata"]["name"]
    conditions = {c["type"]: c for c in live.get("status", {}).get("conditions", ())}
    if not conditions:
        if ANNOTATION_NODEPOOL_HASH in live["metadata"].get("annotations", {}) or now < picked_up_by(live):
            return Health(
                ConditionStatus.UNKNOWN,
                Reason.PROGRESSING,
                f"Karpenter has not looked at NodePool {name} yet",
                current=False,
            )
        ref = get(live, (*TEMPLATE, "spec", "nodeClassRef")) or {}
        served = f"{ref.get('kind')}.{ref.get('group')}"
        return Health(
            ConditionStatus.FALSE,
            Reason.NOT_PICKED_UP,
            f"No Karpenter picked up NodePool {name}: none is running, or none serves {served}",
        )
    ready = conditions.get("Ready", {"status": "Unknown"})
    current = ready.get("observedGeneration", live["metadata"]["generation"]) >= live["metadata"]["generation"]
    if ready["status"] == ConditionStatus.TRUE:
        return Health(ConditionStatus.TRUE, Reason.ALL_READY, f"NodePool {name} is Ready", current)
    for kind, reason in (("ValidationSucceeded", Reason.INVALID), ("NodeClassReady", Reason.NODE_CLASS_NOT_READY)):
        condition = conditions.get(kind)
        if condition and condition["status"] == ConditionStatus.FALSE:
            missing = condition.get("reason") == "NodeClassNotFound"
            text = condition.get("message") or condition.get("reason", "")
            return Health(
                ConditionStatus.FALSE,
                Reason.NODE_CLASS_NOT_FOUND if missing else reason,
                f"NodePool {name}: {text}",
                current,
            )
    if ready["status"] == ConditionStatus.FALSE:
        return Health(
            ConditionStatus.FALSE,
            Reason.NOT_READY,
            f"NodePool {name}: {ready.get('message') or ready.get('reason')}",
            current,
        )
    return Health(
        ConditionStatus.UNKNOWN, Reason.PROGRESSING, f"Karpenter has not judged NodePool {name} yet", current=False
    )


def picked_up_by(live: Mapping[str, Any]) -> datetime:
    """When a pool that shows no condition counts as not picked up."""
    return datetime.fromisoformat(live["metadata"]["creationTimestamp"]) + PICKED_UP_WITHIN

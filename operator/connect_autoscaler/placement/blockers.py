"""What keeps idle content nodes: named, so that somebody can end it. Pure.

Source: Karpenter ``pkg/controllers/disruption``: a node is no candidate with a do-not-disrupt pod, a pod that no other
node can take, a blocking PodDisruptionBudget, a node-level annotation, or a budget of zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connect_autoscaler.nodepools.budgets import zero
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.placement.scene import Guest, Scene
from connect_autoscaler.release.overlay import DO_NOT_DISRUPT
from connect_autoscaler.release.values import get


def blockers(scene: Scene, claims: Sequence[NodeClaim]) -> tuple[str, ...]:
    """Name them, most certain first; never nothing."""
    found = tuple(_blockers(scene, claims))
    if found:
        return found
    if scene.survey is None or not scene.survey.complete:
        return ("what holds them cannot be seen: grant list on pods",)
    return ("nothing on them holds them; look at Karpenter's own events: kubectl describe nodeclaim",)


def _blockers(scene: Scene, claims: Sequence[NodeClaim]) -> Iterator[str]:
    nodes = {claim.node for claim in claims}
    for pool in scene.content_pools:
        if why := _forbids(pool):
            yield f"NodePool {pool['metadata']['name']} {why}"
    for claim in claims:
        if DO_NOT_DISRUPT in claim.annotations:
            yield f"NodeClaim {claim.name} carries {DO_NOT_DISRUPT}"
    for guest in scene.foreign:
        if guest.node in nodes:
            yield _why(guest, scene)


def _forbids(pool: Mapping[str, Any]) -> str | None:
    if get(pool, ("spec", "disruption", "consolidateAfter")) == "Never":
        return "never consolidates (consolidateAfter: Never)"
    for budget in get(pool, ("spec", "disruption", "budgets")) or ():
        if zero(budget, "Empty"):
            when = f" during {budget['schedule']}" if "schedule" in budget else ""
            return f"has a budget of 0 for empty nodes{when}"
    return None


def _why(guest: Guest, scene: Scene) -> str:
    name = f"pod {guest.namespace}/{guest.name} on {guest.node}"
    if guest.protected:
        return f"{name} carries {DO_NOT_DISRUPT}"
    budgets = scene.survey.budgets if scene.survey else ()
    if any(_covered(guest, budget) for budget in budgets):
        return f"{name} is held by a PodDisruptionBudget"
    return f"{name} is not Connect's; give it a nodeSelector for other nodes"


def _covered(guest: Guest, budget: Mapping[str, Any]) -> bool:
    selector = get(budget, ("spec", "selector", "matchLabels")) or {}
    blocked = get(budget, ("status", "disruptionsAllowed")) == 0
    same = budget["metadata"]["namespace"] == guest.namespace
    return same and blocked and bool(selector) and selector.items() <= guest.labels.items()

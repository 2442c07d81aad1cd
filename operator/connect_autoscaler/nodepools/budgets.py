"""What a NodePool's disruption budgets forbid for good.

Source: Karpenter ``pkg/apis/v1/nodepool.go``, ``GetAllowedDisruptionsByReason``: the smallest budget counts; absent
reasons are all of them, an empty list is none.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def zero(budget: Mapping[str, Any], reason: str) -> bool:
    """Whether a budget lets no node be disrupted for a reason, at least while its schedule holds."""
    return str(budget.get("nodes")) in {"0", "0%"} and reason in budget.get("reasons", [reason])


def always_zero(budgets: Iterable[Mapping[str, Any]] | None, reason: str) -> bool:
    """Whether Karpenter disrupts no node for a reason at any time."""
    return any("schedule" not in budget and zero(budget, reason) for budget in budgets or ())

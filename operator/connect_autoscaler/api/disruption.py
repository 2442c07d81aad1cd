"""When nodes of a pool may go: consolidation, budgets, age. The rules and their messages are those of the CRD."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from connect_autoscaler.api.fields import (
    ZERO,
    BudgetDuration,
    Cron,
    DurationOrNever,
    Model,
    NodeCount,
    require,
    unique,
    within,
)


class ConsolidationPolicy(StrEnum):
    """Which nodes Karpenter may remove of its own accord."""

    WHEN_EMPTY = "WhenEmpty"
    WHEN_EMPTY_OR_UNDERUTILIZED = "WhenEmptyOrUnderutilized"
    BALANCED = "Balanced"


class DisruptionReason(StrEnum):
    """What a budget may limit."""

    UNDERUTILIZED = "Underutilized"
    EMPTY = "Empty"
    DRIFTED = "Drifted"
    UNHEALTHY = "Unhealthy"


class Budget(Model):
    """How many nodes Karpenter may disrupt at once, for which reasons and when."""

    nodes: NodeCount
    reasons: (
        Annotated[
            tuple[DisruptionReason, ...],
            Field(min_length=1, max_length=4),
            unique(str, "must not contain the same reason twice"),
        ]
        | None
    ) = None
    schedule: Cron | None = None
    duration: BudgetDuration | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            (self.schedule is None) == (self.duration is None),
            "schedule must be set together with duration, or neither of them",
        )
        return self

    def forbids(self, reason: DisruptionReason) -> bool:
        """Return whether the budget allows no node at any time for this reason."""
        nothing = not self.nodes.rstrip("%").strip("0")
        return nothing and self.schedule is None and (self.reasons is None or reason in self.reasons)


def _some_budgets(budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
    require(
        budgets,
        "must have at least one budget (Karpenter reads an empty list as no limit at all); "
        "leave the field out for the built-in budgets",
    )
    return budgets


class Disruption(Model):
    """When Karpenter may remove nodes of the pool of its own accord."""

    consolidation_policy: ConsolidationPolicy = ConsolidationPolicy.WHEN_EMPTY_OR_UNDERUTILIZED
    consolidate_after: DurationOrNever = "30s"
    budgets: Annotated[tuple[Budget, ...], Field(max_length=50), AfterValidator(_some_budgets)] | None = None
    """None means the built-in ones."""


class ServerDisruption(Disruption):
    """The same for the server pool, which keeps servers where they are."""

    consolidation_policy: ConsolidationPolicy = ConsolidationPolicy.WHEN_EMPTY
    consolidate_after: DurationOrNever = "1h"

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.consolidation_policy is ConsolidationPolicy.WHEN_EMPTY,
            "must be WhenEmpty on the server pool: every other policy lets Karpenter move running servers",
        )
        require(
            self.budgets is None
            or all(
                any(budget.forbids(reason) for budget in self.budgets)
                for reason in (DisruptionReason.UNDERUTILIZED, DisruptionReason.DRIFTED)
            ),
            'must keep an always-on budget of "0" nodes (without a schedule) for the reasons Underutilized and Drifted',
        )
        return self


Lifetime = Annotated[
    DurationOrNever,
    within(
        "must be Never or a duration longer than zero such as 720h "
        "(at zero Karpenter deletes every node as soon as it is created)",
        above=ZERO,
    ),
]

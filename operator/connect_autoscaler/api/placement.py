"""Where servers and content run and how they spread. The rules and their messages are those of the CRD."""

import re
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from connect_autoscaler.api.fields import (
    ZERO,
    DurationOrTrue,
    LabelKey,
    Model,
    NonEmptyLabelValue,
    integer,
    require,
    unique,
    within,
)

_RESERVED_LABEL: Final = re.compile(
    r"([^/]+\.)?karpenter\.sh/|"
    r"(kubernetes|node\.kubernetes|topology\.kubernetes|beta\.kubernetes|failure-domain\.beta\.kubernetes)\.io/"
)


class WhenUnsatisfiable(StrEnum):
    """Whether a spread is preferred or demanded."""

    SCHEDULE_ANYWAY = "ScheduleAnyway"
    DO_NOT_SCHEDULE = "DoNotSchedule"


def _own_label(key: str) -> str:
    require(
        not _RESERVED_LABEL.match(key),
        "must be a label of your own, such as workload or example.com/workload: "
        "the domains karpenter.sh, kubernetes.io, node.kubernetes.io and topology.kubernetes.io are reserved",
    )
    return key


class Placement(Model):
    """The node label that keeps servers and content apart; its key is the key of the server pool's taint too."""

    label_key: Annotated[LabelKey, AfterValidator(_own_label)] = "workload"
    server: NonEmptyLabelValue = "connect-server"
    content: NonEmptyLabelValue = "connect-content"

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.server != self.content, "server and content must have different values")
        return self


class SpreadConstraint(Model):
    """A topology spread constraint without its selector."""

    max_skew: Annotated[int, integer(1, 1000)]
    topology_key: LabelKey
    when_unsatisfiable: WhenUnsatisfiable


TopologySpread = Annotated[
    tuple[SpreadConstraint, ...],
    Field(max_length=8),
    unique(
        lambda spread: (spread.topology_key, spread.when_unsatisfiable),
        "must not contain the same topologyKey and whenUnsatisfiable twice",
    ),
]


class Server(Model):
    """How the Connect servers are placed."""

    topology_spread: TopologySpread = ()


class Content(Model):
    """How content jobs are placed and protected."""

    rendered_do_not_disrupt: Annotated[
        DurationOrTrue,
        within('must be "true" (quoted) or a duration longer than zero such as 4h', above=ZERO),
    ] = "true"
    topology_spread: TopologySpread | None = None
    """None means the built-in one, an empty tuple means none."""

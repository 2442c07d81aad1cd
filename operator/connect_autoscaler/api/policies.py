"""What the operator may do, and when. The rules and their messages are those of the CRD."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from connect_autoscaler.api.fields import (
    ZERO,
    Cron,
    DnsName,
    Duration,
    JsonPointer,
    Model,
    TimeZone,
    integer,
    require,
    text,
    unique,
    within,
)
from connect_autoscaler.api.pointers import covers


class Mode(StrEnum):
    """Whether the operator writes NodePools and the release."""

    ENFORCE = "Enforce"
    PLAN = "Plan"


class When(StrEnum):
    """When actions that restart a server or replace a node may run."""

    IMMEDIATELY = "Immediately"
    WHEN_IDLE = "WhenIdle"
    ON_APPROVAL = "OnApproval"


class Policy(StrEnum):
    """What happens to a difference."""

    IGNORE = "Ignore"
    WARN = "Warn"
    CORRECT = "Correct"


class TakeOver(StrEnum):
    """What happens to a NodePool that is there already."""

    NEVER = "Never"
    IF_NO_DIFF = "IfNoDiff"
    ALWAYS = "Always"


class PoolDeletion(StrEnum):
    """What happens to NodePools when the profile is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ReleaseDeletion(StrEnum):
    """What happens to the release's values when the profile is deleted."""

    KEEP = "Keep"
    RESTORE = "Restore"


class OrphanPolicy(StrEnum):
    """What happens to content jobs that lost their server."""

    REPORT = "Report"
    RERUN = "Rerun"


class TargetKind(StrEnum):
    """What an exception from drift is for."""

    NODE_POOL = "NodePool"
    RELEASE = "Release"


class Window(Model):
    """A maintenance window."""

    schedule: Cron
    duration: Annotated[
        Duration,
        within(
            "must be a duration longer than zero and at most 168h, such as 4h", above=ZERO, most=timedelta(hours=168)
        ),
    ]
    time_zone: TimeZone = "Etc/UTC"


class Disruptions(Model):
    """The gate of every action that restarts a server or replaces a node."""

    when: When = When.WHEN_IDLE
    windows: Annotated[tuple[Window, ...], Field(max_length=32)] = ()
    max_corrections_per_day: Annotated[int, integer(0, 100)] = 2


class IgnoreTarget(Model):
    """What an exception is for; without a name, every object of the kind."""

    kind: TargetKind
    name: DnsName | None = None


class IgnoreRule(Model):
    """Differences that are neither reported as drift nor corrected; what is None matches everything."""

    target: IgnoreTarget | None = None
    paths: (
        Annotated[
            tuple[JsonPointer, ...],
            Field(min_length=1, max_length=32),
            unique(str, "must not contain the same path twice"),
        ]
        | None
    ) = None
    managers: (
        Annotated[
            tuple[Annotated[str, text(128)], ...],
            Field(min_length=1, max_length=16),
            unique(str, "must not contain the same manager twice"),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.paths or self.managers, "must have paths or managers, or both")
        return self

    def matches(self, kind: TargetKind, name: str | None, where: str, manager: str | None) -> bool:
        """Whether a difference is one of these.

        Args:
            kind: Of the object.
            name: Of the object.
            where: JSON pointer, as status shows it.
            manager: Who made it; None: nobody can be named, so that only rules without managers match.
        """
        target = self.target
        return (
            (target is None or (target.kind is kind and target.name in (None, name)))
            and (not self.paths or any(covers(path, where) for path in self.paths))
            and (not self.managers or manager in self.managers)
        )


class DriftPolicy(Model):
    """What happens when somebody else changes what the operator wrote."""

    node_pools: Policy = Policy.CORRECT
    release: Policy = Policy.WARN
    ignore: Annotated[tuple[IgnoreRule, ...], Field(max_length=32)] = ()


class DeletionPolicy(Model):
    """What is left when the profile is deleted."""

    node_pools: PoolDeletion = PoolDeletion.RETAIN
    release: ReleaseDeletion = ReleaseDeletion.KEEP


class ConnectApi(Model):
    """Access to the API of Connect."""

    secret_name: DnsName


class Recovery(Model):
    """What happens to content jobs that lost their server."""

    orphaned_jobs: OrphanPolicy = OrphanPolicy.REPORT
    max_per_hour: Annotated[int, integer(1, 1000)] = 10

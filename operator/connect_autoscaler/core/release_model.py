"""What a pass sees of a Helm release: everything that decisions depend on, and no secret."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.spec import ReleaseManager
from connect_autoscaler.api.status import DriftStatus
from connect_autoscaler.jobs.quiescence import Quiescence
from connect_autoscaler.jobs.recovery import Decision
from connect_autoscaler.nodepools.managers import Author
from connect_autoscaler.release.facts import Facts
from connect_autoscaler.release.history import Entries
from connect_autoscaler.release.merge import Change
from connect_autoscaler.release.pods import Pod
from connect_autoscaler.release.values import Json


class Phase(StrEnum):
    """What long work is doing; shown in ``status.attempt.phase``."""

    PREPARING = "Preparing"
    WAITING = "Waiting"
    UPGRADING = "Upgrading"
    UNLOCKING = "Unlocking"
    SETTLING = "Settling"


@dataclass(frozen=True, slots=True)
class Work:
    """Long work in flight."""

    id: str
    phase: Phase
    started: datetime
    again: bool = False
    """Whether it only repeats a proof that status tells of already."""

    @property
    def writes(self) -> bool:
        """Whether helm may be at work on the release, or its work is being judged."""
        return self.phase not in {Phase.PREPARING, Phase.WAITING}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the proof and the dry run of an upgrade gave."""

    key: str
    """What it was made for: revision, overlay, profile."""
    problem: Problem | None = None
    restarts: bool = False
    """Whether the pods of the server are replaced."""
    until: datetime | None = None
    """When it is worth another look; None: as long as the key holds."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why long work came to nothing, though the release had no part in it."""

    problem: Problem
    until: datetime
    """When it is begun again."""


OWN_REVISIONS: Final = 3
"""Revisions that an upgrade may have made: itself, helm's way back, and ours if that was interrupted."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """The last upgrade that was begun, as far as it is judged."""

    id: str
    base: int
    started: datetime
    cause: str
    finished: bool
    reason: Reason | None
    message: str
    orphaned: bool
    """Not finished, and its process is gone for certain."""
    interrupted: int = 0
    """How many before it, for the same cause, were interrupted one after the other."""
    corrects: str | None = None
    """Whose change it undoes; None: it follows a change of the profile."""


@dataclass(frozen=True, slots=True)
class LiveChange:
    """A difference in a live object, and who made it."""

    target: str
    change: Change
    author: Author
    guards: bool
    """Whether it protects the server."""
    mutated: bool = False
    """Whether Helm itself owns the field: an admission policy changed what it applied."""


@dataclass(frozen=True)
class ReleaseView:
    """A release as a pass sees it."""

    namespace: str
    name: str
    problem: Problem | None = None
    """Why nothing more is known, or nothing may be done."""
    marks: tuple[Json, ...] = ()
    """Metadata of the Secrets in which profiles remember releases of the namespace; looked up if two claim this one."""
    manager: ReleaseManager | None = None
    entries: Entries | None = None
    facts: Facts | None = None
    applied: bool = False
    """Whether what is wanted was applied before, so that a difference is drift and no change of the profile."""
    taken_over: bool = False
    """Whether anything is remembered that could be given back."""
    key: str = ""
    """Names what is wanted on which revision; see `Prepared.key`."""
    cause: str = ""
    """Names what is wanted on which values; see `Attempted.cause`."""
    attempted: Attempted | None = None
    live: tuple[LiveChange, ...] = ()
    rolled_out: bool = True
    server_pods: tuple[Pod, ...] = ()
    content: tuple[Pod, ...] = ()
    deployment: Json = field(default_factory=dict, repr=False)
    """The live Deployment of the servers; empty: there is none."""
    since: datetime | None = None
    """When servers with the overlay came up; None: none runs with it."""
    selects: bool = False
    """Whether the live servers can run on the server pool's nodes only."""
    busy: tuple[str, ...] = ()
    """Content pods that a restart may orphan."""
    work: Work | None = None
    prepared: Prepared | None = None
    obstacle: Obstacle | None = None
    corrections: tuple[tuple[datetime, str], ...] = ()
    """Corrections of the last 24 hours, and whose change each undid."""
    export: Json | None = None
    """The ConfigMap in which the overlay is to be published; None: the operator upgrades the release itself."""
    published: bool = False
    """Whether there is such a ConfigMap already, in whatever state."""
    exported: bool = False
    """Whether it is published so."""
    advice: str = ""
    """What the owner of the release has to do that it takes effect."""
    shadowed: tuple[str, ...] = ()
    """Values of the overlay that the owner's own override."""

    @property
    def target(self) -> str:
        """The release, as plan and drift name it."""
        return f"Release/{self.namespace}/{self.name}"

    @property
    def unfinished(self) -> bool:
        """Whether a correction that is to be made again has left a failed revision, though what is live is right."""
        tried, last = self.attempted, self.entries.last if self.entries else None
        if tried is None or last is None or not (tried.corrects and tried.finished):
            return False
        return tried.reason is Reason.CANCELLED and last.failed and 0 < last.number - tried.base <= OWN_REVISIONS

    def told(self, known: DriftStatus | None) -> tuple[LiveChange, ...]:
        """Differences of live objects; no new ones while helm changes them, since each watch tells in its own time.

        Args:
            known: Drift as status has it.
        """
        if self.work is None or not self.work.writes:
            return self.live
        before = {(item.target, item.path) for item in known.items} if known else set()
        return tuple(each for each in self.live if (each.target, each.change.pointer) in before)


@dataclass(frozen=True)
class JobsView:
    """What the API of Connect told, as a pass sees it."""

    problem: Problem | None = None
    """Why it tells nothing."""
    quiescence: Quiescence | None = None
    """What a restart would disturb; None: not known at the moment."""
    decisions: tuple[Decision, ...] = ()
    """What was done about jobs that lost their server."""
    pinned: int = 0
    """Contents that keep processes without visitors."""

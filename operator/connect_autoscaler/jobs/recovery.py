"""What to do about orphaned jobs. Pure.

Renders send mail and write data: one is run again only where nothing else does it, once, and only a few per hour.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from connect_autoscaler.api.clipping import clip
from connect_autoscaler.api.explained import Explained
from connect_autoscaler.api.policies import OrphanPolicy, Recovery
from connect_autoscaler.api.status import OrphanedJob
from connect_autoscaler.jobs.model import SKIPPED, Content, Job, Kind, QueueItem, Schedule, Variant
from connect_autoscaler.jobs.orphans import Orphan

NEAR: Final = timedelta(minutes=10)
"""A render that its schedule starts so soon, or should have started so lately, is left to the schedule."""
_HOUR: Final = timedelta(hours=1)
_IDENTIFIER: Final = 64
_HOSTNAME: Final = 253


class Action(StrEnum):
    """What is done about an orphan."""

    RERUN = "Rerun"
    REPORTED = "Reported"
    """It is for somebody to look at."""
    SKIPPED = "Skipped"
    """Nothing is to be done, or not now."""


class Why(Explained):
    """Why that is done; `explain` says it in a sentence."""

    RENDERED_AGAIN = "RenderedAgain", "The variant is rendered again."
    RESTORED_AGAIN = "RestoredAgain", "The environment of the bundle is restored again."
    REPORT_ONLY = "ReportOnly", "recovery.orphanedJobs is Report: run it again in Connect if it matters."
    INTERACTIVE = "Interactive", "Interactive content starts again with its next visit."
    NOT_PROVEN = "NotProven", "Where the job runs cannot be told, so it may still run; look at it in Connect."
    NOT_REPEATABLE = "NotRepeatable", "A job of this kind cannot be run again from outside; look at it in Connect."
    CONTENT_UNKNOWN = "ContentUnknown", "The content is gone, or is none that is rendered."
    VARIANT_NOT_PUBLIC = (
        "VariantNotPublic",
        "The variant is not known to be public: its owner can render it again.",
    )
    BUNDLE_UNKNOWN = "BundleUnknown", "The job names no bundle; publish the content again."
    SUPERSEDED = "Superseded", "A newer job does the same, or did."
    QUEUED = "Queued", "Connect's queue holds a newer item that may be the same render; looked at again later."
    SCHEDULED = "Scheduled", "The schedule starts the render by itself about now."
    TRIED = "Tried", "The job was run again before; it is not tried twice."
    HOURLY_LIMIT = "HourlyLimit", "recovery.maxPerHour is reached; goes on later."


@dataclass(frozen=True, slots=True)
class Known:
    """What decisions about orphans depend on.

    Attributes:
        jobs: All jobs of the orphans' contents, the orphans among them.
        queue: Items that wait, or are being worked on.
        contents: By guid, with schedules.
        variants: By guid of their content.
        tried: Keys of orphans that were run again before.
        reruns: When jobs were run again, the last hour at least.
    """

    jobs: Collection[Job] = ()
    queue: Collection[QueueItem] = ()
    contents: Mapping[str, Content] = field(default_factory=dict)
    variants: Mapping[str, Collection[Variant]] = field(default_factory=dict)
    tried: Collection[str] = ()
    reruns: Collection[datetime] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about one orphan.

    A rerun is a render of the job's `variant_key` or a restore of its `bundle_id`, by the kind of the job. It has to be
    remembered as tried before it is asked for: an answer that gets lost does not mean that nothing was started.
    """

    job: Job
    action: Action
    why: Why

    @property
    def status(self) -> OrphanedJob:
        """Return the item of ``status.orphans``."""
        job = self.job
        return OrphanedJob(
            content_guid=clip(job.content_guid, _IDENTIFIER),
            job_key=clip(job.key, _IDENTIFIER),
            tag=clip(job.tag, _IDENTIFIER),
            variant_key=clip(job.variant_key, _IDENTIFIER) if job.variant_key else None,
            hostname=clip(job.hostname, _HOSTNAME) if job.hostname else None,
            last_heartbeat=job.heartbeat,
            action=self.action,
            reason=self.why,
        )


def decide(orphans: Iterable[Orphan], known: Known, policy: Recovery, now: datetime) -> tuple[Decision, ...]:
    """Decide about every orphan, in the order given: the first ones use the hour's allowance.

    Args:
        orphans: Jobs that lost their server, the one that waits longest first.
        known: What else there is.
        policy: ``spec.recovery``.
        now: Time of the pass.
    """
    case = _Case(known, policy, now, left=policy.max_per_hour - sum(now - each < _HOUR for each in known.reruns))
    return tuple(case.decide(orphan) for orphan in orphans)


class _Case:
    def __init__(self, known: Known, policy: Recovery, now: datetime, left: int) -> None:
        self._known, self._policy, self._now, self._left = known, policy, now, left
        self._asked: set[tuple[Kind, str, str | None]] = set()
        self._siblings: dict[str, list[Job]] = defaultdict(list)
        for job in known.jobs:
            self._siblings[job.content_guid].append(job)

    def decide(self, orphan: Orphan) -> Decision:
        job = orphan.job
        why = self._obstacle(orphan)
        if why is not None:
            return Decision(job, Action.SKIPPED if why in _NEEDLESS else Action.REPORTED, why)
        self._left -= 1
        self._asked.add(_same(job))
        return Decision(job, Action.RERUN, Why.RENDERED_AGAIN if job.kind is Kind.RENDER else Why.RESTORED_AGAIN)

    def _obstacle(self, orphan: Orphan) -> Why | None:
        """Return the first of the reasons against a rerun, what never changes before what may."""
        job = orphan.job
        if job.kind is Kind.INTERACTIVE:
            return Why.INTERACTIVE
        if self._policy.orphaned_jobs is not OrphanPolicy.RERUN:
            return Why.REPORT_ONLY
        if not orphan.proven:
            return Why.NOT_PROVEN
        if job.key in self._known.tried:
            return Why.TRIED
        return self._impossible(job) or self._needless(job) or (Why.HOURLY_LIMIT if self._left <= 0 else None)

    def _impossible(self, job: Job) -> Why | None:
        content = self._known.contents.get(job.content_guid)
        if job.kind is Kind.OTHER:
            return Why.NOT_REPEATABLE
        if content is None or (job.kind is Kind.RENDER and not content.rendered):
            return Why.CONTENT_UNKNOWN
        if job.kind is Kind.RESTORE:
            return None if job.bundle_id else Why.BUNDLE_UNKNOWN
        variants = self._known.variants.get(job.content_guid, ())
        public = any(variant.public and variant.key == job.variant_key for variant in variants)
        return None if public else Why.VARIANT_NOT_PUBLIC

    def _needless(self, job: Job) -> Why | None:
        if _same(job) in self._asked or any(_replaces(each, job) for each in self._siblings[job.content_guid]):
            return Why.SUPERSEDED
        if job.kind is not Kind.RENDER:
            return None
        schedules = [each for each in self._known.contents[job.content_guid].schedules if _starts(each, job)]
        if any(each.next_run and abs(each.next_run - self._now) <= NEAR for each in schedules):
            return Why.SCHEDULED
        if any(_may_be(item, job, scheduled=bool(schedules)) for item in self._known.queue):
            return Why.QUEUED
        return None


_NEEDLESS: Final = frozenset({Why.INTERACTIVE, Why.SUPERSEDED, Why.QUEUED, Why.SCHEDULED, Why.TRIED, Why.HOURLY_LIMIT})


def _same(job: Job) -> tuple[Kind, str, str | None]:
    """Name what a job does. A restore of any bundle replaces that of another one: the content was published again."""
    return job.kind, job.content_guid, job.variant_key if job.kind is Kind.RENDER else None


def _replaces(other: Job, job: Job) -> bool:
    """Whether another job does the same, or did, and is not known to be older."""
    if other.key == job.key or other.status == SKIPPED or _same(other) != _same(job):
        return False
    return other.began is None or job.began is None or other.began > job.began


def _starts(schedule: Schedule, job: Job) -> bool:
    """Whether a schedule starts the same render."""
    return schedule.variant_key in {None, job.variant_key}


def _may_be(item: QueueItem, job: Job, *, scheduled: bool) -> bool:
    """Whether an item may be the same render: the queue holds renders by schedule and may not say of what.

    One from before the job began may be the job's own: Connect does not take it out while it believes in the job.
    """
    if item.created and job.began and item.created <= job.began:
        return False
    if item.content_guid is None:
        return scheduled
    return item.content_guid == job.content_guid and item.variant_key in {None, job.variant_key}

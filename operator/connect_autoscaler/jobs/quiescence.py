"""Whether a restart of the server would cost anybody anything. Pure.

A restart ends what the server waits for: renders, restores of environments and with them deployments, and whatever its
queue is about to start. Interactive content starts again with its next visit. What is not known holds up.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from connect_autoscaler.jobs.model import Content, Job, Kind, QueueItem

_NOT_IN_SLUGS: Final = re.compile(r"[^a-z0-9]+")
_KUBE_NAME: Final = re.compile(r"[a-z]+-(?P<slug>.+)-[a-z0-9]{5}")
_POD_SUFFIX: Final = re.compile(r"-[a-z0-9]{5}$")


class Holds(StrEnum):
    """What holds up a restart."""

    RENDER = "render"
    RESTORE = "restore of an environment"
    OTHER = "job of another kind"
    UNKNOWN = "not known to Connect"
    QUEUED = "waits in the queue"
    BEGUN = "begun from the queue"


@dataclass(frozen=True, slots=True)
class Hold:
    """One thing that holds up a restart.

    Attributes:
        name: Of the Kubernetes Job or pod, else of the API's job or the queue's item.
        what: What it is.
    """

    name: str
    what: Holds

    def __str__(self) -> str:
        return f"{self.name} ({self.what})"


@dataclass(frozen=True, slots=True)
class Quiescence:
    """What runs, by what a restart would do to it."""

    holding: tuple[Hold, ...] = ()
    interactive: tuple[str, ...] = ()
    """Names of those that a restart merely interrupts."""

    @property
    def quiet(self) -> bool:
        """Whether nothing holds up a restart."""
        return not self.holding


def quiescence(running: Iterable[str], queue: Iterable[QueueItem], jobs: Iterable[Job]) -> Quiescence:
    """Tell what holds up a restart.

    Args:
        running: Names of the Kubernetes Jobs of content that are not over, or of their pods.
        queue: Items of Connect's queue ``default``.
        jobs: What the API says about them, as far as it was asked: `candidates` says whom to ask about. A job of which
            Kubernetes knows nothing counts only if where it runs cannot be told: of the others nothing runs any more.
    """
    looked_up = tuple(jobs)
    by_name = {job.kube_job: job for job in looked_up if job.kube_job}
    holding, interactive = [], []
    for name in sorted(set(running)):
        job = by_name.get(name) or by_name.get(_POD_SUFFIX.sub("", name))
        if job is not None and job.kind is Kind.INTERACTIVE:
            interactive.append(name)
        else:
            holding.append(Hold(name, Holds.UNKNOWN if job is None else _WHAT[job.kind]))
    elsewhere = (job for job in looked_up if job.active and job.kube_job is None and job.kind is not Kind.INTERACTIVE)
    holding += [Hold(job.key, _WHAT[job.kind]) for job in elsewhere]
    holding += [Hold(item.job_type or item.id, Holds.BEGUN if item.started else Holds.QUEUED) for item in queue]
    return Quiescence(tuple(holding), tuple(interactive))


def candidates(running: Iterable[str], contents: Iterable[Content]) -> tuple[str, ...]:
    """Return the guids of the contents that these Jobs or pods may be of, sorted.

    Names are ``<kind>-<name of the content>-<5 characters>`` by Posit's one example, maybe cut. Who asks about these
    alone spares a sweep; one that is not found stays unknown, and that is safe.

    Args:
        running: Names of Kubernetes Jobs or pods.
        contents: All of them.
    """
    names = set(running)
    names |= {_POD_SUFFIX.sub("", name) for name in names}
    slugs = {found["slug"] for name in names if (found := _KUBE_NAME.fullmatch(name))}
    return tuple(sorted(content.guid for content in contents if _slugs(content, slugs)))


def _slugs(content: Content, slugs: Collection[str]) -> bool:
    own = {_NOT_IN_SLUGS.sub("-", text.lower()).strip("-") for text in (content.name, content.title or "")}
    return any(name.startswith(slug) for name in own if name for slug in slugs)


_WHAT: Final = {Kind.RENDER: Holds.RENDER, Kind.RESTORE: Holds.RESTORE, Kind.OTHER: Holds.OTHER}

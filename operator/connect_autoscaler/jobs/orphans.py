"""Which content jobs have lost their server for good. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.jobs.model import Host, Job, KubeJob

GRACE: Final = timedelta(minutes=5)
"""How old a heartbeat is at least."""
_SHORTEST: Final = timedelta(minutes=2)
"""Two of the intervals in which hosts check in: with less, a server that is merely slow would count as gone."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A job without a server.

    Attributes:
        job: The job.
        proven: Whether Kubernetes confirms that nothing of it runs any more. If not, where it runs cannot be told: it
            may only be reported.
    """

    job: Job
    proven: bool


def orphans(
    jobs: Iterable[Job],
    hosts: Iterable[Host],
    kube_jobs: Iterable[KubeJob],
    now: datetime,
    grace: timedelta = GRACE,
) -> tuple[Orphan, ...]:
    """Find the jobs that no server waits for any more, the one longest without heartbeat first.

    All of this has to hold: Connect believes that it runs; the server that started it is not among the active ones;
    its last heartbeat is older than the grace; its Kubernetes Job is over or does not exist.

    A job that never named a server, or was never seen running, has none to lose. If Connect names no active host at
    all, nothing is concluded: the one that answered should be among them.

    Args:
        jobs: As the API tells them.
        hosts: The active ones.
        kube_jobs: All of the namespace in which content runs, read after the jobs.
        now: The time, by a clock that agrees with Connect's to within the grace.
        grace: Not less than two minutes, or it counts as that.
    """
    serving = {host.hostname for host in hosts}
    running = {each.name for each in kube_jobs if not each.finished}
    limit = now - max(grace, _SHORTEST)
    if not serving:
        return ()
    found = [
        (job.seen, Orphan(job, proven=job.kube_job is not None))
        for job in jobs
        if job.active
        and job.hostname is not None
        and job.hostname not in serving
        and job.seen is not None
        and job.seen < limit
        and job.kube_job not in running
    ]
    return tuple(orphan for _, orphan in sorted(found, key=lambda each: (each[0], each[1].job.key)))

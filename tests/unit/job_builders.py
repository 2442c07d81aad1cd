"""Jobs for tests, and histories of thousands of them of which it is known by construction who is orphaned."""

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connect_autoscaler.jobs.model import Host, Job, KubeJob
from connect_autoscaler.jobs.orphans import GRACE

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GONE = "connect-gone"
ALIVE = "connect-alive"
SECOND = timedelta(seconds=1)


def remote(name: str, cluster: str = "Kubernetes") -> str:
    return base64.b64encode(f"{cluster}:{name}".encode()).decode()


def orphan(key: str = "key", **fields: Any) -> Job:
    """Return a job that has lost its server, proven if its Kubernetes Job `render-<key>` does not run."""
    whole: dict[str, Any] = {
        "key": key,
        "content_guid": "guid",
        "tag": "build_report",
        "status": 0,
        "hostname": GONE,
        "cluster": "Kubernetes",
        "remote_id": remote(f"render-{key}"),
        "variant_key": "main",
        "bundle_id": "7",
        "started": NOW - timedelta(hours=1),
        "heartbeat": NOW - GRACE - SECOND,
    }
    return Job(**{**whole, **fields})


@dataclass(frozen=True)
class History:
    jobs: list[Job]
    hosts: list[Host]
    kube_jobs: list[KubeJob]
    proven: set[str]
    unproven: set[str]


Twist = Callable[[Job], Job]
# Each of them takes one part away of what makes an orphan.
SOUND: dict[str, Twist] = {
    "finished": lambda job: replace(job, status=1),
    "finalized": lambda job: replace(job, status=2),
    "skipped": lambda job: replace(job, status=3),
    "without status": lambda job: replace(job, status=None),
    "its server lives": lambda job: replace(job, hostname=ALIVE),
    "no server yet": lambda job: replace(job, hostname=None),
    "seen just now": lambda job: replace(job, heartbeat=NOW),
    "seen within the grace": lambda job: replace(job, heartbeat=NOW - GRACE),
    "seen in the future": lambda job: replace(job, heartbeat=NOW + timedelta(hours=1)),
    "started just now": lambda job: replace(job, heartbeat=None, started=NOW - SECOND),
    "never seen": lambda job: replace(job, heartbeat=None, started=None),
    "still running": lambda job: replace(job, remote_id=remote(f"running-{job.key}")),
}
# These leave an orphan one, proven or not.
PROVEN: dict[str, Twist] = {
    "as it is": lambda job: job,
    "its Job is over": lambda job: replace(job, remote_id=remote(f"over-{job.key}")),
    "without heartbeat": lambda job: replace(job, heartbeat=None),
    "without cluster": lambda job: replace(job, cluster=None),
    "interactive": lambda job: replace(job, tag="run_app"),
    "without padding": lambda job: replace(job, remote_id=(job.remote_id or "").rstrip("=")),
}
UNPROVEN: dict[str, Twist] = {
    "no remote": lambda job: replace(job, remote_id=None),
    "no base64": lambda job: replace(job, remote_id="not base64!"),
    "no name": lambda job: replace(job, remote_id=base64.b64encode(b"Kubernetes").decode()),
    "an impossible name": lambda job: replace(job, remote_id=remote("Not_A_Name")),
    "another cluster": lambda job: replace(job, remote_id=remote(f"running-{job.key}", "Slurm")),
    "local": lambda job: replace(job, cluster="Local"),
}


def history(seed: int, size: int, share: float) -> History:
    """Return a shuffled history.

    Args:
        seed: Of chance.
        size: How many jobs.
        share: Of them that are orphaned.
    """
    chance = random.Random(seed)  # noqa: S311 - nothing depends on it being secret
    made = History([], [Host(ALIVE), Host("connect-other")], [], set(), set())
    for number in range(size):
        job = orphan(f"{seed}-{number}", heartbeat=NOW - GRACE - SECOND * chance.randint(1, 10**6))
        if chance.random() >= share:
            job = chance.choice([*SOUND.values()])(job)
        elif chance.random() < 0.5:
            job = chance.choice([*PROVEN.values()])(job)
            made.proven.add(job.key)
        else:
            job = chance.choice([*UNPROVEN.values()])(job)
            made.unproven.add(job.key)
        made.jobs.append(job)
        made.kube_jobs.append(KubeJob(f"running-{job.key}", finished=False))
        made.kube_jobs.append(KubeJob(f"over-{job.key}", finished=True))
    chance.shuffle(made.jobs)
    chance.shuffle(made.kube_jobs)
    return made

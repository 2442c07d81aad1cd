"""What a stand-in for Connect knows: servers, content, jobs and queues, in the words of Posit's API description."""

import base64
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from harness.api import Json

FINALIZED: Final = 2


class Launches(Protocol):
    """What runs content."""

    def launch(self, content: Json, tag: str) -> str:
        """Start a Job, return its name."""

    def finished(self, name: str) -> bool:
        """Tell whether a Job is over or gone."""


class ConnectState:
    """The state, to be changed at will.

    Args:
        version: Of Connect; None: it keeps it to itself.
        launcher: Runs what is rendered by request; None: nothing runs.

    Attributes:
        hosts: Servers, those that are gone included.
        contents: By guid.
        variants: By guid of the content.
        jobs: By guid of the content.
        tasks: By id.
        queue: Items of all queues.
    """

    def __init__(self, version: str | None = "2026.08.0", launcher: Launches | None = None) -> None:
        self.version = version
        self.launcher = launcher
        self.hosts: dict[str, Json] = {}
        self.contents: dict[str, Json] = {}
        self.variants: dict[str, list[Json]] = {}
        self.jobs: dict[str, list[Json]] = {}
        self.tasks: dict[str, Json] = {}
        self.queue: list[Json] = []
        self._gone: set[str] = set()

    @property
    def alive(self) -> list[str]:
        """Return the names of the servers that are not gone."""
        return [name for name in self.hosts if name not in self._gone]

    def add_host(self, hostname: str) -> None:
        """Have a server of Connect check in, from now on."""
        self.hosts[hostname] = {"hostname": hostname, "version": self.version}
        self._gone.discard(hostname)

    def lose(self, hostname: str) -> None:
        """Lose a server: its jobs are as they are now, for ever."""
        self.refresh()
        self._gone.add(hostname)
        self.hosts.setdefault(hostname, {"hostname": hostname, "version": self.version})["last_seen"] = now()

    def hosts_are(self, names: Iterable[str]) -> None:
        """Have these servers, and lose all others."""
        wanted = set(names)
        for name in set(self.alive) - wanted:
            self.lose(name)
        for name in wanted - set(self.alive):
            self.add_host(name)

    def add_content(
        self, name: str, app_mode: str = "quarto-static", *, schedules: Sequence[Json] = (), **fields: Any
    ) -> Json:
        """Publish content, with a default variant that everybody sees; return it."""
        guid = str(uuid.uuid4())
        content: Json = {
            "guid": guid,
            "name": name,
            "title": name.replace("-", " ").title(),
            "app_mode": app_mode,
            "bundle_id": str(len(self.contents) + 1),
            "min_processes": None,
            "schedules": list(schedules),
            **fields,
        }
        self.contents[guid], self.jobs[guid] = content, []
        self.variants[guid] = [{"id": 1, "key": "main", "is_default": True, "visibility": "public"}]
        return content

    def add_job(self, content: Json, tag: str, **fields: Any) -> Json:
        """Have a job that started now, on any server unless `hostname` names one; return it."""
        guid = content["guid"]
        job: Json = {
            "id": str(sum(map(len, self.jobs.values())) + 1),
            "key": uuid.uuid4().hex[:16],
            "remote_id": None,
            "content_guid": guid,
            "variant_key": "main" if tag.startswith("build_") else None,
            "bundle_id": content["bundle_id"],
            "tag": tag,
            "status": 0,
            "hostname": next(iter(self.alive), None),
            "cluster": "Kubernetes",
            "start_time": now(),
            "end_time": None,
            "last_heartbeat_time": now(),
            "queued_time": None,
            "exit_code": None,
            **fields,
        }
        self.jobs[guid].append(job)
        return job

    def launch(self, content: Json, tag: str, **fields: Any) -> Json:
        """Start content in Kubernetes, as a server does for a visitor, a schedule or a deployment; return the job."""
        assert self.launcher is not None, "nothing runs content here: give it a launcher"
        name = self.launcher.launch(content, tag)
        return self.add_job(content, tag, remote_id=remote_id(name), **fields)

    def finish(self, job: Json, exit_code: int = 0) -> None:
        """Have a job end."""
        job.update(status=FINALIZED, end_time=now(), exit_code=exit_code)

    def enqueue(self, **fields: Any) -> Json:
        """Put an item into a queue, `default` unless named otherwise; return it."""
        item: Json = {"id": str(len(self.queue) + 1), "name": "default", "job_type": "ScheduledRender"}
        item |= {"created_time": now(), "started_time": None, **fields}
        self.queue.append(item)
        return item

    def refresh(self) -> None:
        """Do what living servers do: vouch for their jobs, and notice the end of those that run in Kubernetes."""
        for job in (each for jobs in self.jobs.values() for each in jobs):
            if job["status"] or job["hostname"] not in self.alive:
                continue
            job["last_heartbeat_time"] = now()
            if self.launcher and job["remote_id"] and self.launcher.finished(kube_name(job["remote_id"])):
                self.finish(job)


def remote_id(name: str) -> str:
    """Return what Connect calls a Kubernetes Job."""
    return base64.b64encode(f"Kubernetes:{name}".encode()).decode()


def kube_name(remote: str) -> str:
    """Return the name of the Kubernetes Job."""
    return base64.b64decode(remote).decode().partition(":")[2]


def now() -> str:
    """Return the time as Connect writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f789Z")

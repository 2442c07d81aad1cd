"""What the API of Connect says of hosts, content, jobs and its queue, and what Kubernetes says of the same jobs. Pure.

Names and meanings of fields are those of Posit's API description. What is missing or unreadable becomes None, never a
guess: whoever decides has to say what he does without it.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final, Self

from connect_autoscaler.jobs.remote import KUBERNETES, decode

ACTIVE: Final = 0
"""Status of a job that runs, as far as Connect knows; 1 is finished, 2 finalized."""
SKIPPED: Final = 3
"""Status of one that never ran, for instance because Connect believed that the one before still did."""
_RENDERS: Final = frozenset({"build_report", "build_site", "build_jupyter", "configure_report", "render_shiny"})
_RESTORES: Final = frozenset({"packrat_restore", "python_restore"})
_INTERACTIVE: Final = frozenset(
    f"run_{name}"
    for name in (
        *("app", "api", "tensorflow", "python_api", "dash_app", "streamlit", "bokeh_app", "panel_app"),
        *("fastapi_app", "gradio_app", "pyshiny_app", "voila_app"),
    )
)
_RENDERED_MODES: Final = frozenset({"rmd-static", "jupyter-static", "quarto-static"})
_FRACTION: Final = re.compile(r"(\.\d{6})\d+")
_OVER: Final = frozenset({"Complete", "Failed"})
_ZERO_YEAR: Final = 1
"""Go's zero time, which stands for no time."""

Body = Mapping[str, Any]


class Kind(Enum):
    """What a job is for."""

    RENDER = auto()
    RESTORE = auto()
    """Restores the environment of a bundle: a part of every deployment."""
    INTERACTIVE = auto()
    """Serves visitors, and is started again for the next one."""
    OTHER = auto()
    """Anything else, tags of newer versions included: it runs, and is not to be touched."""


@dataclass(frozen=True, slots=True)
class Job:
    """A content job as Connect sees it."""

    key: str
    content_guid: str
    tag: str = "unknown"
    status: int | None = None
    hostname: str | None = None
    """The server that started it; in Kubernetes its pod's name, unless configured otherwise."""
    cluster: str | None = None
    remote_id: str | None = None
    variant_key: str | None = None
    bundle_id: str | None = None
    started: datetime | None = None
    queued: datetime | None = None
    heartbeat: datetime | None = None

    @classmethod
    def of(cls, body: Body, content_guid: str) -> Self:
        """Read a job of a content item.

        Raises:
            KeyError: It has no key.
        """
        return cls(
            key=str(body["key"]),
            content_guid=content_guid,
            tag=_text(body.get("tag")) or "unknown",
            status=body["status"] if isinstance(body.get("status"), int) else None,
            hostname=_text(body.get("hostname")),
            cluster=_text(body.get("cluster")),
            remote_id=_text(body.get("remote_id")),
            variant_key=_text(body.get("variant_key")),
            bundle_id=_text(body.get("bundle_id")),
            started=time_of(body.get("start_time")),
            queued=time_of(body.get("queued_time")),
            heartbeat=time_of(body.get("last_heartbeat_time")),
        )

    @property
    def active(self) -> bool:
        """Whether it runs, as far as Connect knows."""
        return self.status == ACTIVE

    @property
    def kind(self) -> Kind:
        """What it is for, by its tag."""
        for kind, tags in ((Kind.RENDER, _RENDERS), (Kind.RESTORE, _RESTORES), (Kind.INTERACTIVE, _INTERACTIVE)):
            if self.tag in tags:
                return kind
        return Kind.OTHER

    @property
    def began(self) -> datetime | None:
        """When it was started, else when it was queued."""
        return self.started or self.queued

    @property
    def seen(self) -> datetime | None:
        """When its server vouched for it last: the last heartbeat, else the start, which is one."""
        return self.heartbeat or self.started

    @property
    def kube_job(self) -> str | None:
        """Name of its Kubernetes Job; None: it cannot be told, or it runs elsewhere."""
        remote = decode(self.remote_id)
        if remote is None or remote.cluster != KUBERNETES or self.cluster not in {None, KUBERNETES}:
            return None
        return remote.name


@dataclass(frozen=True, slots=True)
class Host:
    """A server of Connect."""

    hostname: str
    version: str | None = None
    last_seen: datetime | None = None

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read a host.

        Raises:
            KeyError: It has no name.
        """
        return cls(str(body["hostname"]), _text(body.get("version")), time_of(body.get("last_seen")))


@dataclass(frozen=True, slots=True)
class QueueItem:
    """Work that waits or has been started: in the queue ``default``, renders by schedule."""

    id: str
    queue: str = "default"
    job_type: str | None = None
    created: datetime | None = None
    started: datetime | None = None
    content_guid: str | None = None
    """Posit's description does not list it; where it is absent, the item may be of any content."""
    variant_key: str | None = None

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read an item of a queue.

        Raises:
            KeyError: It has no id.
        """
        return cls(
            id=str(body["id"]),
            queue=_text(body.get("name")) or "default",
            job_type=_text(body.get("job_type")),
            created=time_of(body.get("created_time")),
            started=time_of(body.get("started_time")),
            content_guid=_text(body.get("content_guid")),
            variant_key=_text(body.get("variant_key")),
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a variant is rendered by itself."""

    variant_key: str | None = None
    """None: not known which."""
    next_run: datetime | None = None

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read a schedule."""
        return cls(_text(body.get("variant_key")), time_of(body.get("next_run")))


@dataclass(frozen=True, slots=True)
class Content:
    """A content item."""

    guid: str
    name: str = ""
    title: str | None = None
    app_mode: str = "unknown"
    bundle_id: str | None = None
    """The active one."""
    min_processes: int | None = None
    """Per server; None: the server's default."""
    schedules: tuple[Schedule, ...] = ()

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read a content item, with its schedules if they were asked for.

        Raises:
            KeyError: It has no guid.
        """
        processes = body.get("min_processes")
        return cls(
            guid=str(body["guid"]),
            name=_text(body.get("name")) or "",
            title=_text(body.get("title")),
            app_mode=_text(body.get("app_mode")) or "unknown",
            bundle_id=_text(body.get("bundle_id")),
            min_processes=processes if isinstance(processes, int) else None,
            schedules=tuple(Schedule.of(each) for each in body.get("schedules") or ()),
        )

    @property
    def rendered(self) -> bool:
        """Whether it is made by renders; everything else serves visitors."""
        return self.app_mode in _RENDERED_MODES


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of parameters of a rendered content item."""

    key: str
    public: bool
    """False also where Connect does not say."""

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read a variant: the default one is every visitor's, others say so.

        Raises:
            KeyError: It has no key.
        """
        return cls(str(body["key"]), body.get("is_default") is True or body.get("visibility") == "public")


@dataclass(frozen=True, slots=True)
class Task:
    """What became of work that was asked for."""

    finished: bool
    error: str | None = None
    """Why it failed."""

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read a task."""
        failed = body.get("finished") is True and body.get("code") not in {0, None}
        return cls(body.get("finished") is True, (_text(body.get("error")) or "failed") if failed else None)


@dataclass(frozen=True, slots=True)
class KubeJob:
    """A Kubernetes Job of content."""

    name: str
    finished: bool

    @classmethod
    def of(cls, body: Body) -> Self:
        """Read a Job of ``batch/v1``."""
        conditions = (body.get("status") or {}).get("conditions") or ()
        over = any(each["type"] in _OVER and each["status"] == "True" for each in conditions)
        return cls(body["metadata"]["name"], over)


def time_of(value: Any) -> datetime | None:
    """Read a time of RFC 3339; None if it is none, or Go's zero time."""
    if not isinstance(value, str):
        return None
    with suppress(ValueError):
        # Go writes up to nine digits of a second, Python reads six.
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", value))
        if found.tzinfo and found.year > _ZERO_YEAR:
            return found.astimezone(UTC)
    return None


def _text(value: Any) -> str | None:
    """Identifiers may be numbers: older versions write some of them so."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None

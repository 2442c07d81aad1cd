"""Helm's release Secrets, read without Helm.

Source of the format: Helm's ``pkg/storage/driver`` (base64 of gzip of JSON, inside the base64 of every Secret). Only
the revision of the highest number tells of a lock, only the newest one with status ``deployed`` tells the values.
"""

import base64
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

import yaml

from connect_autoscaler.release.values import Json, checked

LABEL_ATTEMPT: Final = "connect-autoscaler.io/attempt"
"""Label that an upgrade of the operator gives its revision; later revisions inherit it, so it alone proves nothing."""
SECRET_TYPE: Final = "helm.sh/release.v1"  # noqa: S105 - a type of Secret
_GZIP: Final = b"\x1f\x8b\x08"
_DEPLOYED: Final = "deployed"
_FAILED: Final = "failed"
_LARGEST: Final = 16 << 20
"""Bytes that a revision may unpack to. A Secret has a megabyte at most, and what Helm packs is text, some tenth of it;
a few kilobytes of anything else may unpack to gigabytes."""


class UnreadableError(ValueError):
    """A release Secret that Helm did not write."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the metadata of a release Secret tells; enough to know whether anything changed."""

    name: str
    uid: str
    version: str
    """resourceVersion."""
    number: int
    """Revision."""
    status: str

    @classmethod
    def of(cls, secret: Mapping[str, Any]) -> Self | None:
        """Read the metadata; None if it is not a revision."""
        meta = secret["metadata"]
        labels = meta.get("labels", {})
        number = labels.get("version", "")
        if not number.isdecimal():
            return None
        return cls(meta["name"], meta["uid"], meta["resourceVersion"], int(number), labels.get("status", "unknown"))

    @property
    def pending(self) -> bool:
        """Whether a Helm operation is under way, or died without a word."""
        return self.status.startswith("pending-") or self.status == "uninstalling"

    @property
    def goes_back(self) -> bool:
        """Whether a rollback is under way, or died without a word."""
        return self.status == "pending-rollback"

    @property
    def deployed(self) -> bool:
        """Whether this is what runs."""
        return self.status == _DEPLOYED

    @property
    def failed(self) -> bool:
        """Whether the operation came to nothing."""
        return self.status == _FAILED


@dataclass(frozen=True, slots=True)
class Entries:
    """The two revisions that matter."""

    last: Entry
    """The highest number, in any status: the lock."""
    deployed: Entry | None
    """The newest that was deployed: the truth about values."""
    count: int

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self | None:
        """Choose among all revisions; None if there is none."""
        ordered = sorted(entries, key=lambda entry: entry.number)
        if not ordered:
            return None
        return cls(ordered[-1], next((e for e in reversed(ordered) if e.deployed), None), len(ordered))


@dataclass(frozen=True)
class Revision:
    """One decoded revision. Holds secrets: never keep one longer than a pass, never print one."""

    number: int
    status: str
    description: str
    deployed_at: datetime | None
    rollback_to: int | None
    """The revision it went back to, if it was a rollback."""
    labels: Mapping[str, str]
    chart: str
    chart_version: str
    app_version: str
    apply_method: str
    """``ssa`` or ``csa``; Helm 3 wrote nothing, and applied from the client."""
    has_hooks: bool
    config: Json = field(repr=False)
    """The values that the user supplied."""
    defaults: Json = field(repr=False)
    """The chart's own values."""
    templates: Mapping[str, bytes] = field(repr=False)
    manifest: str = field(repr=False)

    @property
    def attempt(self) -> str | None:
        """Identity of the operator's attempt, its own or an inherited one."""
        return self.labels.get(LABEL_ATTEMPT)


def decode(secret: Mapping[str, Any]) -> Revision:
    """Decode a release Secret.

    Args:
        secret: The Secret as the API server gave it.

    Raises:
        UnreadableError: It does not hold what Helm writes.
    """
    with readable(f"Secret {secret['metadata']['name']}"):
        release = json.loads(_unpacked(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
        info, chart = release["info"], release["chart"]
        metadata = chart["metadata"]
        return Revision(
            number=int(release["version"]),
            status=_text(info["status"]),
            description=_text(info.get("description")),
            deployed_at=_time(info.get("last_deployed")),
            rollback_to=int(info.get("rollback_revision") or 0) or None,
            labels=secret["metadata"].get("labels", {}),
            chart=_text(metadata["name"]),
            chart_version=_text(metadata["version"]),
            app_version=_text(metadata.get("appVersion")),
            apply_method=_text(release.get("apply_method")) or "csa",
            has_hooks=bool(release.get("hooks")),
            config=checked(release.get("config")),
            defaults=checked(chart.get("values")),
            templates={_text(t["name"]): base64.b64decode(t["data"]) for t in chart.get("templates") or ()},
            manifest=_text(release.get("manifest")),
        )


_NOT_HELMS: Final = (
    *(KeyError, TypeError, ValueError, AttributeError, OverflowError),
    *(zlib.error, yaml.YAMLError, EOFError, OSError, RecursionError),
)
"""What it comes to if something else stands where Helm writes."""


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Within the context something is read that Helm has written; if it has not, that is said in one way.

    Args:
        what: It.

    Raises:
        UnreadableError: It has another form.
    """
    try:
        yield
    except _NOT_HELMS as error:
        # From None: the chained errors hold values.
        raise UnreadableError(f"{what} is no Helm release: {type(error).__name__}") from None


def _unpacked(raw: bytes) -> bytes:
    if not raw.startswith(_GZIP):
        return raw
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        text = stream.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise TypeError
    return (value or "").encode(errors="replace").decode()  # JSON may hold half a character, status may not


def _time(text: str | None) -> datetime | None:
    """Read Go's RFC 3339 with nanoseconds."""
    if not text or text.startswith("0001-"):
        return None
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError
    return found

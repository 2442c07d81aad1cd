"""What the API server was asked, by whom, and how it answered: its audit log."""

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pykube import HTTPClient

from sandbox.errors import SandboxError
from sandbox.wait import poll

WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
# Questions in the form of a create: nothing is stored.
_QUESTIONS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
_OK = range(200, 300)
_MARK = "sandbox-marker/"
_FORBIDDEN = b'"authorization.k8s.io/decision":"forbid"'
_FLUSH_LIMIT = 10.0


@dataclass(frozen=True)
class Entry:
    """One answered request (or, for a watch, also its begin: then `stage` is `ResponseStarted`)."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    user_agent: str
    code: int
    time: datetime
    dry_run: bool
    stage: str
    uri: str
    source: str
    """Address of the client."""
    message: str
    """What the API server said of a failure."""

    @classmethod
    def parse(cls, event: dict[str, Any]) -> Self:
        """Read an `audit.k8s.io/v1` event."""
        target = event.get("objectRef", {})
        return cls(
            verb=event["verb"],
            group=target.get("apiGroup", ""),
            resource=target.get("resource", ""),
            subresource=target.get("subresource", ""),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            user=event.get("impersonatedUser", event["user"]).get("username", ""),
            user_agent=event.get("userAgent", ""),
            code=event.get("responseStatus", {}).get("code", 0),
            time=datetime.fromisoformat(event["stageTimestamp"]),
            dry_run="All" in parse_qs(urlsplit(event["requestURI"]).query).get("dryRun", ()),
            stage=event["stage"],
            uri=event["requestURI"],
            source=event.get("sourceIPs", [""])[0],
            message=event.get("responseStatus", {}).get("message", ""),
        )


class Audit:
    """Reads the audit log of one cluster."""

    def __init__(self, log: Path, api: HTTPClient) -> None:
        self._log = log
        self._api = api

    def marker(self) -> int:
        """Return a place in the log: everything answered before is in front of it, everything asked later behind it."""
        start = self._log.stat().st_size
        mark = f"{_MARK}{uuid.uuid4()}"
        self._api.get(version="/version", headers={"User-Agent": mark}).raise_for_status()
        if not poll(lambda: mark.encode() in self._read(start), timeout=_FLUSH_LIMIT):
            raise SandboxError(f"the API server writes no audit log to {self._log}")
        return start + len(self._read(start))

    def requests(self, *, user: str | None = None, user_agent: str | None = None, since: int = 0) -> list[Entry]:
        """Return what was asked, in the order of the log.

        Args:
            user: The exact name of the user, such as `system:serviceaccount:posit:operator`; with impersonation, of the
                impersonated one.
            user_agent: Any part of the client's User-Agent.
            since: What an earlier `marker` returned.
        """
        self.marker()
        return [
            entry
            for entry in self._entries(since)
            if user in {None, entry.user} and (user_agent or "") in entry.user_agent
        ]

    def writes(self, *, user: str | None = None, user_agent: str | None = None, since: int = 0) -> list[Entry]:
        """Return the answered writes among `requests`: also refused ones and dry runs, without access reviews."""
        return list(_writes(self.requests(user=user, user_agent=user_agent, since=since)))

    def count_writes(self, *, user: str | None = None, user_agent: str | None = None, since: int = 0) -> int:
        """Count the writes that the API server carried out: no dry runs, none that it refused.

        An update or apply that changes nothing counts too: the log does not tell it from one that does.
        """
        return sum(
            entry.code in _OK and not entry.dry_run
            for entry in self.writes(user=user, user_agent=user_agent, since=since)
        )

    def forbidden(self, user: str, *, since: int = 0) -> Iterator[Entry]:
        """Yield what RBAC did not grant a user; quick also in a long log, and without a request."""
        with self._log.open("rb") as log:
            log.seek(since)
            for line in log:
                if _FORBIDDEN in line and (entry := Entry.parse(json.loads(line))).user == user:
                    yield entry

    def _entries(self, since: int) -> Iterator[Entry]:
        for line in self._read(since).splitlines():
            entry = Entry.parse(json.loads(line))
            if not entry.user_agent.startswith(_MARK):
                yield entry

    def _read(self, since: int) -> bytes:
        with self._log.open("rb") as log:
            log.seek(since)
            text = log.read()
        return text[: text.rfind(b"\n") + 1]  # the last line may be half written


def _writes(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        asked = entry.group in _QUESTIONS or entry.subresource == "token"
        if entry.verb in WRITE_VERBS and entry.stage == "ResponseComplete" and not asked:
            yield entry

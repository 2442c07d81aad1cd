"""Every request that went through a proxy, and what became of it."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from reliability.request import Request

_EVENTS = "events"


@dataclass(frozen=True)
class Entry:
    """One request.

    Attributes:
        time: Of its arrival: seconds of `time.monotonic`.
        writer: Which incarnation of the operator sent it.
        request: What it was.
        signature: What makes it the same request in another run.
        status: Of the API server's answer; 0: it never got there, or did not answer.
        fault: What was done to it; None: nothing.
    """

    time: float
    writer: str
    request: Request
    signature: str
    status: int
    fault: str | None = None

    @property
    def committed(self) -> bool:
        """Tell whether the API server carried out a write."""
        return self.request.writes and 200 <= self.status < 300


class Record:
    """What all incarnations of one operator asked. Written by the proxies' thread, read by any.

    Args:
        last: How many requests are kept, the last ones; None: all, and only then places in the record mean anything.
    """

    def __init__(self, last: int | None = None) -> None:
        self._entries: deque[Entry] = deque(maxlen=last)
        self._events: deque[str] = deque(maxlen=last)
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def saw(self, signature: str) -> None:
        """Note an event of a watch that went to the operator."""
        with self._lock:
            self._events.append(signature)

    def events(self, since: int = 0) -> list[str]:
        """Return the watches of which events went to the operator, in order, from a place on."""
        with self._lock:
            return list(self._events)[since:]

    def mark(self) -> int:
        """Return a place: behind all there is."""
        with self._lock:
            return len(self._entries)

    def entries(self, since: int = 0) -> list[Entry]:
        """Return the entries behind a place."""
        with self._lock:
            return list(self._entries)[since:]

    def writes(self, since: int = 0) -> list[Entry]:
        """Return the writes that the API server carried out, without Kubernetes Events."""
        return [each for each in self.entries(since) if each.committed and each.request.resource != _EVENTS]

    def signatures(self, since: int = 0) -> Iterator[str]:
        """Return the signatures in order of arrival."""
        return (each.signature for each in self.entries(since))

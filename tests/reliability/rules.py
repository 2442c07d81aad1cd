"""Which fault meets which request: the n-th of a signature, and as many more as the rule says."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

ERRORS: Final = (400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504)
"""Answers of an API server, of its admission, and of load balancers before it."""


class Fault(StrEnum):
    """What may happen to a request beside an error; `error:503` is one of those."""

    RESET = "reset"
    """The connection breaks before the API server has the request."""
    SLOW = "slow"
    """The answer takes longer than the client waits; the API server has carried the request out."""
    TRUNCATED = "truncated"
    """Half of the answer, as if that were all."""
    LOST = "lost"
    """The API server has carried the request out; the connection breaks before the answer."""
    STALE = "stale"
    """A list as it was before."""
    THROTTLED = "throttled"
    """429 with Retry-After."""
    CRASH_BEFORE = "crash-before"
    """The operator dies as it sends the request, which never arrives."""
    CRASH_AFTER = "crash-after"
    """The operator dies when it has the answer."""
    CRASH_LOST = "crash-lost"
    """The operator dies between the API server's commit and the answer."""
    DROP = "drop"
    """An event of a watch is missing."""
    REPEAT = "repeat"
    """An event of a watch comes twice."""
    SWAP = "swap"
    """Two events of different objects come in the other order."""
    DELAY = "delay"
    """An event of a watch, and all behind it, come late."""
    SILENCE = "silence"
    """The watch stays open, and says nothing any more."""
    GONE = "gone"
    """The watch ends with the event of a 410."""
    INTERNAL = "internal"
    """The watch ends with the event of a 500."""
    BROKEN = "broken"
    """The watch breaks off amid an event."""
    GARBLED = "garbled"
    """The watch ends amid an event as if all were well."""
    ENDED = "ended"
    """The watch ends, as it does from time to time."""


CRASHES: Final = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_LOST)
STREAM: Final = frozenset(
    {
        Fault.DROP,
        Fault.REPEAT,
        Fault.SWAP,
        Fault.DELAY,
        Fault.SILENCE,
        Fault.GONE,
        Fault.INTERNAL,
        Fault.BROKEN,
        Fault.GARBLED,
        Fault.ENDED,
    }
)
"""Faults that meet the events of a watch and not the request for it."""


@dataclass
class Rule:
    """A fault for some requests, or for some events of a watch.

    Attributes:
        signature: Of the requests; of faults of a stream, `watch nodepools`.
        fault: A `Fault`, or `error:STATUS`.
        first: Which match is the first one to be met, from 1.
        times: How many matches in a row.
        seconds: If it is more than 0, the first match begins an outage, which meets every request for so long.
    """

    signature: str
    fault: str
    first: int = 1
    times: int = 1
    seconds: float = 0.0
    _seen: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    fired: int = field(default=0, init=False)

    def meets(self, signature: str) -> bool:
        """Count a request, and tell whether the fault is for it."""
        now = time.monotonic()
        if self._until:
            met = now < self._until
        else:
            self._seen += signature == self.signature
            met = signature == self.signature and self.first <= self._seen < self.first + self.times
            if met and self.seconds:
                self._until = now + self.seconds
        self.fired += met
        return met

    @property
    def over(self) -> bool:
        """Tell whether it will meet nothing more."""
        return time.monotonic() >= self._until if self._until else self._seen >= self.first + self.times - 1


class Rules:
    """The rules in force. The loop of the proxy alone asks; others may replace them at any time."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self.crash: Callable[[], None] = lambda: None
        """Ends the operator; called by the proxy at the moment that a rule names."""
        self.crashed = asyncio.Event()

    def set(self, *rules: Rule) -> None:
        """Have these rules, and begin to count."""
        self._rules = list(rules)

    def request(self, signature: str) -> str | None:
        """Return the fault for a request."""
        return self._first(signature, of_stream=False)

    def event(self, signature: str) -> str | None:
        """Return the fault for an event of a watch."""
        return self._first(signature, of_stream=True)

    def _first(self, signature: str, *, of_stream: bool) -> str | None:
        met = [rule for rule in self._rules if (rule.fault in STREAM) is of_stream and rule.meets(signature)]
        return met[0].fault if met else None

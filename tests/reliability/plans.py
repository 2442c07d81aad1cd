"""All plans there are: every request of every workload, with everything that may happen to it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reliability.record import Entry
from reliability.rules import CRASHES, ERRORS, STREAM, Fault, Rule
from reliability.seen import Seen
from reliability.workloads import WORKLOADS

THRICE: Final = 3
OUTAGE: Final = 6.0
"""Seconds in haste: ten minutes."""
_ANSWERS: Final = [f"error:{code}" for code in ERRORS]
_READ: Final = (*_ANSWERS, Fault.THROTTLED, Fault.RESET, Fault.SLOW, Fault.TRUNCATED)
_WRITTEN: Final = (*_READ, Fault.LOST)
_OPENED: Final = (*_ANSWERS, Fault.THROTTLED, Fault.RESET)
_AGAIN: Final = frozenset(
    {"error:401", "error:403", "error:409", "error:422", "error:503", Fault.THROTTLED, Fault.RESET, Fault.LOST}
)
"""One of each class that the operator tells apart; each of the others meets every request once."""
_OUTAGES: Final = ("error:503", "error:401", "error:403", Fault.RESET)
_EVENTS: Final = 2
"""How many events of a watch are met in turn."""
_WRITES: Final = 9
"""How many of the same writes are met in turn: more than any workload has."""
_LOOKS: Final = 2
"""How many of the same reads are met in turn: loops ask the same again and again."""
_KILLED: Final = ("new", "deleted-pool", "delete-retain", "take-over")
"""Workloads of which the operator is also killed as a process; all else is the same, but takes ten times as long."""
_KNOWN: Final = ("customresourcedefinitions", "kwoknodeclasses", "/api")
"""What all workloads ask alike, of everybody: one that begins with a start, and one that does not, are enough."""
_EXAMPLES: Final = ("start", "update")
_HELM_WRITTEN: Final = ("error:403", "error:422", "error:503", Fault.THROTTLED, Fault.RESET, Fault.SLOW, Fault.LOST)
"""Of each class one: a plan with Helm takes seconds, where others take tenths."""
_HELM_AGAIN: Final = ("error:503", Fault.RESET, Fault.LOST)
_HELM_OUTAGES: Final = ("error:503", "error:403")
_HELM_READ: Final = ("error:403", "error:503", Fault.RESET)
_HELM_EVENTS: Final = (Fault.ENDED, Fault.BROKEN, Fault.GONE)
"""Helm waits for an event for as long as it is given; API servers keep none back from a watch that goes on."""
_HELM_READERS: Final = ("take-over", "restore")
"""Workloads whose reads are met, too; the others read the same."""
_FAILED: Final = ("helm: apply deployments connect-rstudio-connect", "error:503")
"""Where an upgrade fails, and helm goes back by itself."""
_WAY_BACK: Final = (
    ("helm: create secrets", 2),
    ("helm: apply deployments connect-rstudio-connect", 2),
    ("helm: update secrets sh.helm.release.v1.connect.v3", 1),
)
"""Writes of that way back, of a release at its first revision."""
_ON_IT: Final = (*CRASHES, Fault.LOST, "error:503")
_NOT_NEW: Final = ("nodepools", "nodeclaims", "connectautoscalingprofiles", *_KNOWN)
"""Met already in workloads without a release, but for crashes."""


@dataclass(frozen=True)
class Fate:
    """One rule of a plan: see `Rule`."""

    signature: str
    fault: str
    first: int = 1
    times: int = 1
    seconds: float = 0.0

    def rule(self) -> Rule:
        """Return a rule that has met nothing yet."""
        return Rule(self.signature, self.fault, self.first, self.times, self.seconds)

    def __str__(self) -> str:
        much = " for ten minutes" if self.seconds else f" x{self.times}" if self.times > 1 else ""
        return f"{self.fault}{much} at {self.signature} #{self.first}"


@dataclass(frozen=True)
class Plan:
    """A workload and what is to happen during it.

    Attributes:
        workload: Its name.
        fates: What happens; none: the run without faults.
        kind: `once`, `thrice`, `outage`, `crash`, `kill`, `stream` or `stale`, for the table.
    """

    workload: str
    fates: tuple[Fate, ...]
    kind: str

    @property
    def key(self) -> str:
        """Return what names it, in every run and on every machine."""
        how = " of a process" if self.process else ""
        return f"{self.workload}: {' and '.join(map(str, self.fates))}{how}"

    @property
    def process(self) -> bool:
        """Tell whether the operator is a process of its own, which is killed by SIGKILL."""
        return self.kind == "kill"

    @property
    def number(self) -> int:
        """Return a number that spreads plans evenly over shards and samples."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8])

    def rules(self) -> tuple[Rule, ...]:
        """Return its rules, of which none has met anything yet."""
        return tuple(fate.rule() for fate in self.fates)


def plans(undisturbed: Mapping[str, Seen]) -> list[Plan]:
    """Return every plan, without repetitions.

    Args:
        undisturbed: Each workload's run without faults.
    """
    found: dict[str, Plan] = {}
    for name, seen in undisturbed.items():
        for plan in _of_workload(name, seen):
            found.setdefault(plan.key, plan)
    return sorted(found.values(), key=lambda plan: plan.number)


def sample(every: Sequence[Plan], size: int) -> list[Plan]:
    """Return a fixed part: of each workload and kind in turn, always the same."""
    groups: dict[tuple[str, str], list[Plan]] = {}
    for plan in every:
        groups.setdefault((plan.workload, plan.kind), []).append(plan)
    chosen: list[Plan] = []
    while len(chosen) < min(size, len(every)):
        chosen += [group.pop(0) for group in groups.values() if group]
    return chosen[:size]


def _of_workload(name: str, seen: Seen) -> Iterator[Plan]:
    if WORKLOADS[name].release:
        yield from _of_release(name, seen)
        return
    for entry, occurrence in _numbered(_trace(seen)):
        if not _repeats(name, entry, occurrence):
            yield from _of_request(name, entry, occurrence)
    shown = Counter(seen.shown)
    for resource in ("connectautoscalingprofiles", "nodepools", "nodeclaims"):
        for fault in sorted(STREAM):
            for number in range(1, min(_EVENTS, shown[f"watch {resource}"]) + 1):
                yield Plan(name, (Fate(f"watch {resource}", fault, number),), "stream")
        if WORKLOADS[name].away:
            late = Fate(f"watch {resource}", Fault.DELAY)
            yield Plan(name, (Fate(f"list {resource}", Fault.STALE), late), "stale")


def _of_release(name: str, seen: Seen) -> Iterator[Plan]:
    for entry, occurrence in _numbered(_trace(seen)):
        if entry.request.writes:
            yield from _of_write(name, entry, occurrence)
        elif name in _HELM_READERS and occurrence == 1 and _is_new(entry):
            for fault in _HELM_READ:
                yield Plan(name, (Fate(entry.signature, fault),), "once")
    for signature, first in _WAY_BACK if seen.workload.spec is None else ():
        for fault in _ON_IT:
            kind = "crash" if fault in CRASHES else "once"
            yield Plan(name, (Fate(*_FAILED), Fate(signature, fault, first)), kind)
    if name in _HELM_READERS:
        yield from _of_watches(name, seen)


def _of_watches(name: str, seen: Seen) -> Iterator[Plan]:
    for watch, count in Counter(seen.shown).items():
        if not watch.endswith(_NOT_NEW):
            for fault in _HELM_EVENTS if watch.startswith("helm") else sorted(STREAM):
                for number in range(1, min(_EVENTS, count) + 1):
                    yield Plan(name, (Fate(watch, fault, number),), "stream")


def _of_write(name: str, entry: Entry, occurrence: int) -> Iterator[Plan]:
    """Give the plans of a write in a workload with a release."""
    signature = entry.signature
    if entry.request.resource == "events" and occurrence > 1:
        return
    if _is_new(entry):
        for fault in _HELM_WRITTEN:
            yield Plan(name, (Fate(signature, fault, occurrence),), "once")
        for fault in _HELM_AGAIN:
            yield Plan(name, (Fate(signature, fault, occurrence, THRICE),), "thrice")
        for fault in _HELM_OUTAGES if occurrence == 1 else ():
            yield Plan(name, (Fate(signature, fault, occurrence, seconds=OUTAGE),), "outage")
    for crash in CRASHES:
        yield Plan(name, (Fate(signature, crash, occurrence),), "crash")
    yield Plan(name, (Fate(signature, Fault.CRASH_LOST, occurrence, 2),), "crash")
    if name in _KILLED:
        yield Plan(name, (Fate(signature, Fault.CRASH_LOST, occurrence),), "kill")


def _is_new(entry: Entry) -> bool:
    return entry.request.helms or not entry.request.resource.startswith(_NOT_NEW)


def _repeats(name: str, entry: Entry, occurrence: int) -> bool:
    """Tell whether the same request stands in another plan, or before this one."""
    request, writes = entry.request, entry.request.writes
    begins = request.verb == "watch" or (request.verb == "list" and WORKLOADS[name].away)
    if (begins or request.resource.startswith(_KNOWN)) and name not in _EXAMPLES:
        return True
    told = request.verb == "create" and name != "drift"
    return occurrence > (1 if told else _WRITES if writes else _LOOKS)


def _of_request(name: str, entry: Entry, occurrence: int) -> Iterator[Plan]:
    signature, writes = entry.signature, entry.request.writes
    for fault in _OPENED if entry.request.verb == "watch" else _WRITTEN if writes else _READ:
        yield Plan(name, (Fate(signature, fault, occurrence),), "once")
        if fault in _AGAIN:
            yield Plan(name, (Fate(signature, fault, occurrence, THRICE),), "thrice")
    for fault in _OUTAGES if occurrence == 1 else ():
        yield Plan(name, (Fate(signature, fault, occurrence, seconds=OUTAGE),), "outage")
    for crash in CRASHES if writes else ():
        yield Plan(name, (Fate(signature, crash, occurrence),), "crash")
    if writes:
        yield Plan(name, (Fate(signature, Fault.CRASH_LOST, occurrence, 2),), "crash")
    if writes and name in _KILLED:
        yield Plan(name, (Fate(signature, Fault.CRASH_LOST, occurrence),), "kill")


def _trace(seen: Seen) -> list[Entry]:
    return seen.record.entries()[seen.mark : seen.restarted]


def _numbered(entries: Iterable[Entry]) -> Iterator[tuple[Entry, int]]:
    counted: Counter[str] = Counter()
    for entry in entries:
        counted[entry.signature] += 1
        yield entry, counted[entry.signature]

"""What must never happen, as far as it can be seen from outside: one list of checks for every plan.

Each check gives sentences, one for each violation; a plan is survived if there are none.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from harness import Json
from reliability import release_invariants
from reliability.record import Entry
from reliability.rules import CRASHES, Fault
from reliability.seen import Seen, difference

MARKER: Final = "MARKER-SECRET"
"""Part of every secret that a workload hands to the operator."""
_PROFILES: Final = "connectautoscalingprofiles"
_STATUS: Final = f"{_PROFILES}/status"
_TWICE: Final = frozenset({Fault.LOST, Fault.SLOW, Fault.TRUNCATED, *CRASHES})
"""Faults after which a write that was carried out may be sent again."""
_ALARMS: Final = frozenset({"DriftDetected", "DriftCorrected", "FightDetected", "NodeClaimsLost"})
"""Events that say that somebody did something to what the profile owns."""
_SPARE: Final = 4
"""Status writes that a fault may cost: two transitions there, two back."""

Check = Callable[[Seen, Seen], Iterator[str]]


def only_what_it_owns(seen: Seen, _: Seen) -> Iterator[str]:
    """No write goes to an object that the profile does not own, nor to the spec of the profile."""
    own = {seen.own, f"{seen.own}-server", f"{seen.own}-content"}
    for entry in _writes(seen):
        request = entry.request
        if seen.workload.release and request.namespace:
            if wrong := release_invariants.foreign(entry, seen.own):
                yield f"{entry.signature} {wrong}"
            continue
        claim = request.resource == "nodeclaims" and request.name.startswith(seen.own)
        if request.resource not in {_PROFILES, _STATUS, "nodepools", "nodeclaims"}:
            yield f"{entry.signature} is none of its business"
        elif request.name not in own and not claim:
            yield f"{entry.signature} is not its own"
        if request.resource == _PROFILES and not _only_finalizers(request.body):
            yield f"{entry.signature} writes more than the finalizer: {request.body}"
    if seen.before != seen.after:
        yield f"the NodePool that is nobody's has changed: {seen.before} became {seen.after}"


def nothing_drained(seen: Seen, _: Seen) -> Iterator[str]:
    """No NodeClaim is deleted, and no NodePool but where the profile asks for that."""
    asked = "Delete" in json.dumps((seen.workload.spec or {}).get("deletionPolicy", {}))
    for entry in _writes(seen):
        if entry.request.namespace:
            continue  # nothing there is a node's
        if entry.request.verb.startswith("delete") and not (asked and entry.request.resource == "nodepools"):
            yield f"{entry.signature} drains nodes"


def announced(seen: Seen, _: Seen) -> Iterator[str]:
    """What replaces the nodes at hand, or restarts servers, is done only after a status has shown the plan."""
    if seen.workload.release:
        yield from release_invariants.announced(seen, _writes(seen, since=seen.mark))
    if "content" not in seen.workload.claims:
        return
    shown = False
    for entry in _writes(seen, since=seen.mark):
        if entry.request.resource == _STATUS:
            shown = shown or "ReplacesNodes" in json.dumps(entry.request.body)
        elif entry.signature == "apply nodepools *-content" and not shown:
            yield "nodes were to be replaced, and no status had said so"


def converged(seen: Seen, _: Seen) -> Iterator[str]:
    """The end state is that of the run without faults, and a restart finds nothing to do."""
    if seen.stuck is not None:
        yield seen.stuck
        return
    again = [entry.signature for entry in _writes(seen, since=seen.restarted)]
    if again:
        yield f"a restart of the converged operator wrote {again}{_news(seen)}"
    if not seen.healthy:
        yield "the operator did not live on after the restart"


def within_budget(seen: Seen, undisturbed: Seen) -> Iterator[str]:
    """A fault costs no writes but those that repeat what got lost, and a status or two that tells of it."""
    base, now = _counts(undisturbed), _counts(seen)
    lost = sum(1 for entry in seen.record.entries(seen.mark) if entry.fault in _TWICE and entry.request.writes)
    if seen.workload.release:
        yield from release_invariants.within_budget(seen, undisturbed)
    for what in now.keys() - {_STATUS}:
        if now[what] > base[what] + lost:
            yield f"{now[what]} writes of {what} instead of {base[what]}"
    if now[_STATUS] > base[_STATUS] + lost + _SPARE * (1 + seen.workload.release * seen.fired):
        yield f"{now[_STATUS]} writes of status instead of {base[_STATUS]}"


def told_once(seen: Seen, _: Seen) -> Iterator[str]:
    """Every cause has one event, in each life of the operator."""
    counted = Counter((each["type"], each["reason"], each["note"]) for each in seen.events)
    lives = seen.lives + sum("it begins anew" in line for line in seen.log)
    for (kind, reason, note), count in counted.items():
        # An upgrade that did not begin is begun again on the same revision.
        if count > lives + (seen.fired if reason in release_invariants.UPGRADES else 0):
            yield f"{count} events {kind} {reason}: {note}"


def no_secret(seen: Seen, _: Seen) -> Iterator[str]:
    """No secret is in the status, an event or the log."""
    requests = [entry.request for entry in seen.record.entries()]
    written = [json.dumps(each.body) for each in requests if each.writes and not each.helms]
    for where, text in (("a write", "".join(written)), ("the log", "".join(seen.log))):
        if MARKER in text or "Bearer " in text:
            yield f"a secret is in {where}"


def no_traceback(seen: Seen, _: Seen) -> Iterator[str]:
    """What is not the operator's own fault is told in a sentence."""
    for line in seen.log:
        if "Traceback" in line:
            yield f"Traceback in the log: {line[:80]} ... {line.strip().splitlines()[-1][:300]}"
            return


def stays_alive(seen: Seen, _: Seen) -> Iterator[str]:
    """It does not end by itself."""
    for problem in seen.exits:
        yield f"the operator ended by itself: {problem[:300]}"


CHECKS: Final[tuple[Check, ...]] = (
    only_what_it_owns,
    nothing_drained,
    announced,
    converged,
    within_budget,
    told_once,
    no_secret,
    no_traceback,
    stays_alive,
    release_invariants.no_more_restarts,
    release_invariants.nothing_lost,
    release_invariants.nobody_bothered,
)


def violations(seen: Seen, undisturbed: Seen) -> list[str]:
    """Return everything that must never happen and did.

    Args:
        seen: The plan.
        undisturbed: The same workload without faults.
    """
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(seen, undisturbed)]


def false_alarms(seen: Seen) -> list[str]:
    """Return events that tell of somebody's doing where nobody did anything."""
    if seen.workload.bends:
        return []
    return [f"{each['reason']}: {each['note']}" for each in seen.events if each["reason"] in _ALARMS]


def _writes(seen: Seen, since: int = 0) -> list[Entry]:
    """Return the writes that were carried out from a place on, without Kubernetes Events."""
    entries = seen.record.entries()[since : seen.cleaned]
    return [each for each in entries if each.committed and each.request.resource != "events"]


def _news(seen: Seen) -> str:
    """Say what the status told after the last restart that it had not told before."""
    bodies = [entry.request.body[-1].get("value") for entry in _writes(seen) if entry.request.resource == _STATUS]
    after = sum(entry.request.resource == _STATUS for entry in _writes(seen, since=seen.restarted))
    return f": {difference(bodies[-1], bodies[-after - 1])}" if 0 < after < len(bodies) else ""


def _counts(seen: Seen) -> Counter[str]:
    end = seen.restarted or seen.cleaned
    entries = seen.record.entries()[seen.mark : end]
    return Counter(
        entry.request.resource
        for entry in entries
        if entry.committed and entry.request.resource != "events" and not entry.request.namespace
    )


def _only_finalizers(body: Any) -> bool:
    operations: list[Json] = body if isinstance(body, list) else [{"op": "add", "path": "/"}]
    return all(each["op"] == "test" or each["path"].startswith("/metadata/finalizers") for each in operations)

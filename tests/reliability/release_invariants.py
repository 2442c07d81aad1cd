"""What must never happen to a Helm release, as far as it can be seen from outside."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from harness.releases import NAME, SERVER
from reliability.record import Entry
from reliability.rules import CRASHES, Fault
from reliability.seen import Seen

MEMORY: Final = "connect-autoscaler-"
"""What the name begins with under which the operator remembers a release."""
UPGRADES: Final = frozenset({"UpgradeStarted", "UpgradeSucceeded", "UpgradeFailed", "ReleaseUnlocked"})
"""Events of upgrades: each attempt has its own."""
_REVISION: Final = f"sh.helm.release.v1.{NAME}.v"
_PASSING: Final = frozenset(
    {"error:500", "error:503", "error:504", "error:401", "error:429", Fault.THROTTLED, Fault.RESET, Fault.SLOW}
    | {Fault.LOST, *CRASHES}
)
"""Faults after which everything is as it was before: nobody is to be bothered with them."""
_STATES: Final = 3
"""Writes of what is remembered of an upgrade that is begun, ends, or is taken over from a dead one."""


def foreign(entry: Entry, own: str) -> str | None:
    """Say why a write of a namespaced object should not be; None: it is the release's, or what is remembered of it."""
    request = entry.request
    name = request.name or (request.body or {}).get("metadata", {}).get("name", "")
    if request.namespace != own:
        return "is in somebody else's namespace"
    if not request.helms:
        mine = request.resource == "secrets" and name == MEMORY + own
        return None if mine else "is none of its business"
    helms = request.resource == "secrets" and name.startswith(_REVISION)
    if not (helms or name.startswith(SERVER)):
        return f"is not of the release: {name}"
    return "takes something away" if request.verb.startswith("delete") else None


def announced(seen: Seen, writes: list[Entry]) -> Iterator[str]:
    """Helm changes nothing before a status has shown that the servers are going to restart."""
    shown = False
    for entry in writes:
        if entry.request.resource == "connectautoscalingprofiles/status":
            shown = shown or "RestartsServer" in str(entry.request.body)
        elif entry.request.helms and not shown:
            yield f"{entry.signature} came before any status had said that the servers restart"
            return
    if seen.workload.release and not shown:
        yield "no status has ever said that the servers restart"


def no_more_restarts(seen: Seen, undisturbed: Seen) -> Iterator[str]:
    """The servers restart once for one change; and there and back for each upgrade that failed."""
    allowed = undisturbed.restarts + 2 * seen.undone
    if seen.restarts > allowed:
        yield f"{seen.restarts} pod templates followed each other instead of {allowed}"


def nothing_lost(seen: Seen, _: Seen) -> Iterator[str]:
    """What the user has set is in the values still; nothing else is if the profile gave the release back."""
    if not seen.workload.release or seen.stuck:
        return
    restored = "Restore" in str((seen.workload.spec or {}).get("deletionPolicy"))
    if restored and seen.values != seen.wanted:
        yield f"the values are not those from before: {seen.values}"
    elif not _within(seen.wanted, seen.values):
        yield f"the user's {seen.wanted} are not in {seen.values}"


def nobody_bothered(seen: Seen, _: Seen) -> Iterator[str]:
    """Nobody has to ask for another attempt because of what passes by itself."""
    met = {entry.fault for entry in seen.record.entries(seen.mark) if entry.fault}
    if seen.asked and met <= _PASSING:
        yield f"somebody had to ask for another attempt after {', '.join(sorted(met))}"


def within_budget(seen: Seen, undisturbed: Seen) -> Iterator[str]:
    """A fault costs one operation of helm back, and one more forth; and what is remembered of them."""
    base, now = _written(undisturbed), _written(seen)
    allowed = base["revisions"] + 2 * seen.fired
    if now["revisions"] > allowed:
        yield f"{now['revisions']} revisions instead of {base['revisions']}"
    begun = max(now["revisions"] - base["revisions"], 0) + seen.fired
    if now["memory"] > base["memory"] + _STATES * begun:
        yield f"{now['memory']} writes of what is remembered instead of {base['memory']}"


def _written(seen: Seen) -> Counter[str]:
    """Count the revisions that helm began, and the writes of what the operator remembers."""
    secrets = [each for each in seen.record.entries(seen.mark) if each.committed and each.request.resource == "secrets"]
    return Counter(
        "memory" if not entry.request.helms else "revisions" if entry.request.verb == "create" else "ends"
        for entry in secrets
    )


def _within(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(_within(value, whole.get(key)) for key, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(_within(each, other) for other in whole) for each in part)
    return bool(part == whole)

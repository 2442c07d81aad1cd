"""All that was seen of one plan, for those who judge it."""

from dataclasses import dataclass, field

from harness import Json
from reliability.record import Record
from reliability.stage import Picture
from reliability.workloads import Workload


@dataclass
class Seen:
    """What was seen of one plan.

    Attributes:
        workload: What was done.
        own: The name that all objects began with.
        before: State of the NodePool that is nobody's, at the beginning.
        after: The same at the end.
        picture: The end state.
        record: All requests.
        mark: Where in the record the steps begin.
        events_mark: The same among the events of watches.
        shown: Events of watches from there to the last restart.
        restarted: Where in the record the last restart begins, which is to write nothing.
        cleaned: Where in the record the removal of the profile begins, of which nothing is judged.
        fired: How many requests or events were met by faults.
        events: Kubernetes Events about the profile, in all.
        lives: How often the operator was started, but for the last restart.
        log: Lines of all incarnations.
        crashes: How often the operator was killed.
        exits: What the operator ended with by itself.
        stuck: Why the end state was not reached; None: it was.
        seconds: From the first step to the end state.
        healthy: Whether its liveness probe answered at the end.
        restarts: How many pod templates of the release's servers came from the first step to the end state.
        undone: How many upgrades failed from there on.
        values: The release's values in the end.
        wanted: Values that the user has set, and nobody may lose.
        asked: How often somebody had to ask for another attempt, since status said that none comes by itself.
    """

    workload: Workload
    own: str = ""
    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    picture: Picture = field(default_factory=dict)
    record: Record = field(default_factory=Record)
    mark: int = 0
    events_mark: int = 0
    shown: list[str] = field(default_factory=list)
    restarted: int = 0
    cleaned: int = 0
    fired: int = 0
    events: list[Json] = field(default_factory=list)
    lives: int = 0
    log: list[str] = field(default_factory=list)
    crashes: int = 0
    exits: list[str] = field(default_factory=list)
    stuck: str | None = None
    seconds: float = 0.0
    healthy: bool = True
    restarts: int = 0
    undone: int = 0
    values: Json = field(default_factory=dict)
    wanted: Json = field(default_factory=dict)
    asked: int = 0


def difference(found: object, wanted: object, at: str = "") -> str:
    """Say where two pictures differ, in a few words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        parts = [difference(found.get(key), wanted.get(key), f"{at}/{key}") for key in sorted({*found, *wanted})]
        return "; ".join(part for part in parts if part)
    return "" if found == wanted else f"{at}: {found!r} instead of {wanted!r}"

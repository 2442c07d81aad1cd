"""What colleagues do to NodePools, and how long it lasts."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from harness import NODE_POOLS, Api, Event, Json, Profile, Timeline
from sandbox import NotYetError, eventually

_PATIENCE: Final = 10.0  # seconds for a correction that usually takes milliseconds
_TEMPLATE: Final = "/spec/template"


@dataclass(frozen=True)
class Bend:
    """One deed.

    Attributes:
        what: In a few words.
        command: As one would type it.
        pool: The NodePool that it is done to.
        path: How the JSON pointer begins that the operator has to name.
        do: Does it.
    """

    what: str
    command: str
    pool: str
    path: str
    do: Callable[[Api], object]


@dataclass(frozen=True)
class Heal:
    """What became of it.

    Attributes:
        bend: The deed.
        milliseconds: From the request's leaving to the watch event that showed everything right again; None: never.
            Not from the event that showed it wrong: when both arrive in one piece, nothing would seem to lie between.
        item: What the profile's status says of it; empty: nothing.
    """

    bend: Bend
    milliseconds: float | None = None
    item: Json = field(default_factory=dict)

    @property
    def healed(self) -> bool:
        return self.milliseconds is not None and bool(self.item)


def bends(profile: Profile) -> list[Bend]:
    """Return the deeds, mildest first; the last one is for a pool that has a node."""
    server, content = profile.server, profile.content
    consolidate = {"spec": {"disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized"}}}
    label = {"spec": {"template": {"metadata": {"labels": {"team": "data"}}}}}
    untaint = [{"op": "remove", "path": "/spec/template/spec/taints"}]
    return [
        Bend(
            "consolidation switched on under the server",
            f"kubectl edit nodepool {server}   # consolidationPolicy: WhenEmptyOrUnderutilized",
            server,
            "/spec/disruption/consolidationPolicy",
            partial(Api.merge, kind=NODE_POOLS, name=server, patch=consolidate, manager="kubectl-edit"),
        ),
        Bend(
            "taint of the server pool removed",
            f"kubectl patch nodepool {server} --type=json -p '{_json_patch(untaint)}'",
            server,
            f"{_TEMPLATE}/spec/taints",
            partial(Api.json_patch, kind=NODE_POOLS, name=server, operations=untaint, manager="kubectl-patch"),
        ),
        Bend(
            "foreign label put into the content template",
            f"kubectl edit nodepool {content}   # template label team: data",
            content,
            f"{_TEMPLATE}/metadata/labels",
            partial(Api.merge, kind=NODE_POOLS, name=content, patch=label, manager="kubectl-edit"),
        ),
        Bend(
            "content pool deleted",
            f"kubectl delete nodepool {content}",
            content,
            "/",
            partial(Api.delete, kind=NODE_POOLS, name=content),
        ),
        Bend(
            "protected server pool deleted, its node in use",
            f"kubectl delete nodepool {server}",
            server,
            "/",
            partial(Api.delete, kind=NODE_POOLS, name=server),
        ),
    ]


async def heal(bend: Bend, profile: Profile, timeline: Timeline) -> Heal:
    """Do it, and wait until it is undone.

    Args:
        bend: What to do.
        profile: Whose operator has to undo it.
        timeline: A watch of NodePools.
    """
    before = profile.pool(bend.pool)
    since = timeline.mark()
    sent = time.perf_counter()
    # In a thread: the loop has to be free to take the time of what the watch shows.
    await asyncio.to_thread(bend.do, profile.api)
    try:
        bent = await timeline.until(lambda event: _is(event, before) and not _right(event, before), since=since)
        right = await timeline.until(
            lambda event: event.at > bent.at and _right(event, before), since=since, seconds=_PATIENCE
        )
    except TimeoutError:
        return Heal(bend)
    return Heal(bend, (right.at - sent) * 1000)


async def reported(done: Heal, profile: Profile) -> Heal:
    """Wait until the profile's status tells of it, which may take two seconds: it gathers what belongs together."""

    def item() -> Json:
        found = (each for each in profile.drift() if _tells_of(each, done.bend))
        return next(each for each in found if each["action"] == "Corrected")

    try:
        return replace(done, item=await eventually(item, timeout=_PATIENCE, interval=0.05))
    except NotYetError:
        return done


def _is(event: Event, before: Json) -> bool:
    return event.name == str(before["metadata"]["name"])


def _right(event: Event, before: Json) -> bool:
    """Whether the pool is there to stay, and exactly as it was."""
    live = event.object
    there = event.type != "DELETED" and "deletionTimestamp" not in live["metadata"]
    return _is(event, before) and there and _declared(live) == _declared(before)


def _declared(pool: Json) -> tuple[Json, Json]:
    return pool["spec"], pool["metadata"].get("labels", {})


def _tells_of(item: Json, bend: Bend) -> bool:
    path = str(item["path"])
    same = path == "/" if bend.path == "/" else path.startswith(bend.path)
    return same and bool(item["target"] == f"NodePool/{bend.pool}")


def _json_patch(operations: list[dict[str, Any]]) -> str:
    inner = ", ".join(f'"{key}": "{value}"' for operation in operations for key, value in operation.items())
    return f"[{{{inner}}}]"

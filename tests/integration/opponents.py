"""Somebody who undoes whatever the operator does, as fast as he sees it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from pykube.exceptions import HTTPError

from harness import Api, Json, Kind, Profile, unique, watch
from harness.background import Background, Signals, until_stopped
from integration.kstatus import assert_regular, conditions, kstatus
from sandbox import Cluster
from sandbox.access import client

OPPONENT: Final = "opponent-controller"
LONG, SHORT = 8.0, 3.0
"""Seconds of a fight; all of it is within the first minute."""
MOST = 6
"""Corrections of one path within a minute: more than five are a fight."""
STATUS_BURST, STATUS_PAUSE = 5, 2.0
"""Writes of a status that go without delay, and seconds between those that follow."""


class Opponent(Background):
    """A controller that follows one object, and makes a move whenever it does not like what it sees.

    Args:
        cluster: Where.
        kind: Of the object.
        name: Of the object.
        move: Writes as this controller; tells whether there was anything to do.
        every: Seconds between looks of one that does not follow it, but looks again and again.

    Attributes:
        moves: How often there was.
    """

    def __init__(
        self, cluster: Cluster, kind: Kind, name: str, move: Callable[[Api, Json], bool], *, every: float | None = None
    ) -> None:
        self.moves = 0
        self._cluster, self._kind, self._name, self._move, self._every = cluster, kind, name, move, every
        super().__init__(OPPONENT, self._work)

    async def _work(self, signals: Signals) -> None:
        await until_stopped(signals, self._fight(signals.ready))

    async def _fight(self, started: asyncio.Event) -> None:
        http = client(self._cluster.kubeconfig)
        with contextlib.closing(http.session):
            async for body in self._bodies(Api(http), started):
                with contextlib.suppress(HTTPError):  # gone or changed meanwhile
                    self.moves += self._move(Api(http), body)

    async def _bodies(self, api: Api, started: asyncio.Event) -> AsyncIterator[Json]:
        """Yield the object as it is each time he looks."""
        if self._every is None:
            async for event in watch(self._cluster, self._kind, started=started):
                if event.name == self._name and event.type != "DELETED":
                    yield event.object
            return
        started.set()
        while True:
            if body := api.find(self._kind, self._name):
                yield body
            await asyncio.sleep(self._every)


def patching(
    kind: Kind,
    patch: Mapping[str, Any],
    *,
    unless: Callable[[Json], bool],
    subresource: str = "",
    manager: str = OPPONENT,
) -> Callable[[Api, Json], bool]:
    """Return a move: a merge patch, unless it is in place already."""

    def move(api: Api, body: Json) -> bool:
        if unless(body):
            return False
        api.merge(kind, body["metadata"]["name"], patch, manager=manager, subresource=subresource)
        return True

    return move


async def fighting(profile: Profile, field: str) -> str:
    """Wait until a fight over a field is told; return the message."""
    body = await profile.condition_is("Fighting", "True", "FightDetected")
    assert_regular(body)
    message = str(conditions(body)["Fighting"]["message"])
    assert field in message
    return message


async def at_peace(profile: Profile) -> None:
    """Ask for a fresh start, and wait until all is well."""
    profile.annotate(requestedAt=unique())
    await profile.condition_is_absent("Fighting")
    body = await profile.ready()
    assert_regular(body)
    assert kstatus(body) == "Current"
    await profile.condition_is("Drifted", "False", "NoDriftDetected")

"""Carrying out a plan when nobody answers."""

import asyncio
import time
from typing import cast

from kubernetes.aio import client

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.act import Actor
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.model import Action, Plan, Verb
from connect_autoscaler.core.release_keeper import ReleaseKeeper
from unit.builders import NOW

PATIENCE = 0.2
POOLS = 10


async def test_a_silent_api_server_is_waited_for_once() -> None:
    """Liveness goes by passes: one that waited for an answer at each pool would count as hung, and be restarted."""
    connections: list[asyncio.StreamWriter] = []

    def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Kube(client.Configuration(host=host), patience=PATIENCE) as kube:
            actor = Actor(kube, lambda _: None, cast("ReleaseKeeper", None))
            targets = [f"NodePool/pool-{number}" for number in range(POOLS)]
            began = time.monotonic()
            outcome = await actor.act(Plan(actions=tuple(Action(Verb.CREATE, each) for each in targets)), NOW)
            assert time.monotonic() - began < PATIENCE * POOLS / 2
        for each in connections:
            each.close()
    assert [(action.target, error.reason) for action, error in outcome.failed] == [(targets[0], Reason.API_UNAVAILABLE)]
    assert (outcome.done, len(connections)) == ((), 1)

"""An operator in haste with one profile, for what is done to its surroundings rather than to single requests."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from harness import NODE_POOLS, Workspace, unique
from reliability.incarnation import Incarnation
from reliability.proxy import Proxy
from reliability.record import Record
from reliability.rules import Rules
from reliability.stage import Stage
from reliability.workloads import ready
from reliability.world import World
from sandbox import eventually

LIMIT = 90.0
"""Seconds in which a machine that is busy with other tests lets the operator heal."""


@dataclass(frozen=True)
class Life:
    """What a test does things to.

    Attributes:
        stage: The profile and its pools, converged.
        operator: Behind the proxy.
        rules: Of the proxy.
        record: Of the proxy.
    """

    stage: Stage
    operator: Incarnation
    rules: Rules
    record: Record

    def bend(self, weight: int = 99) -> None:
        """Change a field of the content pool."""
        self.stage.api.merge(NODE_POOLS, self.stage.profile.content, {"spec": {"weight": weight}})

    def straight(self) -> bool:
        """Tell whether that field is as the profile wants it."""
        return bool(self.stage.profile.pool(self.stage.profile.content)["spec"].get("weight") == 5)

    async def heals(self) -> None:
        """Bend it, and wait until it is straight and reported."""
        self.bend()
        await eventually(self.straight, timeout=LIMIT, interval=0.02)
        await eventually(lambda: ready(self.stage), timeout=LIMIT, interval=0.05)


@contextlib.asynccontextmanager
async def life(it: World, *, last: int | None = None, **options: Any) -> AsyncIterator[Life]:
    """Have an operator and a profile that is Ready.

    Args:
        it: Where.
        last: How many requests and log lines are kept; None: all.
        options: Of the operator.
    """
    own, record, rules = unique("c"), Record(last), Rules()
    async with (
        it.proxies.open(Proxy(it.cluster, own, record, rules)) as proxy,
        Incarnation(proxy, it.kubeconfig, last=last, **options) as operator,
        Workspace(it.cluster) as workspace,
    ):
        stage = Stage(workspace, own)
        stage.create_profile()
        await eventually(lambda: ready(stage), timeout=LIMIT, interval=0.05)
        yield Life(stage, operator, rules, record)
        assert not operator.ended
        assert "Traceback" not in "\n".join(operator.log.lines)

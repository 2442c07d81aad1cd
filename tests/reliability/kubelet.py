"""A kubelet's part: it asks an operator in haste for liveness all the time, and must find no reason to restart it."""

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final

from connect_autoscaler.core import probes
from harness.background import Background, Signals
from harness.rights import missing
from reliability.haste import ANSWER
from reliability.life import Life, life
from reliability.world import World
from sandbox.components import free_ports

STUCK_AFTER: Final = probes.STUCK_AFTER * ANSWER / 30
"""When a pass counts as hung, shortened as the waiting for one answer is."""
_ALIVE: Final = "200 ok"
_EVERY: Final = 0.05
_PATIENCE: Final = 5.0
"""Seconds for an answer, as in deploy/base/deployment.yaml."""


class Kubelet(Background):
    """Asks for /healthz.

    Args:
        port: The operator's, on loopback.

    Attributes:
        answers: How often it was told what.
    """

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self._url = f"http://127.0.0.1:{port}/healthz"
        super().__init__("kubelet", self._work)

    async def _work(self, signals: Signals) -> None:
        signals.ready.set()
        while not signals.stop.is_set():
            self.answers[await asyncio.to_thread(_asked, self._url)] += 1
            await asyncio.sleep(_EVERY)

    def never_restarts(self) -> None:
        """Check that every answer said that the operator is alive."""
        assert set(self.answers) == {_ALIVE}, self.answers


def _asked(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PATIENCE) as answer:
            return f"{answer.status} {answer.read().decode().strip()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode().strip()}"
    except OSError as error:
        return f"no answer: {type(error).__name__}"


@contextlib.contextmanager
def _strict(stuck_after: timedelta) -> Iterator[None]:
    """Have liveness fail as early as it does beside an operator in haste, while the context lasts."""
    before = probes.serve
    probes.serve = partial(before, stuck_after=stuck_after)
    try:
        yield
    finally:
        probes.serve = before


@contextlib.asynccontextmanager
async def watched(it: World, *, stuck_after: timedelta = STUCK_AFTER, **options: Any) -> AsyncIterator[Life]:
    """Have an operator as `life` does, under the eyes of a kubelet, and with no other rights than are shipped."""
    (port,), since = free_ports(1), it.cluster.audit.marker()
    with _strict(stuck_after):
        async with life(it, liveness_port=port, **options) as one, Kubelet(port) as kubelet:
            yield one
    kubelet.never_restarts()
    assert not (refused := missing(it.cluster, since=since)), refused

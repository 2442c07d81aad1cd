"""The operator's own HTTP server for probes: it tells of finished passes, not of a turning event loop."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from aiohttp import web

from connect_autoscaler.core.listening import listening

STUCK_AFTER: Final = timedelta(minutes=3)
"""A pass that is overdue for so long has hung: its requests alone are bounded by 30 s each."""


@asynccontextmanager
async def serve(
    port: int, *, overdue: Callable[[], timedelta], ready: Callable[[], bool], stuck_after: timedelta = STUCK_AFTER
) -> AsyncIterator[int]:
    """Serve ``/healthz`` and ``/readyz``.

    Args:
        port: TCP port, on all interfaces; 0 takes any free one, on loopback.
        overdue: How long the most overdue pass has been waiting to finish.
        ready: Whether the caches are complete.
        stuck_after: From when on ``/healthz`` fails.

    Yields:
        The port.
    """

    async def healthz(_: web.Request) -> web.Response:
        late = overdue()
        if late > stuck_after:
            return web.Response(status=503, text=f"no pass finished for {late.total_seconds():.0f} s\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="caches are not complete\n")

    async with listening(port, [web.get("/healthz", healthz), web.get("/readyz", readyz)]) as actual:
        yield actual

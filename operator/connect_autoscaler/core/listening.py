"""The operator's own HTTP servers, in its own event loop."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def listening(port: int, routes: Iterable[web.AbstractRouteDef]) -> AsyncIterator[int]:
    """Serve while the context lasts.

    Args:
        port: TCP port, on all interfaces; 0 takes any free one, on loopback.
        routes: What is served.

    Yields:
        The port.

    Raises:
        OSError: The port is taken, or not this user's to take.
    """
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        # All interfaces have one port only if it is named; a free one is for the machine itself.
        site = web.TCPSite(runner, host=None if port else "127.0.0.1", port=port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()

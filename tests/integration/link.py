"""A network between one replica and the API server, which can be partitioned."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

from harness.background import Background, Signals

_CHUNK: Final = 64 * 1024


class Link(Background):
    """Forwards TCP connections; the API server's audit log knows the replica by the address they come from.

    While it is cut, whatever is sent is lost, and nobody is told, as if a router had died; what was connected then is
    reset when it is mended.

    Args:
        server: Address of the API server.
        source: An address of loopback, such as 127.0.0.2.

    Attributes:
        source: The same.
        port: Where to connect, on 127.0.0.1.
    """

    def __init__(self, server: str, source: str) -> None:
        address = urlsplit(server)
        assert address.hostname
        assert address.port
        self._server = address.hostname, address.port
        self.source = source
        self.port = 0
        self._cut = False
        self._open: set[asyncio.StreamWriter] = set()
        super().__init__(f"link {source}", self._work)
        self._loop: asyncio.AbstractEventLoop | None = None

    def cut(self) -> None:
        """Lose everything from now on."""
        self._cut = True

    def mend(self) -> None:
        """Reset what is connected, and let new connections through."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._cut = False

    async def _work(self, signals: Signals) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        signals.ready.set()
        await signals.stop.wait()
        server.close()
        self._reset()
        await asyncio.sleep(0.01)  # for the ends of connections to be noticed

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._open.add(writer)
        try:
            if self._cut:
                await self._pump(reader, writer)
                return
            far_reader, far_writer = await asyncio.open_connection(*self._server, local_addr=(self.source, 0))
            ends.append(far_writer)
            self._open.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):  # the end of the link is no news
            pass
        finally:
            self._open.difference_update(ends)
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if not self._cut:
                writer.write(data)
                await writer.drain()
        if not self._cut:
            writer.close()

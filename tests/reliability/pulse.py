"""What a watch tells beside the events that are passed on: that it lives, and what was held back."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from types import TracebackType

from aiohttp import web


class Pulse:
    """Bookmarks of a watch, while the context lasts.

    Attributes:
        version: The resourceVersion that they tell.
    """

    def __init__(self, outgoing: web.StreamResponse, query: Mapping[str, str], seconds: float) -> None:
        self.version = query.get("resourceVersion", "")
        self._outgoing, self._seconds = outgoing, seconds
        self._wanted = query.get("allowWatchBookmarks") in {"true", "1"}
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if self._wanted:
            self._task = asyncio.create_task(self._run())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Tell nothing more."""
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await asyncio.sleep(self._seconds)
                body = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": self.version}}}
                await self._outgoing.write(json.dumps(body).encode() + b"\n")


def flush(kept: list[bytes], outgoing: web.StreamResponse) -> None:
    """Send what was kept back for an exchange with an event that never came."""

    async def send() -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            for line in kept:
                await outgoing.write(line)
            kept.clear()

    task = asyncio.ensure_future(send())
    task.add_done_callback(lambda done: done.exception())

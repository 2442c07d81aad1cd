"""A coroutine in a thread with an event loop of its own."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Signals:
    """What the coroutine is given, both of its own loop."""

    stop: asyncio.Event
    """Set when it has to end."""
    ready: asyncio.Event
    """To be set as soon as it works."""


class Background:
    """Runs `main` beside the tests.

    Not as a task of the tests' own loop: Kopf ends by cancelling every task of its loop that is younger than itself,
    tests included; and tests that use synchronous clients would hold it up.
    """

    def __init__(self, name: str, main: Callable[[Signals], Awaitable[None]]) -> None:
        self.name = name
        self._main = main
        self._ready: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._stop: Callable[[], None] = lambda: None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def start(self, seconds: float = 30) -> None:
        """Start it and wait until it works.

        Raises:
            BaseException: Whatever ended it before.
            TimeoutError: If it does not get ready.
        """
        self.thread.start()
        ready, ended = asyncio.wrap_future(self._ready), asyncio.wrap_future(self._ended)
        await asyncio.wait({ready, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
        if not ready.done():
            await self.stop()
            raise TimeoutError(f"{self.name} is not ready after {seconds:g} s")

    async def stop(self, seconds: float = 30) -> None:
        """End it, and raise whatever it raised."""
        self._stop()
        await asyncio.wait_for(asyncio.wrap_future(self._ended), seconds)
        self.thread.join()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._supervise())
        except BaseException as error:  # noqa: BLE001 - it is raised in start or stop
            _forget_connections()
            self._ended.set_exception(error)
        else:
            _forget_connections()
            self._ended.set_result(None)

    async def _supervise(self) -> None:
        loop, signals = asyncio.get_running_loop(), Signals(asyncio.Event(), asyncio.Event())
        self._stop = lambda: None if loop.is_closed() else _call(loop, signals.stop.set)
        announcing = asyncio.create_task(self._announce(signals.ready))
        try:
            await self._main(signals)
        finally:
            announcing.cancel()

    async def _announce(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self._ready.set_result(None)


async def until_stopped(signals: Signals, work: Coroutine[Any, Any, None]) -> None:
    """Work until the stop, and raise what ends it before."""
    stopping, working = asyncio.create_task(signals.stop.wait()), asyncio.create_task(work)
    await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    working.cancel()


def _forget_connections() -> None:
    """Collect what the loop left open, here and now, and not with a warning in the middle of some later test.

    Nobody waits for the last words of TLS connections, and Kopf loses a session now and then when it is stopped.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)

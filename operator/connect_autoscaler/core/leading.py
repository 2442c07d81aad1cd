"""What a replica does with the Lease: wait for it, work while it is held, and end with it."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Final

from connect_autoscaler.core.lease import Lease, LeaseLostError
from connect_autoscaler.release import child

log = logging.getLogger(__name__)

_LEFT: Final = 1.0
"""Seconds that this process has to end by itself when it has lost the Lease."""


async def lead(
    lease: Lease, work: Callable[[], Coroutine[Any, Any, None]], stop: asyncio.Event, healthy: Callable[[], bool]
) -> None:
    """Work while the Lease is held, and give it back at the end.

    Args:
        lease: Not held yet.
        work: Started once it is.
        stop: Ends the waiting; `work` has its own end.
        healthy: Whether the work goes on as it should; if not, the Lease is left to others.

    Raises:
        LeaseLostError: It was lost; helm has been killed and the work cancelled, and the process has to end.
    """
    with _Alarm(lease):
        if not await _acquired(lease, stop):
            return
        # Both before Kopf starts, which ends all tasks that are younger than it is.
        keeping = asyncio.create_task(lease.keep(healthy), name=lease.what)
        working = asyncio.create_task(work(), name="leader")
        try:
            await asyncio.wait({keeping, working}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                child.kill_all()  # before anything else: its rollback would write, too
                log.error("%s; nothing more is written, and the process ends", keeping.exception())
                await keeping
            await working
        finally:
            working.cancel()
            await asyncio.wait({working}, timeout=_LEFT / 2 if keeping.done() else None)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            if working.done():
                await lease.release()


async def _acquired(lease: Lease, stop: asyncio.Event) -> bool:
    """Wait for the Lease, or the end."""
    acquiring, stopping = asyncio.create_task(lease.acquire()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await acquiring
        return not stopping.done()
    finally:
        for task in (acquiring, stopping):
            task.cancel()
        await asyncio.gather(acquiring, stopping, return_exceptions=True)
        if stop.is_set():
            await lease.release()  # it may have come together with the end


class _Alarm:
    """Ends a process that lives longer than its Lease, whatever held it up: it may have been frozen all the time.

    The kernel counts, and when a frozen process goes on, signals come first. Python handles them in the main thread
    only; elsewhere there is no alarm.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease, self._lost = lease, False
        self._usable = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._usable:
            signal.signal(signal.SIGALRM, self._ring)
            self._lease.renewed = self._set

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lost = isinstance(error, LeaseLostError)
        if self._usable:
            signal.setitimer(signal.ITIMER_REAL, _LEFT if self._lost else 0)

    def _set(self, left: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, left + _LEFT)

    def _ring(self, _: int, __: FrameType | None) -> None:
        try:
            child.kill_all()
            if not self._lost:
                log.error("%s was not renewed in time: the process was held up, and ends", self._lease.what)
        finally:
            os._exit(1)

"""A pace that spares the server: so many requests a second on average, whatever they take."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

INTERVAL: Final = 0.55
"""Seconds between two requests of a sweep: 1.8 a second, and so below 2 on any stretch of more than a few."""


class Pace:
    """Lets callers through one after the other, an interval apart; a pause earns nobody a burst.

    Args:
        interval: Seconds.
        clock: Seconds of a monotonic clock.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        interval: float = INTERVAL,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval, self._clock, self._sleep = interval, clock, sleep
        self._next = float("-inf")

    async def turn(self) -> None:
        """Wait for a turn."""
        now = self._clock()
        at = max(now, self._next)
        self._next = at + self._interval
        if at > now:
            await self._sleep(at - now)

"""Waiting for a condition instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")

_REST: Final = 4.0
"""Pause after a call, in times of what it took: all waiting together costs a fifth of a core at most."""
_LATE: Final = 0.05
"""Pause as a part of the waiting so far: by so much a condition may be seen late."""


class NotYetError(AssertionError):
    """Raised when a condition did not come true in time; its text is the last failure's."""


@overload
async def eventually(
    check: Callable[[], Awaitable[T]],
    *,
    timeout: float = 30,  # noqa: ASYNC109 - see below
    interval: float = 0.1,
) -> T: ...
@overload
async def eventually(
    check: Callable[[], T],
    *,
    timeout: float = 30,  # noqa: ASYNC109 - see below
    interval: float = 0.1,
) -> T: ...
async def eventually(
    check: Callable[[], Any],
    *,
    timeout: float = 30,  # noqa: ASYNC109 - asyncio.timeout would hide what the condition said last
    interval: float = 0.1,
) -> Any:
    """Call `check` until it passes, and return what it returned.

    It has passed when it raises nothing and returns something true. A function that only asserts must end with
    `return True`: otherwise a look-up that finds nothing would pass.

    Args:
        check: A function or coroutine function without arguments.
        timeout: Seconds after which to give up; `check` is called at least once.
        interval: Seconds between two calls at the beginning. They become fewer the longer a call takes, and the longer
            it all takes: who waits must not keep those busy he waits for.

    Raises:
        NotYetError: With the last failure's message, and that failure as its cause.
    """
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        cause: Exception | None = None
        try:
            value = check()
            result = await value if inspect.isawaitable(value) else value
            if result:
                return result
            last = f"the condition returned {result!r}"
        except Exception as error:  # noqa: BLE001 - any failure of the condition means "not yet"
            cause, last = error, f"{type(error).__name__}: {error}"
        now = time.monotonic()
        if now >= began + timeout:
            raise NotYetError(f"not within {timeout:g} s: {last}") from cause
        await asyncio.sleep(max(interval, _REST * (now - asked), _LATE * (now - began)))


def poll(check: Callable[[], bool], *, timeout: float, interval: float = 0.02) -> bool:
    """Call `check` until it is true, blocking; tell whether it became true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True

"""Kopf ends at the first answer that it does not expect. It is made to end indeed, told of in a line, and begun anew.

What ends it: a watch that reports an error other than 410, a list that is answered with 400, 404, 409 or 422, half an
answer. Its caches are worth nothing then. To leave it at that would be a process that is alive and sees nothing.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Final

from kopf._cogs.structs.references import NAMESPACES, Insights  # no public name

from connect_autoscaler.api.clipping import clip

log = logging.getLogger(__name__)

RESTS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before Kopf is started again after it has failed."""
_LONG: Final = 60.0
"""Seconds of work after which a failure is not the continuation of the one before."""
_FAREWELL: Final = 8.0
"""Seconds that Kopf has to end once it has cleaned up; it gives its tasks five of them."""
_AGAIN: Final = 0.2
"""Seconds between attempts to end tasks that have swallowed the first."""
_ROUNDS: Final = 25
"""Of such attempts."""
_SAID: Final = 300
"""Bytes of an error of Kopf's that are told."""
Task = asyncio.Task[Any]
_LOGGERS: Final = ("kopf._core.reactor.orchestration", "kopf._core.reactor.running")
"""Of what ends Kopf."""


async def over_and_over(serve: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    """Serve until it says that it is enough, or until the stop; failures cost a rest.

    Args:
        serve: Runs Kopf once, and tells whether to run it again.
        stop: Ends it all.
    """
    again, failures = True, 0
    while again and not stop.is_set():
        began = time.monotonic()
        try:
            again = await serve()
        except Exception as error:
            failures = 0 if time.monotonic() - began > _LONG else failures
            seconds = RESTS[min(failures, len(RESTS) - 1)]
            failures += 1
            log.warning("watching has ended (%s); it begins anew in %g s", _text(error), seconds)
            log.debug("the reason in full", exc_info=error)
            await rest(stop, seconds)


async def see(insights: Insights, kinds: Collection[str]) -> None:
    """Be sure that Kopf has found what it is to watch, and wait for ever.

    One answer of 404 to discovery, as of an API server that has not heard of a new CRD yet, and Kopf would go without
    that kind, or without everything.

    Args:
        insights: What Kopf has found.
        kinds: Names of CRDs that exist.

    Raises:
        LookupError: It has not found everything.
    """
    await insights.ready_resources.wait()
    found = {f"{each.plural}.{each.group}" for each in insights.watched_resources}
    missing = [*sorted({*kinds} - found), *(["namespaces"] if NAMESPACES not in insights.backbone else [])]
    if missing:
        raise LookupError(f"discovery does not show {', '.join(missing)}")
    await asyncio.Event().wait()


async def rest(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, unless the stop comes."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def insist(
    roots: Collection[Task],
    run: Coroutine[Any, Any, None],
    before: Collection[Task],
    cleaned: asyncio.Event,
    grace: float,
) -> None:
    """Run Kopf, and have it end once it has begun to.

    By itself it may not: a watch whose cancellation met the end of another one goes on, and Kopf waits for it for ever.

    Args:
        roots: Kopf's own tasks; with the end of the first one its end begins.
        run: What waits for them.
        before: All other tasks there are.
        cleaned: Set when its last handler has ended.
        grace: Seconds that this handler may take.

    Raises:
        Exception: What ended it.
    """
    running = asyncio.create_task(run, name="kopf")
    cleaning = asyncio.create_task(cleaned.wait(), name="end of kopf")
    try:
        await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running, cleaning}, timeout=grace + _FAREWELL, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=_FAREWELL)
    finally:
        forced = not running.done()
        cleaning.cancel()
        for _ in range(_ROUNDS):
            if left := asyncio.all_tasks() - {*before}:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=_AGAIN)
    if forced:
        raise RuntimeError("a watch failed, and others would not end")
    await running


class _InOneLine(logging.Filter):
    """What ends Kopf is mostly the API server's doing, and it begins anew: a sentence says more than a Traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not log.isEnabledFor(logging.DEBUG):
            record.exc_info = None
        return True


_IN_ONE_LINE: Final = _InOneLine()


def in_one_line(loop: asyncio.AbstractEventLoop) -> None:
    """Have errors of Kopf, and of tasks that it leaves behind, told without Tracebacks but in debug logs."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_IN_ONE_LINE)  # the same one again is not added
    loop.set_exception_handler(_left_behind)


def _left_behind(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is None or log.isEnabledFor(logging.DEBUG):
        loop.default_exception_handler(context)
    else:
        log.warning("%s: %s", context["message"], _text(error))


def _text(error: BaseException) -> str:
    return clip(str(error) or type(error).__name__, _SAID)

"""Kopf is made to end, and begun anew."""

import asyncio
import logging

import pytest

from connect_autoscaler.core import endings


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "RESTS", (0.0,))
    monkeypatch.setattr(endings, "_FAREWELL", 0.05)
    monkeypatch.setattr(endings, "_AGAIN", 0.01)


async def test_what_fails_is_begun_anew_until_it_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = [ValueError("half an answer"), RuntimeError(""), None]

    async def serve() -> bool:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return False

    await endings.over_and_over(serve, asyncio.Event())
    assert outcomes == []
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["half an answer" in told[0], "RuntimeError" in told[1]] == [True, True]
    assert not any(record.exc_info for record in caplog.records if record.levelno > logging.DEBUG)


async def test_the_stop_ends_it_also_while_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "RESTS", (3600.0,))
    stop = asyncio.Event()

    async def serve() -> bool:
        asyncio.get_running_loop().call_later(0.01, stop.set)
        raise OSError

    async with asyncio.timeout(10):
        await endings.over_and_over(serve, stop)


async def test_a_task_that_swallows_its_cancellation_does_not_hold_the_end_up() -> None:
    """As a watch of Kopf's does, now and then."""
    before = asyncio.all_tasks()
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 3:
                    raise

    async def failing() -> None:
        raise ValueError("an unexpected answer")

    watch, root = asyncio.create_task(deaf()), asyncio.create_task(failing())

    async def kopf() -> None:
        await asyncio.wait({watch})

    cleaned = asyncio.Event()
    cleaned.set()
    with pytest.raises(RuntimeError, match="would not end"):
        await endings.insist([root], kopf(), before, cleaned, 0)
    assert watch.done()
    assert isinstance(root.exception(), ValueError)


async def test_what_ends_by_itself_ends_as_it_will() -> None:
    async def kopf() -> None:
        raise ValueError("its own words")

    root = asyncio.create_task(asyncio.sleep(0))
    with pytest.raises(ValueError, match="its own words"):
        await endings.insist([root], kopf(), asyncio.all_tasks(), asyncio.Event(), 0)

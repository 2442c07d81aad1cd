"""Waiting: what passes, what does not, and what is said when it never does."""

from itertools import count

import pytest

from sandbox.wait import NotYetError, eventually, poll


async def test_returns_the_first_true_value() -> None:
    numbers = count()
    assert await eventually(lambda: next(numbers), interval=0) == 1


async def test_takes_coroutine_functions_and_outlives_their_failures() -> None:
    numbers = count()

    async def third() -> str:
        assert next(numbers) == 2
        return "done"

    assert await eventually(third, interval=0) == "done"


async def test_tells_the_last_failure() -> None:
    def check() -> bool:
        raise ValueError("no node yet")

    with pytest.raises(NotYetError, match=r"not within 0\.02 s: ValueError: no node yet") as caught:
        await eventually(check, timeout=0.02, interval=0.001)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("nothing", [None, False, 0, []])
async def test_nothing_is_not_a_pass(nothing: object) -> None:
    with pytest.raises(NotYetError, match="the condition returned"):
        await eventually(lambda: nothing, timeout=0)


def test_poll_tells_whether_it_came_true() -> None:
    numbers = count()
    assert poll(lambda: next(numbers) > 1, timeout=5, interval=0)
    assert not poll(lambda: False, timeout=0)

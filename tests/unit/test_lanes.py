"""Who goes first when the places are taken."""

import asyncio

import pytest

from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.lanes import Lane, Lanes


async def _take(lanes: Lanes, lane: Lane, order: list[Lane]) -> None:
    async with lanes.turn(lane):
        order.append(lane)


async def test_the_urgent_pass() -> None:
    lanes, order = Lanes(1), list[Lane]()
    async with lanes.turn(Lane.EVENT):
        waiting = [asyncio.create_task(_take(lanes, lane, order)) for lane in (Lane.EVENT, Lane.STATUS, Lane.WORK)]
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*waiting)
    assert order == [Lane.WORK, Lane.STATUS, Lane.EVENT]


async def test_no_more_than_the_limit_at_a_time() -> None:
    lanes, inside, most = Lanes(3), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with lanes.turn(Lane.WORK):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 3


async def test_an_error_of_the_api_server_comes_out_as_it_is() -> None:
    lanes, error = Lanes(1), KubeError.unreachable("GET /version", TimeoutError())
    with pytest.raises(KubeError) as caught:
        async with lanes.turn(Lane.WORK):
            raise error
    assert caught.value is error


@pytest.mark.parametrize("granted", [False, True], ids=["still waiting", "just granted"])
async def test_a_cancelled_waiter_keeps_no_place(granted: bool) -> None:  # noqa: FBT001 - a pytest parameter
    lanes, order = Lanes(1), list[Lane]()
    async with lanes.turn(Lane.WORK):
        waiter = asyncio.create_task(_take(lanes, Lane.WORK, order))
        await asyncio.sleep(0)
        if not granted:
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    async with asyncio.timeout(1):
        await _take(lanes, Lane.EVENT, order)
    assert order[-1] is Lane.EVENT

"""The pace of a sweep, by a clock that tests move."""

from itertools import pairwise

from connect_autoscaler.jobs.pace import INTERVAL, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def pace(self) -> Pace:
        return Pace(clock=lambda: self.now, sleep=self.sleep)


async def turns(pauses: list[float]) -> list[float]:
    """Return when each turn came, with work of that many seconds after each."""
    clock, at = Clock(), list[float]()
    pace = clock.pace()
    for pause in pauses:
        await pace.turn()
        at.append(clock.now)
        clock.now += pause
    return at


async def test_the_first_turn_comes_at_once() -> None:
    assert await turns([0]) == [100.0]


async def test_below_two_a_second() -> None:
    at = await turns([0] * 1001)
    assert 1001 / (at[-1] - at[0]) < 2
    assert at[-1] - at[0] < 1001 * 0.6, "and not needlessly slow"


async def test_slow_work_is_not_slowed_down() -> None:
    assert await turns([1, 1, 1]) == [100, 101, 102]


async def test_a_pause_earns_no_burst() -> None:
    at = await turns([10, 0, 0, 0])
    assert min(later - earlier for earlier, later in pairwise(at)) >= INTERVAL - 1e-9

"""When a disruptive action may start: policy, windows on the clocks of the world, the daily limit."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.spec import Disruptions, Window
from connect_autoscaler.core.gates import closed, fault, is_open, next_opening
from unit.builders import NOW

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def window(schedule: str, duration: str = "4h", zone: str = "Etc/UTC") -> Window:
    return Window(schedule=schedule, duration=duration, timeZone=zone)


def gate(when: str, *windows: Window, corrections: int = 0, limit: int = 2, correction: bool = True) -> Reason | None:
    spec = Disruptions(when=when, windows=windows, maxCorrectionsPerDay=limit)
    return closed(spec, correction=correction, corrections_today=corrections, now=NOW)


OPEN, SHUT = window("0 10 * * *"), window("0 3 * * *")


def test_policies() -> None:
    assert gate("Immediately") is None
    assert gate("WhenIdle") is Reason.NODES_IN_USE
    assert gate("OnApproval") is Reason.AWAITING_APPROVAL
    assert gate("OnApproval", OPEN) is Reason.AWAITING_APPROVAL


def test_one_open_window_is_enough() -> None:
    assert gate("Immediately", OPEN) is None
    assert gate("Immediately", SHUT) is Reason.OUTSIDE_WINDOW
    assert gate("Immediately", SHUT, OPEN) is None


def test_corrections_are_limited_and_changes_of_the_profile_are_not() -> None:
    assert gate("Immediately", corrections=1) is None
    assert gate("Immediately", corrections=2) is Reason.DAILY_LIMIT
    assert gate("Immediately", corrections=3) is Reason.DAILY_LIMIT
    assert gate("Immediately", corrections=0, limit=0) is Reason.DAILY_LIMIT
    assert gate("Immediately", corrections=9, correction=False) is None
    assert gate("Immediately", SHUT, corrections=9) is Reason.OUTSIDE_WINDOW


def test_a_window_is_open_from_its_first_instant_until_its_last() -> None:
    nights = window("0 3 * * *", "4h")
    start = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    assert not is_open(nights, start - tick)
    assert is_open(nights, start)
    assert is_open(nights, start + tick)
    assert is_open(nights, start + timedelta(hours=4) - tick)
    assert not is_open(nights, start + timedelta(hours=4))


def test_windows_may_overlap_themselves() -> None:
    hourly = window("0 * * * *", "2h")
    assert all(is_open(hourly, NOW + timedelta(minutes=7 * n)) for n in range(200))


def test_windows_are_on_the_clock_of_their_zone() -> None:
    saturday = window("0 3 * * SAT", "1h", BERLIN)
    winter, summer = datetime(2026, 1, 10, 2, 30, tzinfo=UTC), datetime(2026, 7, 11, 1, 30, tzinfo=UTC)
    assert is_open(saturday, winter)
    assert is_open(saturday, summer)
    assert not is_open(saturday, winter - timedelta(hours=1))
    assert not is_open(saturday, summer + timedelta(hours=1))
    assert not is_open(saturday, winter + timedelta(days=1))


def starts(of: Window, day: datetime, hours: int) -> list[datetime]:
    """Return when a window opens within a day."""
    found, at = [], day
    while (at := next_opening([of], at) or day + timedelta(days=99)) < day + timedelta(hours=hours):
        found.append(at)
    return found


SPRING = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)  # Berlin: 02:00 becomes 03:00 at 01:00 UTC
AUTUMN = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)  # Berlin: 03:00 becomes 02:00 at 01:00 UTC


@pytest.mark.parametrize(
    ("schedule", "day", "hours", "expected"),
    [
        ("30 1 * * *", SPRING, 23, ["00:30"]),
        ("30 2 * * *", SPRING, 23, ["01:00"]),  # the hour is skipped: at the end of the gap
        ("30 3 * * *", SPRING, 23, ["01:30"]),
        ("30 1 * * *", AUTUMN, 25, ["23:30"]),
        ("30 2 * * *", AUTUMN, 25, ["00:30", "01:30"]),  # the hour is repeated: in both
        ("30 3 * * *", AUTUMN, 25, ["02:30"]),
    ],
)
def test_starts_on_days_with_a_change_of_clocks(schedule: str, day: datetime, hours: int, expected: list[str]) -> None:
    of = window(schedule, "30m", BERLIN)
    found = starts(of, day, hours)
    assert [start.astimezone(UTC).strftime("%H:%M") for start in found] == expected
    for moment in (day + timedelta(minutes=5 * n) for n in range(hours * 12)):
        assert is_open(of, moment) is any(timedelta() <= moment - start < timedelta(minutes=30) for start in found)


@pytest.mark.parametrize(
    ("day", "zone", "schedule"),
    [
        (SPRING, BERLIN, "0 1 * * *"),
        (AUTUMN, BERLIN, "0 1 * * *"),
        (datetime(2026, 3, 8, 5, 0, tzinfo=UTC), NEW_YORK, "0 1 * * *"),
        (datetime(2026, 11, 1, 4, 0, tzinfo=UTC), NEW_YORK, "0 0 * * *"),
    ],
)
def test_a_duration_is_time_that_passes(day: datetime, zone: str, schedule: str) -> None:
    of = window(schedule, "4h", zone)
    assert sum(is_open(of, day + timedelta(minutes=5 * n)) for n in range(23 * 12)) == 4 * 12


def test_the_zone_of_now_does_not_matter() -> None:
    of = window("0 1 * * *", "4h", BERLIN)
    for minute in range(0, 24 * 60, 10):
        now = SPRING + timedelta(minutes=minute)
        assert is_open(of, now) is is_open(of, now.astimezone(ZoneInfo(BERLIN)))


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (window("0 3 * * *", zone="Mars/Olympus"), "time zone Mars/Olympus"),
        (window("0 3 * * *", zone="Europe"), "time zone Europe "),
        (window("61 3 * * *"), '"61 3 * * *"'),
        (window("*/0 * * * *"), '"*/0 * * * *"'),
        (window("0 0 30 2 *"), "never comes"),
        (window("0 0 31 4,6,9,11 *"), "never comes"),
    ],
)
def test_a_faulty_window_is_named_and_stays_shut(of: Window, words: str) -> None:
    assert words in (fault(of) or "")
    assert not is_open(of, NOW)
    assert next_opening([of], NOW) is None
    assert next_opening([of, OPEN], NOW) == datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
    assert gate("Immediately", of) is Reason.OUTSIDE_WINDOW


@pytest.mark.parametrize(
    "schedule",
    ["@daily", "@hourly", "0 3 * * 6", "0 3 * * SAT", "0 3 ? * 7", "*/15 0-6 1,15 JAN-MAR *", "0 0 29 2 *"],
)
def test_every_usual_schedule_is_understood(schedule: str) -> None:
    assert fault(window(schedule)) is None
    assert next_opening([window(schedule)], NOW) is not None
    assert is_open(window(schedule), next_opening([window(schedule)], NOW) or NOW)


def test_next_opening() -> None:
    assert next_opening([], NOW) is None
    assert next_opening([SHUT, OPEN], NOW) == datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
    assert next_opening([SHUT], datetime(2026, 3, 3, 3, 0, tzinfo=UTC)) == datetime(2026, 3, 4, 3, 0, tzinfo=UTC)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - zone beside it
    st.sampled_from(["0 3 * * *", "30 2 * * SUN", "*/7 1-4 * * *", "0 0 1 * *", "@weekly"]),
    st.sampled_from(["1m", "90m", "4h", "168h"]),
    st.sampled_from(["Etc/UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_a_shut_window_opens_when_it_says(now: datetime, schedule: str, duration: str, zone: str) -> None:
    of = window(schedule, duration, zone)
    opening = next_opening([of], now)
    assert opening is not None
    assert opening > now
    assert is_open(of, opening), "whoever wakes at that time finds it open"
    if not is_open(of, now):
        assert not is_open(of, now + (opening - now) / 2), "and not earlier"

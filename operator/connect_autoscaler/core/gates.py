"""When a disruptive action may start: idle, window, approval, daily limit."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import durationpy
from croniter import croniter

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.spec import Disruptions, When, Window

_INSTANT: Final = timedelta(microseconds=1)


def closed(
    disruptions: Disruptions,
    *,
    correction: bool,
    corrections_today: int,
    now: datetime,
    busy: Reason | None = Reason.NODES_IN_USE,
) -> Reason | None:
    """Why an action that replaces nodes or restarts servers may not start now; None: it may.

    Approval is checked before.

    Args:
        disruptions: ``spec.disruptions``.
        correction: Whether it corrects drift; the daily limit is for corrections only.
        corrections_today: Disruptive corrections of the last 24 hours.
        now: Time of the pass.
        busy: What it would disturb; None: nothing. An action that replaces nodes always disturbs them: without nodes
            it would not be disruptive, and whether they idle is not known here.
    """
    match disruptions.when:
        case When.ON_APPROVAL:
            return Reason.AWAITING_APPROVAL
        case When.WHEN_IDLE if busy:
            return busy
    if disruptions.windows and not any(is_open(window, now) for window in disruptions.windows):
        return Reason.OUTSIDE_WINDOW
    if correction and corrections_today >= disruptions.max_corrections_per_day:
        return Reason.DAILY_LIMIT
    return None


def is_open(window: Window, now: datetime) -> bool:
    """Whether a window is open: from the instant of its last start, for its duration; a faulty one never is.

    It starts by the clock of its time zone: when the hour of the start is skipped, at the end of the gap; when the
    hour is repeated, in both. Its duration is time that passes, whatever that clock does meanwhile.
    """
    if fault(window):
        return False
    started: datetime = _starts(window, now + _INSTANT).get_prev(datetime)
    length: timedelta = durationpy.from_str(window.duration)
    return now.astimezone(UTC) - started.astimezone(UTC) < length


@lru_cache(maxsize=256)
def fault(window: Window) -> str | None:
    """What is wrong with a window that the schema could not see; None: nothing."""
    try:
        ZoneInfo(window.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"time zone {window.time_zone} does not exist; must be one of the IANA database, such as Europe/Berlin"
    if not croniter.is_valid(window.schedule):
        return f'schedule "{window.schedule}" is no cron expression; must have five fields, such as "0 2 * * SAT"'
    try:
        _starts(window, datetime(2000, 1, 1, tzinfo=UTC)).get_next(datetime)
    except ValueError:
        return f'schedule "{window.schedule}" names a day that never comes'
    return None


def next_opening(windows: Iterable[Window], now: datetime) -> datetime | None:
    """When the next of the windows starts; None if none ever does."""
    starts = (_starts(window, now).get_next(datetime) for window in windows if not fault(window))
    return min(starts, default=None)


def _starts(window: Window, moment: datetime) -> croniter:
    """Look at a window's starts from a moment on, which is none of them itself."""
    return croniter(window.schedule, moment.astimezone(ZoneInfo(window.time_zone)))

"""Windows of time that come back on certain days, or come once, in local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.scaling.policy import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

GROUPS: Final = {"daily": WEEK, "weekdays": WEEK[:5], "weekends": WEEK[5:]}

DAY_MINUTES: Final = 24 * 60

_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time on certain days, and how many replicas there should be in it.

    Attributes:
        label: as it was written, for people.
        weekdays: names from `WEEK`, on which it begins.
        dates: single days on which it begins, too.
        start: minutes from midnight, local time.
        end: the same; up to `start`, it is the next day's.
        replicas: how many.
    """

    label: str
    weekdays: frozenset[str]
    dates: frozenset[date]
    start: int
    end: int
    replicas: int

    def on(self, day: date) -> bool:
        """Whether it begins on a day."""
        return day in self.dates or WEEK[day.weekday()] in self.weekdays

    def span(self, day: date, zone: ZoneInfo) -> tuple[float, float]:
        """When the window of a day begins and ends, in seconds since 1970 (UTC).

        Where the clocks change, a local time can come twice or not at all: then
        the window is the longer one of those that could be meant.
        """
        last = day + timedelta(days=1) if self.end <= self.start else day
        return min(_instants(day, self.start, zone)), max(_instants(last, self.end, zone))


def _instants(day: date, minutes: int, zone: ZoneInfo) -> tuple[float, float]:
    """Both readings of a local time (PEP 495); they differ only where the clocks change."""
    if minutes == DAY_MINUTES:
        day, minutes = day + timedelta(days=1), 0
    hour, minute = divmod(minutes, 60)
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return local.timestamp(), local.replace(fold=1).timestamp()


def parse(values: Any, *path: str | int) -> Window:
    """A window from its settings: `days`, `start`, `end`, `replicas`.

    Args:
        values: a mapping; `days` is one of `GROUPS`, `WEEK` or a date such as
            2026-12-24, or a list of these, and daily where it is left out.
        path: where it stands, for errors.

    Raises:
        SettingError: says what would be right.
    """
    if not isinstance(values, dict):
        raise SettingError("must be a mapping with days, start, end and replicas", *path)
    for key in values:
        if key not in {"days", "start", "end", "replicas"}:
            raise SettingError("unknown; a window has days, start, end and replicas", *path, key)
    weekdays, dates = _days(values.get("days", "daily"), *path, "days")
    start = _minutes(values, "start", *path)
    end = _minutes(values, "end", *path)
    if start in {end, DAY_MINUTES}:
        rule = 'must be before the end ("00:00" to "24:00" is a whole day)'
        raise SettingError(rule, *path, "start")
    replicas = values.get("replicas")
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise SettingError("must be a whole number of at least 1", *path, "replicas")
    return Window(_label(values), weekdays, dates, start, end, replicas)


def _label(values: Mapping[str, Any]) -> str:
    days = values.get("days", "daily")
    named = days if isinstance(days, str) else ", ".join(days)
    return f"{named} {values['start']}-{values['end']}"


def _days(given: Any, *path: str | int) -> tuple[frozenset[str], frozenset[date]]:
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not listed:
        raise SettingError("must be a day, or a list of days", *path)
    weekdays: set[str] = set()
    dates: set[date] = set()
    for index, name in enumerate(listed):
        if name in WEEK:
            weekdays.add(name)
        elif isinstance(name, str) and name in GROUPS:
            weekdays.update(GROUPS[name])
        else:
            place = path if isinstance(given, str) else (*path, index)
            dates.add(_date(name, *place))
    return frozenset(weekdays), frozenset(dates)


def _date(name: Any, *path: str | int) -> date:
    rule = f"must be one of {', '.join((*GROUPS, *WEEK))}, or a date such as 2026-12-24"
    try:
        found = date.fromisoformat(name)
    except (TypeError, ValueError):
        raise SettingError(rule, *path) from None
    # The calendar ends in both directions; a window may begin the day before.
    if not 1970 < found.year < 9999:
        raise SettingError(rule, *path)
    return found


def _minutes(values: Mapping[str, Any], key: str, *path: str | int) -> int:
    given = values.get(key)
    if not isinstance(given, str) or _TIME.fullmatch(given) is None:
        raise SettingError('must be a time of day such as "08:00", up to "24:00"', *path, key)
    return int(given[:2]) * 60 + int(given[3:])

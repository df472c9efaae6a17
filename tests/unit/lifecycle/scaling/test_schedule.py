"""When the windows of a schedule hold: time zones, midnight, and the days that clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.scaling.policy import Seen, SettingError
from orchestrator.lifecycle.scaling.schedule import SchedulePolicy
from orchestrator.lifecycle.settings import AutoscalingSettings

BERLIN = "Europe/Berlin"
"""Clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25."""


def window(start: str, end: str, days: Any = "daily", replicas: int = 1) -> dict[str, Any]:
    return {"days": days, "start": start, "end": end, "replicas": replicas}


def at(policy: SchedulePolicy, moment: datetime) -> int:
    seen = Seen(scaling=AutoscalingSettings(), unix_s=moment.timestamp())
    return policy.wish(0.0, seen).replicas


def local(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


@pytest.mark.parametrize(
    ("days", "moment", "holds"),
    [
        ("daily", "2026-11-21T08:00", True),
        ("daily", "2026-11-21T07:59:59.9", False),
        ("daily", "2026-11-21T17:59:59.9", True),
        ("daily", "2026-11-21T18:00", False),
        ("weekdays", "2026-11-20T12:00", True),  # a Friday
        ("weekdays", "2026-11-21T12:00", False),
        ("weekends", "2026-11-21T12:00", True),
        ("weekends", "2026-11-23T12:00", False),
        ("mon", "2026-11-23T12:00", True),
        (["tue", "fri"], "2026-11-20T12:00", True),
        (["tue", "fri"], "2026-11-19T12:00", False),
        ("2026-12-24", "2026-12-24T12:00", True),
        ("2026-12-24", "2027-12-24T12:00", False),
        (["mon", "2026-12-24"], "2026-12-24T12:00", True),
    ],
)
def test_a_window_holds_from_its_start_until_before_its_end_on_its_days(days, moment, holds):
    policy = SchedulePolicy(windows=[window("08:00", "18:00", days)])
    assert at(policy, local(moment)) == int(holds)


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-20T21:59", False),
        ("2026-11-20T22:00", True),  # Friday night
        ("2026-11-21T05:59", True),
        ("2026-11-21T06:00", False),
        ("2026-11-21T23:00", False),  # no window begins on a Saturday
    ],
)
def test_a_window_that_ends_before_it_starts_passes_midnight(moment, holds):
    policy = SchedulePolicy(windows=[window("22:00", "06:00", "fri")])
    assert at(policy, local(moment)) == int(holds)


def test_a_whole_day_is_from_midnight_to_midnight():
    policy = SchedulePolicy(windows=[window("00:00", "24:00", "sat")])
    found = [at(policy, local(f"2026-11-{day}")) for day in ("20", "21", "22")]
    assert found == [0, 1, 0]
    assert at(policy, local("2026-11-21T23:59:59")) == 1


def test_until_midnight_can_be_said_in_two_ways():
    for end in ("24:00", "00:00"):
        policy = SchedulePolicy(windows=[window("20:00", end, "sat")])
        assert at(policy, local("2026-11-21T23:59")) == 1
        assert at(policy, local("2026-11-22T00:00")) == 0


@pytest.mark.parametrize(
    ("moment", "holds"),
    [("2026-07-01T06:00", True), ("2026-07-01T05:59", False), ("2026-12-01T06:00", False)],
)
def test_a_window_is_in_the_local_time_of_its_zone_in_summer_and_winter(moment, holds):
    policy = SchedulePolicy(windows=[window("08:00", "18:00")], timezone=BERLIN)
    assert at(policy, local(moment)) == int(holds)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        # In the night to 2026-03-29, 02:30 does not come: the earlier or later hour is meant.
        ("22:00", "06:00", 7),
        ("02:30", "06:00", 3.5),
        ("01:00", "02:30", 1.5),
        ("03:00", "06:00", 3),
    ],
)
def test_a_night_that_lacks_an_hour(start, end, hours):
    day = "2026-03-28" if end < start else "2026-03-29"
    policy = SchedulePolicy(windows=[window(start, end, day)], timezone=BERLIN)
    assert held_hours(policy, local("2026-03-28T12:00")) == hours


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        # In the night to 2026-10-25, 02:30 comes twice.
        ("22:00", "06:00", 9),
        ("02:30", "06:00", 4.5),
        ("01:00", "02:30", 2.5),
        ("02:15", "02:45", 1.5),
        ("03:00", "06:00", 3),
    ],
)
def test_a_night_that_has_an_hour_twice(start, end, hours):
    day = "2026-10-24" if end < start else "2026-10-25"
    policy = SchedulePolicy(windows=[window(start, end, day)], timezone=BERLIN)
    assert held_hours(policy, local("2026-10-24T12:00")) == hours


def held_hours(policy: SchedulePolicy, begin: datetime) -> float:
    """For how long, in the two days from `begin`, the policy wants a replica; without a gap."""
    quarters = [
        at(policy, begin.astimezone(UTC) + timedelta(minutes=15 * n)) for n in range(4 * 48)
    ]
    held = "".join(map(str, quarters)).strip("0")
    assert "0" not in held, "the window holds in pieces"
    return len(held) / 4


def test_the_largest_of_the_windows_that_hold_counts():
    policy = SchedulePolicy(
        windows=[
            window("00:00", "24:00", replicas=1),
            window("08:00", "18:00", "weekdays", replicas=4),
            window("12:00", "13:00", replicas=2),
        ]
    )
    moments = ("2026-11-20T07:00", "2026-11-20T12:30", "2026-11-21T12:30", "2026-11-21T14:00")
    assert [at(policy, local(moment)) for moment in moments] == [1, 4, 2, 1]


def test_the_reason_names_the_window_and_the_zone():
    policy = SchedulePolicy(windows=[window("08:00", "18:00", ["mon", "tue"])], timezone=BERLIN)
    seen = Seen(scaling=AutoscalingSettings(), unix_s=local("2026-11-23T12:00").timestamp())
    assert policy.wish(0.0, seen).reason == "window mon, tue 08:00-18:00 (Europe/Berlin)"
    later = Seen(scaling=AutoscalingSettings(), unix_s=local("2026-11-25T12:00").timestamp())
    assert policy.wish(1.0, later).reason == "no window of the schedule holds now (Europe/Berlin)"


def test_a_clock_that_is_set_back_is_followed():
    policy = SchedulePolicy(windows=[window("08:00", "18:00")])
    assert at(policy, local("2026-11-23T08:00")) == 1
    assert at(policy, local("2026-11-23T07:59")) == 0


@given(
    minutes=st.lists(st.integers(0, 3 * 24 * 60), min_size=1, max_size=30),
    begin=st.sampled_from(["2026-03-27", "2026-10-23", "2026-12-30"]),
)
def test_what_was_asked_before_changes_no_answer(minutes: list[int], begin: str):
    windows = [window("23:30", "02:30", replicas=2), window("01:00", "09:00", "weekdays")]
    asked = SchedulePolicy(windows=windows, timezone=BERLIN)
    for minute in minutes:
        moment = local(begin) + timedelta(minutes=minute)
        assert at(asked, moment) == at(SchedulePolicy(windows=windows, timezone=BERLIN), moment)


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        ({"start": "8:00"}, ("windows", 0, "start"), 'must be a time of day such as "08:00"'),
        ({"start": "24:00"}, ("windows", 0, "start"), "must be before the end"),
        ({"start": "18:00"}, ("windows", 0, "start"), "must be before the end"),
        ({"end": "25:00"}, ("windows", 0, "end"), "must be a time of day"),
        ({"end": 1800}, ("windows", 0, "end"), "must be a time of day"),
        ({"days": "monday"}, ("windows", 0, "days"), "must be one of daily, weekdays, weekends"),
        ({"days": "2026-02-30"}, ("windows", 0, "days"), "or a date such as 2026-12-24"),
        ({"days": "9999-12-31"}, ("windows", 0, "days"), "or a date such as 2026-12-24"),
        ({"days": ["mon", ["tue"]]}, ("windows", 0, "days", 1), "must be one of daily"),
        ({"days": []}, ("windows", 0, "days"), "must be a day, or a list of days"),
        ({"replicas": 0}, ("windows", 0, "replicas"), "must be a whole number of at least 1"),
        ({"replicas": 1.5}, ("windows", 0, "replicas"), "must be a whole number of at least 1"),
        ({"replicas": True}, ("windows", 0, "replicas"), "must be a whole number of at least 1"),
        ({"replica": 1}, ("windows", 0, "replica"), "a window has days, start, end and replicas"),
    ],
)
def test_a_wrong_window_says_where_and_what_would_be_right(change, path, rule):
    with pytest.raises(SettingError) as caught:
        SchedulePolicy(windows=[window("08:00", "18:00") | change])
    assert caught.value.path == path
    assert rule in caught.value.rule


@pytest.mark.parametrize("zone", ["Europe/Berlim", "", "../UTC", "Europe"])
def test_a_zone_that_nobody_knows(zone: str):
    with pytest.raises(SettingError, match="timezone must be a time zone that this machine knows"):
        SchedulePolicy(windows=[window("08:00", "18:00")], timezone=zone)

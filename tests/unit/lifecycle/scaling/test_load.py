"""Averages and maxima over sliding windows."""

from __future__ import annotations

import pytest

from orchestrator.lifecycle.scaling.load import LoadWindow, RecentMaximum


def test_an_average_weighs_values_with_the_time_for_which_they_held():
    window = LoadWindow(0.0)
    window.record(10.0, 4.0)
    window.record(15.0, 2.0)
    assert window.average(20.0, 20.0) == pytest.approx((4 * 5 + 2 * 5) / 20)
    assert window.average(20.0, 10.0) == pytest.approx((4 * 5 + 2 * 5) / 10)
    assert window.average(20.0, 4.0) == pytest.approx(2.0)


def test_an_average_over_more_than_there_is_is_over_what_there_is():
    window = LoadWindow(100.0, 6.0)
    assert window.average(100.0, 60.0) == 6.0
    window.record(101.0, 0.0)
    assert window.average(102.0, 60.0) == pytest.approx(3.0)


def test_a_window_forgets_what_has_left_it():
    window = LoadWindow(0.0)
    for now in range(1000):
        window.record(float(now), float(now % 2))
        window.average(float(now), 10.0)
    assert len(window._steps) <= 12


def test_a_maximum_forgets_what_is_older_than_it_is_asked_for():
    maximum = RecentMaximum()
    for now, value in enumerate([3, 9, 4, 1, 2]):
        maximum.push(float(now), value)
    assert maximum.over(4.0, 10.0) == 9
    assert maximum.over(4.0, 2.0) == 4
    assert maximum.over(4.0, 0.0) == 2


def test_a_maximum_holds_no_more_values_than_can_still_be_the_largest():
    maximum = RecentMaximum()
    for now in range(1000):
        maximum.push(float(now), now % 10)
        assert maximum.over(float(now), 30.0) == min(now, 9)
    assert len(maximum._falling) <= 31

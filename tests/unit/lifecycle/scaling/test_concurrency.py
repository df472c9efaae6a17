"""How many replicas `concurrency` wants, in bounds and at its pace: exact timelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.scaling.autoscaler import Autoscaler
from orchestrator.lifecycle.scaling.policy import Seen
from orchestrator.lifecycle.settings import AutoscalingSettings

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.pace import Decision


def settings(**changes: float) -> AutoscalingSettings:
    values: dict[str, float] = {
        "min_replica": 0,
        "max_replica": 20,
        "concurrency_target": 10,
        "utilization": 0.7,
        "window_s": 60,
        "scale_down_delay_s": 900,
        "max_scale_down_rate": 0.5,
    }
    return AutoscalingSettings.from_mapping(values | changes)


class Scaled:
    """An autoscaler that is told the load alone."""

    def __init__(self, settings: AutoscalingSettings, current: int) -> None:
        self._settings = settings
        self.autoscaler = Autoscaler(settings, now=0.0, current=current)

    @property
    def current(self) -> int:
        return self.autoscaler.current

    def change(self, settings: AutoscalingSettings) -> None:
        self._settings = settings
        self.autoscaler.reconfigure(settings)

    def decide(self, now: float, in_flight: float, *, wake: bool = False) -> Decision:
        seen = Seen(scaling=self._settings, in_flight=in_flight)
        return self.autoscaler.decide(now, seen, wake=wake)


def policy(current: int = 0, **changes: float) -> Scaled:
    return Scaled(settings(**changes), current)


def run(scaled: Scaled, load: float, start: int, end: int) -> list[tuple[int, int]]:
    """Decide every second from `start` up to `end`; (when, how many) for each change."""
    changes: list[tuple[int, int]] = []
    before = scaled.current
    for now in range(start, end):
        desired = scaled.decide(float(now), load).desired
        if desired != before:
            changes.append((now, desired))
            before = desired
    return changes


def test_the_example_of_the_contract():
    scaled = policy()
    run(scaled, 25, 0, 61)
    decision = scaled.decide(61.0, 25)
    assert decision.desired == 4
    assert decision.reason == "25.00 in flight over 60 s, 7 a replica"


@pytest.mark.parametrize(
    ("in_flight", "desired"), [(0, 0), (0.01, 1), (7, 1), (7.1, 2), (14, 2), (70, 10), (1000, 20)]
)
def test_steady_load(in_flight: float, desired: int):
    scaled = policy()
    run(scaled, in_flight, 0, 61)
    assert scaled.decide(61.0, in_flight).desired == desired


def test_whole_numbers_of_replicas_are_not_rounded_up_by_floating_point():
    scaled = policy(utilization=0.1, concurrency_target=3)
    run(scaled, 2.1, 0, 61)
    assert scaled.decide(61.0, 2.1).desired == 7


def test_the_first_request_wants_a_replica_at_once():
    assert policy().decide(100.0, 1).desired == 1


def test_being_woken_wants_a_replica_without_any_load_and_keeps_it_for_the_delay():
    scaled = policy(scale_down_delay_s=30)
    assert scaled.decide(100.0, 0, wake=True).desired == 1
    assert run(scaled, 0, 101, 200) == [(131, 0)]


def test_a_rise_follows_the_average_over_the_window():
    scaled = policy(window_s=10, scale_down_delay_s=0)
    run(scaled, 0, 0, 100)
    # From 100 on 70 are in flight: the average is 7 more each second.
    assert run(scaled, 70, 100, 120) == [(100, 1), (102, 2)] + [(100 + n, n) for n in range(3, 11)]


def test_a_fall_waits_for_the_delay_and_then_halves_at_most_waiting_again_each_time():
    scaled = policy(window_s=1, scale_down_delay_s=60)
    run(scaled, 70, 0, 100)
    assert scaled.current == 10
    assert run(scaled, 0, 100, 500) == [(161, 5), (221, 3), (281, 2), (341, 1), (401, 0)]


def test_a_peak_within_the_delay_holds_the_number():
    scaled = policy(window_s=1, scale_down_delay_s=60)
    run(scaled, 14, 0, 100)
    assert scaled.current == 2
    run(scaled, 1, 100, 150)
    run(scaled, 14, 150, 152)
    assert run(scaled, 1, 152, 400) == [(213, 1)]


@pytest.mark.parametrize(
    ("rate", "steps"),
    [
        (1.0, [0]),
        (0.5, [5, 3, 2, 1, 0]),
        (0.29, [8, 6, 5, 4, 3, 2, 1, 0]),
        (0.01, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ],
)
def test_the_rate_of_a_fall_is_rounded_down_but_is_one_replica_at_least(
    rate: float, steps: list[int]
):
    scaled = policy(current=10, scale_down_delay_s=60, max_scale_down_rate=rate)
    # At 61 the ten that were wanted at 0 are more than a delay back.
    expected = [(61 + 60 * step, desired) for step, desired in enumerate(steps)]
    assert run(scaled, 0, 0, 1000) == expected


def test_a_share_of_replicas_is_not_lost_to_rounding():
    scaled = policy(current=100, max_replica=100, scale_down_delay_s=0, max_scale_down_rate=0.29)
    assert scaled.decide(1.0, 0).desired == 71


def test_without_a_delay_a_fall_comes_with_the_average():
    scaled = policy(current=2, window_s=10, scale_down_delay_s=0, max_scale_down_rate=1)
    assert run(scaled, 0, 1, 5) == [(1, 0)]


def test_bounds_hold_whatever_the_load():
    scaled = policy(min_replica=2, max_replica=3)
    assert scaled.decide(1.0, 0).desired == 2
    run(scaled, 1000, 2, 100)
    assert scaled.current == 3


def test_new_bounds_count_from_the_next_decision_without_any_delay():
    scaled = policy()
    run(scaled, 35, 0, 100)
    assert scaled.current == 5
    scaled.change(settings(max_replica=3))
    assert scaled.decide(100.0, 35).desired == 3
    assert "fewer" not in scaled.decide(101.0, 35).reason
    scaled.change(settings(min_replica=8))
    assert scaled.decide(102.0, 35).desired == 8


def test_the_reason_says_when_fewer_would_do():
    scaled = policy(current=2)
    reason = scaled.decide(1.0, 0).reason
    assert reason == "0.00 in flight over 60 s, 7 a replica; fewer after 900 s"


def test_a_queue_that_begins_under_load_takes_that_for_the_average():
    scaled = policy()
    decision = scaled.decide(50.0, 70)
    assert decision.desired == 10
    assert decision.reason == "70.00 in flight over 60 s, 7 a replica"

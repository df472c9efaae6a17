"""The panic policy: the published scenarios of Knative's autoscaler, then our windows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.scaling.panic import PanicPolicy, PanicRules
from orchestrator.lifecycle.scaling.policy import Seen
from orchestrator.lifecycle.settings import AutoscalingSettings

WINDOW_S = 60.0


def rules(**changes: Any) -> PanicRules:
    return PanicRules(**{"max_scale_up_rate": 10.0, "max_scale_down_rate": 10.0, **changes})


def decide(
    rules: PanicRules,
    stable: float,
    panic: float,
    *,
    now: float = 0.0,
    ready: int = 1,
    target: float = 10.0,
) -> int:
    return rules.decide(
        now, ready=ready, stable=stable, panic=panic, target=target, stable_window_s=WINDOW_S
    )


@pytest.mark.parametrize(
    ("stable", "panic", "ready", "desired"),
    [
        (0, 0, 1, 0),
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (50, 50, 1, 5),
        (50, 50, 5, 5),
        (50, 10, 1, 5),
        (100, 10, 5, 10),
        (50, 100, 1, 10),  # Panic: the short window counts.
        (50, 20, 1, 5),  # Panic with less in the short window: the long one counts.
        (70.000000000000001, 0, 1, 7),
    ],
)
def test_one_decision(stable: float, panic: float, ready: int, desired: int) -> None:
    assert decide(rules(), stable, panic, ready=ready) == desired


def test_a_surge_panics_and_nothing_is_taken_away_until_a_long_window_has_passed() -> None:
    panicking = rules()
    assert decide(panicking, 100, 1000, now=0, ready=10) == 100
    assert decide(panicking, 1, 1, now=30, ready=10) == 100
    assert decide(panicking, 1, 1, now=60, ready=10) == 100
    assert decide(panicking, 1, 1, now=61, ready=10) == 1


def test_a_panic_that_goes_on_is_counted_from_its_last_moment() -> None:
    panicking = rules()
    assert decide(panicking, 11, 25, now=0, ready=10, target=1) == 25
    assert decide(panicking, 30, 80, now=30, ready=40, target=1) == 80
    assert decide(panicking, 50, 56, now=62, ready=55, target=1) == 80
    assert decide(panicking, 50, 56, now=91, ready=55, target=1) == 50


def test_a_slow_rise_after_a_surge_does_not_prolong_the_panic() -> None:
    panicking = rules()
    assert decide(panicking, 11, 25, now=0, ready=10, target=1) == 25
    assert decide(panicking, 30, 41, now=30, ready=40, target=1) == 41
    assert decide(panicking, 50, 56, now=62, ready=55, target=1) == 50


def test_a_load_that_grows_sixfold_again_and_again_is_followed() -> None:
    panicking = rules()
    ready = 1
    for now, load in enumerate((6, 36, 216, 1296)):
        assert decide(panicking, load, load, now=now, ready=ready, target=1) == load
        ready = load


def test_a_rise_is_at_most_by_the_rate_from_what_is_ready() -> None:
    limited = rules()
    assert decide(limited, 1000, 1001, ready=1) == 10
    assert decide(limited, 1000, 1001, ready=10) == 100
    assert decide(limited, 1000, 1001, ready=100) == 101


def test_a_small_rate_still_allows_one_more_and_one_fewer() -> None:
    assert decide(rules(max_scale_up_rate=1.1), 3, 3.1, ready=2, target=1) == 3
    assert decide(rules(max_scale_down_rate=1.1), 1, 1, ready=2) == 1


@pytest.mark.parametrize(("rate", "desired"), [(1.1, 90), (2.0, 50), (10.0, 10), (1000.0, 1)])
def test_a_fall_is_at_most_by_the_rate_from_what_is_ready(rate: float, desired: int) -> None:
    assert decide(rules(max_scale_down_rate=rate), 1, 1, ready=100) == desired


def test_rates_are_not_rounded_the_wrong_way_by_floating_point() -> None:
    # 1.1 * 100 is a little more than 110.
    assert decide(rules(max_scale_up_rate=1.1), 2000, 0, ready=100) == 110


def test_a_fall_follows_at_once_without_a_delay() -> None:
    assert (decide(at_once := rules(threshold=100), 40, 40), decide(at_once, 20, 20)) == (4, 2)


def test_a_fall_comes_after_the_delay_and_then_step_by_step() -> None:
    delayed = rules(threshold=100, scale_down_delay=300)
    assert decide(delayed, 40, 40, now=2) == 4
    assert decide(delayed, 0, 0, now=300) == 4
    assert decide(delayed, 0, 0, now=303) == 0
    assert decide(delayed, 40, 40, now=540) == 4
    assert decide(delayed, 30, 30, now=600) == 4
    assert decide(delayed, 0, 0, now=660) == 4
    assert decide(delayed, 0, 0, now=841) == 3
    assert decide(delayed, 0, 0, now=901) == 0


@pytest.mark.parametrize(("stable", "desired"), [(0, 0), (1, 2), (20, 2), (30, 3)])
def test_a_first_request_activates_several(stable: float, desired: int) -> None:
    assert decide(rules(activation_scale=2, threshold=100), stable, 0) == desired


def test_replicas_that_were_there_before_the_policy_stay_for_a_long_window() -> None:
    restarted = rules()
    restarted.begin(0.0, ready=4)
    assert decide(restarted, 0, 0, now=1, ready=4) == 4
    assert decide(restarted, 0, 0, now=61, ready=4) == 0
    alone = rules()
    alone.begin(0.0, ready=1)
    assert decide(alone, 0, 0, now=1, ready=1) == 0


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 500), st.floats(0, 500), st.integers(0, 50)),
        max_size=40,
    )
)
def test_a_panic_never_takes_a_replica_away(
    steps: list[tuple[float, float, float, int]],
) -> None:
    panicking = PanicRules()
    now, before = 0.0, 0
    for pause, stable, panic, ready in steps:
        now += pause
        since = panicking.panic_since
        desired = decide(panicking, stable, panic, now=now, ready=ready)
        if since is not None and panicking.panic_since is not None:
            assert desired >= before
        if panicking.panic_since is not None:
            assert now - panicking.panic_since <= WINDOW_S
        before = desired


# The policy: windows around the rules


def seen(in_flight: float, ready: int = 1, **settings: float) -> Seen:
    scaling = AutoscalingSettings.from_mapping(
        {"concurrency_target": 10, "utilization": 1.0, "window_s": WINDOW_S, **settings}
    )
    return Seen(scaling, in_flight=in_flight, ready=ready)


def run(policy: PanicPolicy, load: float, start: float, end: float, ready: int = 1) -> int:
    """A wish every 0.1 s from `start` up to `end`; gives the last."""
    wish = policy.wish(start, seen(load, ready))
    for tick in range(1, round((end - start) * 10)):
        wish = policy.wish(start + tick / 10, seen(load, ready))
    return wish.replicas


def test_the_first_request_at_zero_asks_for_a_replica_while_it_waits_in_line() -> None:
    policy = PanicPolicy()
    assert policy.wish(0.0, seen(0, ready=0)).replicas == 0
    assert policy.wish(0.1, seen(1, ready=0)).replicas == 0  # It has been there for no time.
    assert policy.wish(0.2, seen(1, ready=0)).replicas == 1


def test_a_steady_load_is_served_without_a_panic() -> None:
    policy = PanicPolicy()
    assert run(policy, 25, 0, 120, ready=3) == 3
    assert policy.wish(120.0, seen(25, ready=3)).reason == (
        "25.00 in flight over 60 s, 10 a replica"
    )


def test_a_surge_is_answered_by_the_short_window_and_given_up_after_the_long_one() -> None:
    policy = PanicPolicy()
    run(policy, 10, 0, 100)
    # After 6 s of 100 in flight the long window has 19, the short one 100.
    assert run(policy, 100, 100, 106.1) == 10
    wish = policy.wish(106.1, seen(100))
    assert wish.reason == (
        "19.15 in flight over 60 s, 10 a replica; panic: 100.00 over 6 s, none taken away for 60 s"
    )
    # Ten are ready then, and the load has gone: 20 in flight are not twice the ten.
    assert run(policy, 20, 106.2, 165, ready=10) == 10
    assert run(policy, 20, 165, 170, ready=10) == 5
    assert run(policy, 20, 170, 240, ready=5) == 2


def test_windows_of_its_own_rather_than_the_environments() -> None:
    policy = PanicPolicy(stable_window=10, panic_window_percentage=50)
    run(policy, 0, 0, 100)
    assert run(policy, 30, 100, 110.1, ready=3) == 3
    assert "over 10 s" in policy.wish(110.1, seen(30, ready=3)).reason


def test_the_environments_window_may_change_while_it_runs() -> None:
    policy = PanicPolicy()
    run(policy, 10, 0, 60)
    assert "over 5 s" in policy.wish(60.0, seen(10, window_s=5)).reason


def test_a_policy_that_begins_where_replicas_run_keeps_them_for_a_long_window() -> None:
    policy = PanicPolicy()
    assert run(policy, 0, 1000, 1060, ready=4) == 4
    assert run(policy, 0, 1060, 1061, ready=4) == 2
    assert run(policy, 0, 1061, 1062, ready=1) == 0

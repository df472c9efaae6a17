"""Erlang's formulas against published values, the definition, and what must hold for all."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.scaling.erlang import (
    erlang_b,
    erlang_c,
    mean_wait,
    servers_for_wait,
    wait_exceeds,
)

loads = st.floats(0.01, 500.0)
services = st.floats(0.01, 100.0)


@pytest.mark.parametrize(
    ("servers", "load", "blocked"),
    [(10, 4.46, 0.01), (20, 12.03, 0.01), (100, 84.1, 0.01), (10, 5.08, 0.02), (30, 21.9, 0.02)],
)
def test_blocking_as_in_the_tables_of_traffic_engineering(
    servers: int, load: float, blocked: float
) -> None:
    # The tables give the load to three digits.
    assert erlang_b(servers, load) == pytest.approx(blocked, rel=0.02)


def test_a_call_centre_as_it_is_worked_out_in_textbooks() -> None:
    # 12 calls a minute of 4 minutes each for 55 agents.
    assert erlang_c(55, 48.0) == pytest.approx(0.239, abs=5e-4)
    assert mean_wait(55, 0.2, 240.0) == pytest.approx(8.18, abs=0.01)
    assert 1 - wait_exceeds(55, 0.2, 240.0, 15.0) == pytest.approx(0.846, abs=5e-4)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9, 0.999])
def test_one_server_makes_a_request_wait_as_often_as_it_is_busy(load: float) -> None:
    assert erlang_c(1, load) == pytest.approx(load)
    assert mean_wait(1, load, 1.0) == pytest.approx(load / (1 - load))
    assert wait_exceeds(1, load, 1.0, 2.0) == pytest.approx(load * math.exp(-2 * (1 - load)))


@pytest.mark.parametrize("load", [0.2, 1.0, 1.9])
def test_two_servers_in_closed_form(load: float) -> None:
    half = load / 2
    assert erlang_c(2, load) == pytest.approx(2 * half**2 / (1 + half))


@pytest.mark.parametrize(("servers", "load"), [(7, "3.25"), (40, "39.5"), (150, "100"), (90, "17")])
def test_the_recursion_gives_what_the_definition_gives(servers: int, load: str) -> None:
    exact = Fraction(load)
    terms = [exact**n / math.factorial(n) for n in range(servers + 1)]
    assert erlang_b(servers, float(exact)) == pytest.approx(float(terms[-1] / sum(terms)), rel=1e-9)


@pytest.mark.parametrize("load", [9_000.0, 9_900.0, 9_999.0])
def test_ten_thousand_servers(load: float) -> None:
    from_zero = 1.0
    for count in range(1, 10_001):
        from_zero = load * from_zero / (count + load * from_zero)
    assert erlang_b(10_000, load) == pytest.approx(from_zero, rel=1e-9)
    assert 0 < erlang_c(10_000, load) < 1
    assert 0 < mean_wait(10_000, load, 1.0) < 1


def test_far_fewer_requests_than_servers_never_wait() -> None:
    assert erlang_c(10_000, 5.0) == 0.0
    assert mean_wait(10_000, 5.0, 1.0) == 0.0


def test_no_load_and_no_servers() -> None:
    assert erlang_b(3, 0.0) == erlang_c(3, 0.0) == mean_wait(3, 0.0, 1.0) == 0.0
    assert erlang_b(0, 2.0) == erlang_c(0, 2.0) == erlang_b(0, 0.0) == 1.0
    assert mean_wait(0, 2.0, 1.0) == math.inf


def test_more_load_than_servers_makes_everybody_wait_for_ever() -> None:
    assert erlang_c(4, 4.0) == wait_exceeds(4, 2.0, 2.0, 1e9) == 1.0
    assert mean_wait(4, 2.0, 2.0) == math.inf
    assert erlang_b(4, 8.0) == pytest.approx(0.5746, abs=1e-4)


@given(servers=st.integers(1, 600), load=loads)
def test_probabilities_fall_with_servers_and_rise_with_load(servers: int, load: float) -> None:
    for formula in (erlang_b, erlang_c):
        probability = formula(servers, load)
        assert 0 <= probability <= 1
        assert formula(servers + 1, load) <= probability
        assert formula(servers, load * 1.01) >= probability * (1 - 1e-12)


@given(servers=st.integers(1, 600), load=loads, service_s=services, t=st.floats(0, 100))
def test_fewer_wait_the_longer_the_wait(
    servers: int, load: float, service_s: float, t: float
) -> None:
    rate = load / service_s
    assert wait_exceeds(servers, rate, service_s, 0.0) == pytest.approx(
        erlang_c(servers, load), rel=1e-6
    )
    assert wait_exceeds(servers, rate, service_s, t + 1) <= wait_exceeds(
        servers, rate, service_s, t
    )


@given(
    load=loads,
    service_s=services,
    t=st.floats(0, 10),
    share=st.floats(0.001, 0.5),
    step=st.integers(1, 16),
)
def test_the_least_number_of_servers_is_enough_and_one_step_fewer_is_not(
    load: float, service_s: float, t: float, share: float, step: int
) -> None:
    rate = load / service_s
    servers = servers_for_wait(rate, service_s, t, share, step=step, at_most=10_000)
    assert servers is not None
    assert servers % step == 0
    assert wait_exceeds(servers, rate, service_s, t) <= share * (1 + 1e-9)
    assert wait_exceeds(servers - step, rate, service_s, t) > share * (1 - 1e-9)


def test_where_no_allowed_number_of_servers_is_enough() -> None:
    assert servers_for_wait(10.0, 1.0, 0.0, 0.01, at_most=19) == 19
    assert servers_for_wait(10.0, 1.0, 0.0, 0.01, at_most=18) is None
    assert servers_for_wait(10.0, 1.0, 0.0, 0.01, at_most=5) is None
    assert servers_for_wait(0.0, 1.0, 0.0, 0.01, at_most=0) == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: erlang_b(-1, 1.0), "a number of servers must be at least 0, not -1"),
        (lambda: erlang_b(1, -1.0), "a load must be at least 0 erlangs, and finite, not -1.0"),
        (lambda: erlang_c(1, math.nan), "a load must be at least 0 erlangs"),
        (lambda: mean_wait(1, -0.5, 1.0), "a rate must be at least 0 a second, not -0.5"),
        (lambda: mean_wait(1, 0.5, 0.0), "a time of service must be more than 0 s, not 0.0"),
        (lambda: mean_wait(1, math.inf, 1.0), "a load must be finite, not inf a second"),
        (lambda: wait_exceeds(1, 0.5, 1.0, -1.0), "a time to wait must be at least 0 s, not -1.0"),
    ],
)
def test_what_is_out_of_range_is_refused(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()

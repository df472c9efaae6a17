"""Quantiles: exact while numbers are few, close to exact ever after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reports.quantiles import EXACT, Quantiles
from orchestrator.reports.report import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def test_without_numbers_there_is_nothing() -> None:
    assert Quantiles().distribution() == Distribution()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_few_numbers_give_exact_quantiles(numbers: list[float]) -> None:
    quantiles = Quantiles()
    for number in numbers:
        quantiles.add(np.array([number]))
    found = quantiles.distribution()
    assert (found.count, found.min, found.max) == (len(numbers), min(numbers), max(numbers))
    assert found.mean == pytest.approx(np.mean(numbers))
    for name, share in NAMED.items():
        assert getattr(found, name) == pytest.approx(np.quantile(numbers, share))


@pytest.mark.parametrize(
    ("draw", "within"),
    [
        pytest.param(lambda random, n: random.exponential(0.3, n), 0.01, id="exponential"),
        pytest.param(lambda random, n: random.lognormal(0, 1.5, n), 0.02, id="lognormal"),
        pytest.param(
            lambda random, n: np.where(
                random.random(n) < 0.97, random.lognormal(-2, 0.3, n), 30 + random.exponential(5, n)
            ),
            0.02,
            id="cold-starts",
        ),
    ],
)
def test_many_numbers_give_quantiles_close_to_exact(
    draw: Callable[[np.random.Generator, int], np.ndarray], within: float
) -> None:
    numbers = draw(np.random.default_rng(7), 300_000)
    quantiles = Quantiles()
    for part in np.array_split(numbers, 40):
        quantiles.add(part)
    found = quantiles.distribution()
    assert found.count == len(numbers) > EXACT
    assert found.mean == pytest.approx(numbers.mean())
    assert (found.min, found.max) == (numbers.min(), numbers.max())
    for name, share in NAMED.items():
        assert getattr(found, name) == pytest.approx(np.quantile(numbers, share), rel=within)


def test_a_merge_is_as_if_one_had_taken_all_numbers() -> None:
    random = np.random.default_rng(3)
    many, few = random.exponential(1.0, 50_000), random.exponential(5.0, 3_000)
    for one, other in ((many, few), (few, many), (few, few)):
        first, second = Quantiles(), Quantiles()
        first.add(one)
        second.add(other)
        first.merge(second)
        both = np.concatenate((one, other))
        found = first.distribution()
        assert found.count == len(both)
        assert (found.min, found.max) == (both.min(), both.max())
        assert found.mean == pytest.approx(both.mean())
        assert found.p99 == pytest.approx(np.quantile(both, 0.99), rel=0.02)
        assert second.distribution().count == len(other)


def test_the_same_numbers_give_the_same_answer_to_the_last_digit() -> None:
    numbers = np.random.default_rng(5).lognormal(0, 1, 100_000)

    def distribution() -> Distribution:
        quantiles = Quantiles()
        for part in np.array_split(numbers, 13):
            quantiles.add(part)
        return quantiles.distribution()

    assert distribution() == distribution()


@settings(deadline=None)
@given(st.integers(1, 40_000), st.integers(0, 1000))
def test_the_curve_rises_and_stays_between_the_extremes(count: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).gamma(0.5, 2.0, count)
    quantiles = Quantiles()
    quantiles.add(numbers)
    curve = quantiles.distribution().curve
    assert len(curve) <= 200
    shares, values = zip(*curve, strict=True)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert list(shares) == sorted(shares)
    assert list(values) == sorted(values)
    assert values[0] == pytest.approx(numbers.min(), rel=1e-5)
    assert values[-1] == pytest.approx(numbers.max(), rel=1e-5)

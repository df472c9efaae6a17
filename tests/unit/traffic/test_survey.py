"""What a survey of requests says, and what it finds suspicious."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.traffic.rows import Rows, pieces
from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import inspect
from orchestrator.traffic.survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.traffic.survey import Survey
    from tests.unit.traffic.conftest import Writing

    Surveying = Callable[..., Survey]


@pytest.fixture
def surveyed(tmp_path: Path) -> Surveying:
    def look(settings: dict[str, Any], **more: Any) -> Survey:
        return inspect(Arrivals.model_validate(settings), folder=tmp_path, **more)

    return look


def table(*at: float, **more: Any) -> tuple[str, dict[str, Any]]:
    trace = {"file": "t.csv", "columns": {"at": "t"}} | more
    return "t\n" + "\n".join(f"{each:.15g}" for each in at), {"trace": trace}


def test_a_trace_is_counted_as_by_hand(surveyed: Surveying, write: Writing) -> None:
    write("t.csv", "t,e\n0,a\n10,b\n20,a\n190,a\n")
    found = surveyed({"trace": {"file": "t.csv", "columns": {"at": "t", "environment": "e"}}})
    assert found._replace(cv=0) == (4, 190, 3 / 190, 0, 3, 0.5, {"a": 3, "b": 1}, True, ())
    gaps = np.array([10, 10, 170])
    assert found.cv == pytest.approx(gaps.std() / gaps.mean())


@settings(deadline=None)
@given(st.lists(st.floats(0, 5000), min_size=3, max_size=60).map(sorted), st.integers(1, 9))
def test_pieces_make_no_difference(at: list[float], size: int) -> None:
    gaps = np.diff(at)
    found = survey(pieces(Rows(at=np.array(at)), size), 1000, [])
    if gaps.sum() > 1e-3:
        assert found.cv == pytest.approx(gaps.std() / gaps.mean(), rel=1e-6, abs=1e-6)
        assert found.rate == pytest.approx((len(at) - 1) / gaps.sum())
    minutes = np.bincount((np.array(at) // 60).astype(np.int64))
    assert found.busiest_minute == minutes.max()
    span = minutes[int(at[0] // 60) :]
    assert found.idle_share == pytest.approx((span == 0).mean())


def test_a_span_too_short_for_a_mean_has_no_variation() -> None:
    found = survey([Rows(at=np.array([0.0, 0.0, 5e-324]))], 1000, [])
    assert math.isnan(found.cv)


def test_what_is_scaled_is_surveyed_as_it_will_run(surveyed: Surveying, write: Writing) -> None:
    text, settings = table(0, 100, 200)
    write("t.csv", text)
    assert surveyed(settings | {"time_scale": 0.1}).span_s == pytest.approx(20)
    assert surveyed(settings, until_s=150).requests == 2


def test_an_endless_generator_is_surveyed_as_far_as_is_asked(surveyed: Surveying) -> None:
    found = surveyed({"poisson": {"rate": 10}}, most=5000)
    assert (found.requests, found.complete) == (5000, False)
    found = surveyed({"poisson": {"rate": 10}}, until_s=100)
    assert found.complete
    assert found.span_s < 100


def test_one_request_has_no_rate_and_no_variation(surveyed: Surveying, write: Writing) -> None:
    text, settings = table(5)
    write("t.csv", text)
    found = surveyed(settings)
    assert (found.requests, found.rate, found.suspicions) == (1, 0.0, ())
    assert math.isnan(found.cv)


@pytest.mark.parametrize(
    ("at", "unit", "what"),
    [
        ([0, 1e-7, 2e-6, 3e-6], "seconds", "1,000,000 requests come per second on average"),
        ([0, 3e5, 6e5], "seconds", "a request comes only every 3.5 days on average"),
        ([5, 5, 5], "seconds", "all 3 requests come at the same moment"),
        (
            [1.79e9, 1.79e9 + 1, 1.79e9 + 2],
            "milliseconds",
            "t begins with 1790000000: as milliseconds, that is 20.7 days after 1970",
        ),
    ],
)
def test_times_in_another_unit_are_suspicious(
    surveyed: Surveying, write: Writing, at: list[float], unit: str, what: str
) -> None:
    text, settings = table(*at, unit=unit)
    write("t.csv", text)
    found = surveyed(settings)
    assert [suspicion.what for suspicion in found.suspicions] == [what]
    assert "unit" in found.suspicions[0].hint


def test_times_since_1970_in_their_unit_are_not(surveyed: Surveying, write: Writing) -> None:
    text, settings = table(1.79e12, 1.79e12 + 250, unit="milliseconds")
    write("t.csv", text)
    found = surveyed(settings)
    assert (found.span_s, found.suspicions) == (0.25, ())


def test_another_number_in_the_place_of_tokens_is_suspicious(
    surveyed: Surveying, write: Writing
) -> None:
    write("t.csv", "t,id\n0,1\n1,88888888\n")
    trace = {"file": "t.csv", "columns": {"at": "t", "prompt_tokens": "id"}}
    (suspicion,) = surveyed({"trace": trace}).suspicions
    assert suspicion.what == "a prompt has 88,888,888 tokens"


def test_a_part_behind_the_end_is_suspicious(surveyed: Surveying, write: Writing) -> None:
    text, settings = table(0, 1, 2)
    write("t.csv", text)
    found = surveyed(settings | {"start_seconds": 50})
    assert found.requests == 0
    assert found.suspicions[0].what == "there are no requests"

"""ServeGen's clients: rates by windows of ten minutes, in both of its layouts."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.unit.traffic.conftest import cv, times

if TYPE_CHECKING:
    from tests.unit.traffic.conftest import Reading, Refusing, Writing

HEADER = "client,start_s,rate_rps,cv,pattern,param1,param2\n"
TWO_CLIENTS = f"""\
{HEADER}0,0,2,1,Gamma,1,0.5
0,1200,10,1,Gamma,1,0.1
3,600,5,2,Weibull,0.54,0.1
"""


def servegen(**more: Any) -> dict[str, Any]:
    return {"trace": {"file": "s.csv"} | more}


def test_a_window_has_as_many_requests_as_its_rate_says(reading: Reading, write: Writing) -> None:
    write("s.csv", TWO_CLIENTS)
    found = times(reading(servegen()))
    counts = [((found >= at) & (found < at + 600)).sum() for at in (0, 600, 1200)]
    assert counts == [1200, 3000, 6000]
    assert (np.diff(found) >= 0).all()
    assert found.max() < 1800


def test_one_client_sends_what_it_sends_among_all(reading: Reading, write: Writing) -> None:
    write("s.csv", TWO_CLIENTS)
    together = reading(servegen())
    alone = reading(servegen(client=3))
    assert [each for each in together if each.environment == "client-3"] == alone
    assert {each.environment for each in together} == {"client-0", "client-3"}
    assert alone[0].at >= 600


@pytest.mark.parametrize(
    ("pattern", "shape", "expected"),
    [
        ("Gamma", 4.0, 0.5),
        ("Gamma", 0.25, 2.0),
        ("Weibull", 2.0, math.sqrt(math.gamma(2) / math.gamma(1.5) ** 2 - 1)),
        ("Weibull", 0.5, math.sqrt(math.gamma(5) / math.gamma(3) ** 2 - 1)),
    ],
)
def test_gaps_vary_as_their_pattern_and_shape_say(
    reading: Reading, write: Writing, pattern: str, shape: float, expected: float
) -> None:
    rows = [f"0,{600 * window},100,9,{pattern},{shape},9" for window in range(4)]
    write("s.csv", HEADER + "\n".join(rows))
    assert cv(np.diff(times(reading(servegen())))) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("scale", [0.0125, 0.3, 4.5])
def test_a_rate_scale_multiplies_rates_also_where_less_than_a_request_is_left(
    reading: Reading, write: Writing, scale: float
) -> None:
    rows = [f"0,{600 * window},0.1,1,Gamma,1,10" for window in range(2000)]
    write("s.csv", HEADER + "\n".join(rows))
    found = reading(servegen() | {"rate_scale": scale})
    expected = 60 * scale * 2000
    # What is left of a request in a window is one by chance: at most a variance of 1/4.
    assert len(found) == pytest.approx(expected, abs=4 * math.sqrt(2000 / 4))


def test_a_part_may_begin_in_a_window_and_draws_nothing_anew(
    reading: Reading, write: Writing
) -> None:
    write("s.csv", TWO_CLIENTS)
    whole = times(reading(servegen()))
    part = times(reading(servegen() | {"start_seconds": 900, "duration_seconds": 500}))
    expected = whole[(whole >= 900) & (whole < 1400)] - 900
    assert part == pytest.approx(expected)


def test_the_seed_decides(reading: Reading, write: Writing) -> None:
    write("s.csv", TWO_CLIENTS)
    assert reading(servegen(), 1) == reading(servegen(), 1)
    assert reading(servegen(), 1) != reading(servegen(), 2)


def test_a_shape_with_gaps_too_small_for_numbers_still_fills_its_window(
    reading: Reading, write: Writing
) -> None:
    write("s.csv", f"{HEADER}0,0,0.1,1000,Gamma,0.00000001,1\n")
    found = times(reading(servegen()))
    assert found.size == 60
    assert (found < 600).all()


@pytest.fixture
def repository(write: Writing) -> None:
    """The repository's layout: a client with lengths, and one without."""
    write("m/chunk-0-trace.csv", "0,0,0,,0,0\n600,2,1,Gamma,1,0.5\n21600,1,1,Gamma,1,1\n")
    write("m/chunk-7-trace.csv", "0,1,1,Weibull,1,1\n600,0,0,,0,0\n")
    lengths = {
        "0": {"input_tokens": "{10: 0.25, 20: 0.75}", "output_tokens": "{1: 1.0}"},
        "21600": {"input_tokens": "{99: 1.0}", "output_tokens": "{}"},
    }
    write("m/chunk-0-dataset.json", json.dumps(lengths))


@pytest.mark.usefixtures("repository")
def test_the_repository_s_own_layout_has_lengths_by_their_shares(reading: Reading) -> None:
    found = reading({"trace": {"file": "m"}})
    first = [each for each in found if each.environment == "client-0" and each.at < 21_600]
    assert len(first) == 1200
    assert {each.output_tokens for each in first} == {1}
    assert {each.prompt_tokens for each in first} == {10, 20}
    share = sum(each.prompt_tokens == 10 for each in first) / 1200
    assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 1200))
    # Where a span has no shares, those of the one before it hold on.
    later = [each for each in found if each.at >= 21_600]
    assert {(each.prompt_tokens, each.output_tokens) for each in later} == {(99, 1)}
    other = [each for each in found if each.environment == "client-7"]
    assert len(other) == 600
    assert {each.prompt_tokens for each in other} == {0}


@pytest.mark.usefixtures("repository")
def test_one_client_s_file_can_be_named(reading: Reading, refusing: Refusing) -> None:
    assert reading({"trace": {"file": "m/chunk-7-trace.csv"}}) == reading(
        {"trace": {"file": "m", "client": 7}}
    )
    assert refusing({"trace": {"file": "m", "client": 3}}).expected == "one of 0 to 7"


@pytest.mark.parametrize(
    ("row", "what", "expected"),
    [
        ("0,300,1,1,Gamma,1,1", "start_s is 300", "a multiple of 600"),
        ("0,600,-1,1,Gamma,1,1", 'rate_rps is "-1"', "requests per second"),
        ("0,600,1e9,1,Gamma,1,1", "rate_rps is 1e+09", "at most 33,333 requests per second"),
        ("0,600,1,1,Pareto,1,1", 'pattern is "Pareto"', 'one of "Gamma", "Weibull"'),
        ("0,600,1,1,Gamma,0,1", "param1 is 0", "the shape, a number above 0"),
        ("x,600,1,1,Gamma,1,1", 'client is "x"', "a whole number"),
    ],
)
def test_a_row_that_cannot_be_is_shown(
    refusing: Refusing, write: Writing, row: str, what: str, expected: str
) -> None:
    write("s.csv", f"{HEADER}0,0,1,1,Gamma,1,1\n{row}\n")
    error = refusing(servegen())
    assert (error.row, error.what) == (3, what)
    assert error.expected.startswith(expected)


@pytest.mark.parametrize("lengths", ["5", "{'a': 1}", "{1: -1}", "{1: 0}", "[", "os.remove('x')"])
@pytest.mark.usefixtures("repository")
def test_lengths_that_are_no_shares_are_refused(
    refusing: Refusing, write: Writing, lengths: str
) -> None:
    write("m/chunk-0-dataset.json", json.dumps({"0": {"input_tokens": lengths}}))
    error = refusing({"trace": {"file": "m"}})
    assert error.file.endswith("chunk-0-dataset.json")
    assert error.what.startswith("0: input_tokens is ")


def test_a_folder_that_is_no_layout_is_refused(refusing: Refusing, write: Writing) -> None:
    write("m/notes.txt", "")
    error = refusing({"trace": {"file": "m", "format": "servegen"}})
    assert error.what == "has no chunk-N-trace.csv"

"""Distributions: what a file may say, and that the numbers drawn are those asked for."""

from __future__ import annotations

import gzip
import json
import math
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.config import document
from orchestrator.config.explain import problems_of
from orchestrator.config.section import Section
from orchestrator.traffic.distribution import Distribution, draw
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

COUNT = 200_000


class Something(Section):
    """A section that has a distribution, as those of an experiment do."""

    service: Distribution


def numbers(
    spec: Any, count: int = COUNT, *, seed: int = 1, folder: Path | None = None
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    at = {} if folder is None else {"folder": folder}
    drawn = draw(Distribution.model_validate(spec), rng, **at)
    return np.array([drawn() for _ in range(count)])


def refused(yaml: str) -> str:
    found = document.parse(yaml, "e.yaml")
    with pytest.raises(ValidationError) as error:
        Something.model_validate(found.data)
    (problem,) = problems_of(error.value, found, Something)
    return str(problem)


@pytest.mark.parametrize("spec", [3, 3.0, {"fixed": 3}])
def test_a_plain_number_is_always_that_number(spec: Any) -> None:
    assert set(numbers(spec, 10_000)) == {3.0}


@pytest.mark.parametrize(
    ("spec", "mean", "cv"),
    [
        ({"exponential": {"mean": 2}}, 2.0, 1.0),
        ({"lognormal": {"mean": 2, "cv": 1.5}}, 2.0, 1.5),
        ({"lognormal": {"mean": 0.01, "cv": 0.1}}, 0.01, 0.1),
        ({"gamma": {"mean": 5, "cv": 3}}, 5.0, 3.0),
        ({"gamma": {"mean": 5, "cv": 0.2}}, 5.0, 0.2),
        ({"uniform": {"low": 1, "high": 3}}, 2.0, math.sqrt(1 / 3) / 2),
        ({"empirical": {"values": [1, 2, 3]}}, 2.0, math.sqrt(2 / 3) / 2),
    ],
)
def test_mean_and_variation_are_those_asked_for(
    spec: dict[str, Any], mean: float, cv: float
) -> None:
    found = numbers(spec)
    # Four standard errors of the mean; the variation of a long tail settles more slowly.
    assert found.mean() == pytest.approx(mean, rel=4 * cv / math.sqrt(COUNT))
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.05)
    assert found.min() >= 0.0


def test_a_lognormal_by_median_and_95th_percentile_has_them() -> None:
    found = numbers({"lognormal": {"median": 2, "p95": 9}})
    assert np.quantile(found, [0.5, 0.95]) == pytest.approx([2.0, 9.0], rel=0.02)


def test_measured_values_come_back_as_often_as_they_were_measured() -> None:
    found = numbers({"empirical": {"values": [1, 1, 1, 7]}})
    assert set(found) == {1.0, 7.0}
    assert (found == 7.0).mean() == pytest.approx(0.25, abs=0.005)


def test_one_seed_gives_one_sequence_and_another_gives_another() -> None:
    spec = {"exponential": {"mean": 1}}
    assert list(numbers(spec, 9_000, seed=5)) == list(numbers(spec, 9_000, seed=5))
    assert list(numbers(spec, 10, seed=5)) != list(numbers(spec, 10, seed=6))


def test_numbers_are_drawn_as_they_are_asked_for_and_not_repeated_over_batches() -> None:
    found = numbers({"uniform": {"low": 0, "high": 1}}, 3 * 4096)
    assert len(set(found)) == len(found)


@settings(deadline=None)
@given(
    spec=st.one_of(
        st.floats(0, 1e12),
        st.fixed_dictionaries(
            {"mean": st.floats(1e-9, 1e12), "cv": st.floats(0.001, 1000)}
        ).flatmap(lambda form: st.sampled_from([{"gamma": form}, {"lognormal": form}])),
        st.floats(1e-9, 1e12).map(lambda mean: {"exponential": {"mean": mean}}),
    ),
    seed=st.integers(0, 2**32),
)
def test_no_number_is_negative_or_infinite(spec: Any, seed: int) -> None:
    found = draw(Distribution.model_validate(spec), np.random.default_rng(seed))
    assert all(0.0 <= number < math.inf for number in islice(iter(found, None), 50))


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("service: -1", "e.yaml:1: service: must be a number from 0 to 1e+12; got -1"),
        ("service: 'abc'", 'service: must be a number, or a mapping with one of "fixed", "expo'),
        ("service: true", "service: must be a number, or a mapping with one of"),
        ("service: .nan", "service: must be a number, or a mapping with one of"),
        ("service: {}", "it has none"),
        ("service: {fixed: 1, exponential: {mean: 2}}", 'it has "fixed", "exponential"'),
        (
            "service: {lognormale: {mean: 1, cv: 2}}",
            'service.lognormale: unknown field, did you mean "lognormal"?',
        ),
        (
            "service: {lognormal: {mean: 1}}",
            'service.lognormal: must have either mean and cv, or median and p95; it has "mean"',
        ),
        (
            "service: {lognormal: {mean: 1, cv: 2, p95: 3}}",
            'must have either mean and cv, or median and p95; it has "cv", "mean", "p95"',
        ),
        ("service: {lognormal: {median: 2, p95: 1}}", "must have a p95 above its median (2)"),
        ("service: {lognormal: {mean: -1, cv: 2}}", "service.lognormal.mean: must be more than 0"),
        ("service: {gamma: {mean: 1, cv: 0}}", "service.gamma.cv: must be at least 0.001"),
        ("service: {exponential: {}}", "service.exponential.mean: is required but missing"),
        ("service: {exponential: 3}", "service.exponential: must be a mapping"),
        ("service: {exponential: {mean: .inf}}", "service.exponential.mean: must be a number"),
        ("service: {uniform: {low: 2, high: 1}}", "must have a high of at least low (2)"),
        ("service: {empirical: {values: []}}", "service.empirical.values: must not be empty"),
        ("service: {empirical: {values: [1, -2]}}", "empirical.values[1]: must be at least 0"),
        ("service: {empirical: {file: a.csv}}", "must have file and column together"),
        (
            "service: {empirical: {file: a.csv, column: s, values: [1]}}",
            "must have either values, or file and column",
        ),
    ],
)
def test_a_wrong_distribution_says_where_what_and_what_would_be_right(
    yaml: str, message: str
) -> None:
    assert message in refused(yaml)


def test_the_schema_lets_an_editor_write_a_number_or_a_mapping() -> None:
    schema = Something.model_json_schema()["$defs"]["Distribution"]
    assert [form.get("type") for form in schema["anyOf"]] == ["number", "object"]


# Files


def _csv(path: Path) -> None:
    path.write_text("id,seconds\na,1.5\nb,2\n")


def _gzipped_csv(path: Path) -> None:
    path.write_bytes(gzip.compress(b"id,seconds\na,1.5\nb,2\n"))


def _jsonl(path: Path) -> None:
    path.write_text('{"id": "a", "seconds": 1.5}\n\n{"id": "b", "seconds": 2}\n')


@pytest.mark.parametrize(
    ("name", "write"),
    [("t.csv", _csv), ("t.csv.gz", _gzipped_csv), ("t.jsonl", _jsonl)],
)
def test_measured_numbers_are_read_from_a_column_beside_the_experiment(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    found = numbers({"empirical": {"file": name, "column": "seconds"}}, 1000, folder=tmp_path)
    assert set(found) == {1.5, 2.0}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "id,second\na,1\n", 't.csv: has no column "seconds", did you mean "second"?'),
        ("t.csv", "seconds\n1\n-2\n", 't.csv:3: seconds is "-2"; expected a number of at least 0'),
        ("t.csv", "seconds\n1\nabc\n", 't.csv:3: seconds is "abc"'),
        ("t.csv", "seconds\nnan\n", 't.csv:2: seconds is "nan"'),
        ("t.csv", "seconds\ninf\n", 't.csv:2: seconds is "inf"'),
        ("t.csv", "id,seconds\na\n", "t.csv:2: has 1 column: "),
        (
            "t.csv",
            'id,seconds\n"' + "x" * 200_000 + '",1\n',
            "t.csv:2: is no table of text: field larger",
        ),
        ("t.csv", "seconds\n", "t.csv: has no rows; expected at least one below its header"),
        ("t.csv", "", "t.csv: is empty"),
        ("t.jsonl", '{"seconds": 1}\n\n{"seconds": true}\n', "t.jsonl:3: seconds is true"),
        (
            "t.jsonl",
            '{"seconds": 1}\n1,2\n',
            't.jsonl:2: is no JSON object: "1,2"; expected one JSON object a line',
        ),
        ("t.jsonl", "[1]\n", "t.jsonl:1: is a JSON list"),
        ("t.xls", "1\n", 't.xls: ends in ".xls"; expected one of ".csv"'),
    ],
)
def test_a_file_that_is_wrong_says_which_row_and_what_was_expected(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TrafficError) as error:
        numbers({"empirical": {"file": name, "column": "seconds"}}, 1, folder=tmp_path)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match=r"nowhere\.csv: there is no such file"):
        numbers({"empirical": {"file": "nowhere.csv", "column": "s"}}, 1, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"seconds\n\xff\xfe\n", "no UTF-8 text"),
        ("t.csv.gz", b"seconds\n1\n", "cannot be read: "),
        ("t.csv.gz", gzip.compress(b"seconds\n" + b"1\n" * 9999, mtime=0)[:-20], "breaks off"),
    ],
)
def test_bytes_that_are_no_such_file_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrafficError, match=message):
        numbers({"empirical": {"file": name, "column": "seconds"}}, 1, folder=tmp_path)


@settings(max_examples=30, deadline=None)  # files take as long as the disk does
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20))
def test_any_measured_numbers_are_drawn_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    path = tmp_path_factory.mktemp("measured") / "t.jsonl"
    path.write_text("".join(json.dumps({"s": value}) + "\n" for value in values))
    spec = {"empirical": {"file": path.name, "column": "s"}}
    assert set(numbers(spec, 200, folder=path.parent)) <= set(values)

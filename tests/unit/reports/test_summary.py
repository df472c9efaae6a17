"""Means over seeds and their confidence intervals; how numbers are written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reports.metrics import COST, METRICS, P99, Unit, written
from orchestrator.reports.report import LIVE, Distribution, EnvironmentReport, Report, RunReport
from orchestrator.reports.summary import environments, estimate, groups, student
from orchestrator.reports.tables import by_environment, markdown, summary
from tests.unit.reports.made import a_report, a_run


def a_plain_run(label: str, seed: int, p99: float, **fields: object) -> RunReport:
    latency = Distribution(count=10, p50=p99 / 4, p95=p99 / 2, p99=p99)
    found = EnvironmentReport(requests=10, outcomes={"answered": 10}, latency=latency)
    return RunReport(label=label, seed=seed, environments={"a.b": found}, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("freedom", "point"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, column 0.975.
    [(1, 12.706), (2, 4.303), (10, 2.228), (29, 2.045), (30, 2.042), (60, 2.000), (100, 1.984)],
)
def test_students_t_is_that_of_the_tables(freedom: int, point: float) -> None:
    assert student(freedom) == pytest.approx(point, abs=5e-4)


def test_a_fraction_of_a_degree_of_freedom_widens_the_interval() -> None:
    assert student(2.9) == student(2)
    assert student(0.5) == student(1)
    assert student(1e9) == pytest.approx(1.96, abs=1e-4)


def test_an_estimate_by_hand() -> None:
    found = estimate({1: 9.0, 2: 10.0, 3: 11.0})
    assert found.mean == 10.0
    assert found.half_width == pytest.approx(4.303 * 1.0 / 3**0.5)


def test_one_seed_does_not_tell_the_spread() -> None:
    assert estimate({1: 4.0}).half_width is None
    assert estimate({}).mean is None


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_of_twenty_confidence_intervals_nineteen_hold_the_mean(seeds: int, start: int) -> None:
    random = np.random.default_rng((seeds, start))
    held = 0
    for _ in range(400):
        found = estimate(dict(enumerate(random.normal(5.0, 2.0, seeds).tolist())))
        assert found.mean is not None
        assert found.half_width is not None
        held += abs(found.mean - 5.0) <= found.half_width
    assert 0.90 < held / 400 < 0.99


def test_runs_of_a_label_are_a_group_in_the_order_of_the_file() -> None:
    runs = [a_plain_run(label, seed, 1.0) for seed in (1, 2) for label in ("b", "a")]
    found = groups(Report(runs=runs))
    assert [group.name for group in found] == ["b", "a"]
    assert [run.seed for run in found[0].runs] == [1, 2]


def test_the_kind_is_told_only_where_a_label_has_both() -> None:
    runs = [
        a_plain_run("x", 1, 1.0),
        a_plain_run("x", 1, 1.0, kind=LIVE),
        a_plain_run("y", 1, 1.0),
    ]
    assert [group.name for group in groups(Report(runs=runs))] == ["x (simulated)", "x (live)", "y"]


def test_a_run_without_a_label_is_called_after_the_experiment() -> None:
    assert groups(Report(experiment="e", runs=[a_plain_run("", 1, 1.0)]))[0].name == "e"


def test_a_seed_that_measured_nothing_is_left_out_of_the_mean() -> None:
    empty = RunReport(label="x", seed=2, environments={"a.b": EnvironmentReport()})
    [group] = groups(Report(runs=[a_plain_run("x", 1, 3.0), empty]))
    assert group.estimate(P99).values == {1: 3.0}
    assert group.estimate(P99, "c.d").mean is None


def test_a_price_of_nothing_is_no_cost() -> None:
    assert COST.of(EnvironmentReport(cost=0.0)) is None
    assert COST.of(EnvironmentReport(cost=None)) is None
    assert COST.of(EnvironmentReport(cost=2.0)) == 2.0


def test_no_metric_breaks_on_an_environment_without_requests() -> None:
    assert {metric.of(EnvironmentReport()) for metric in METRICS} <= {None, 0}


@pytest.mark.parametrize(
    ("unit", "value", "half_width", "text"),
    [
        (Unit.SECONDS, 1.234, 0.0561, "1.23 ± 0.06 s"),
        (Unit.SECONDS, 0.0412, 0.0006, "41.2 ± 0.6 ms"),
        (Unit.SECONDS, 0.9999, None, "1.00 s"),
        (Unit.SECONDS, 0.0, None, "0 ms"),
        (Unit.SECONDS, 1234.5, None, "1,234 s"),
        (Unit.COUNT, 8819, None, "8,819"),
        (Unit.COUNT, 8819.4, 12.2, "8,819 ± 12"),
        (Unit.SHARE, 0.124, 0.009, "12.4 ± 0.9 %"),
        (Unit.SHARE, 1.0, None, "100 %"),
        (Unit.SHARE, 0.99995, None, "100 %"),
        (Unit.HOURS, 3.0, 0.0, "3.00"),
        (Unit.MONEY, 0.0123, None, "0.012"),
        (Unit.MONEY, None, None, "-"),
    ],
)
def test_numbers_are_written_with_three_digits(
    unit: Unit, value: float | None, half_width: float | None, text: str
) -> None:
    assert written(unit, value, half_width) == text


def test_a_summary_has_a_row_a_setting_and_no_column_without_a_value() -> None:
    runs = [a_plain_run("a", seed, float(seed)) for seed in (1, 2, 3)]
    table = summary(Report(runs=[*runs, a_plain_run("b", 1, 8.0)]))
    assert table.header[:5] == ["setting", "seeds", "requests", "answered", "latency p50"]
    assert "cost" not in table.header
    assert "utilisation" not in table.header
    p99 = table.header.index("latency p99")
    assert [row[p99] for row in table.rows] == ["2.00 ± 2.48 s", "8.00 s"]
    assert [row[:3] for row in table.rows] == [["a", "3", "10"], ["b", "1", "10"]]


def test_environments_have_rows_of_their_own() -> None:
    run = a_run("x", environments=("a.b", "c.d"))
    report = Report(runs=[run])
    assert environments(report) == ["a.b", "c.d"]
    table = by_environment(report)
    assert [row[:2] for row in table.rows] == [["x", "a.b"], ["x", "c.d"]]
    assert table.texts == 2


def test_markdown_keeps_its_columns_whatever_a_label_holds() -> None:
    lines = markdown(summary(a_report({"a|b\nc": 2}, seeds=(1,)))).splitlines()
    assert lines[1].startswith("| --- | ---: |")
    assert lines[2].startswith(r"| a\|b c | 1 |")
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1

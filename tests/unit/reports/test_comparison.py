"""Settings side by side: ratios, what seeds say of a difference, and when not to believe it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from orchestrator.reports.comparison import Comparison, Line, Verdict, compare, joined, pairs
from orchestrator.reports.report import (
    LIVE,
    Distribution,
    EnvironmentReport,
    Report,
    ReportError,
    RunReport,
)
from orchestrator.reports.summary import Group, groups
from orchestrator.reports.tables import as_json, differences


def a_run(label: str, seed: int, p99: float, **fields: Any) -> RunReport:
    latency = Distribution(count=10, p50=p99, p95=p99, p99=p99, mean=p99)
    about = {"arrived": 100 + seed, "mean_arrival_s": 50.0} | fields.pop("traffic", {})
    found = EnvironmentReport(requests=10, outcomes={"answered": 10}, latency=latency, **about)
    plain: dict[str, Any] = {"environments": {"a.b": found}, "span_s": 100.0}
    return RunReport(label=label, seed=seed, **plain | fields)


def a_group(label: str, *p99s: float, first_seed: int = 1, **fields: Any) -> Group:
    runs = [a_run(label, seed, p99, **fields) for seed, p99 in enumerate(p99s, first_seed)]
    [group] = groups(Report(runs=runs))
    return group


def p99_of(comparison: Comparison, environment: str = "") -> Line:
    [line] = [
        line
        for line in comparison.lines
        if line.metric.key == "latency_p99_s" and line.environment == environment
    ]
    return line


def test_what_is_the_same_is_the_same() -> None:
    found = p99_of(compare(a_group("a", 1.0, 2.0), a_group("b", 1.0, 2.0)))
    assert (found.ratio, found.difference, found.verdict) == (1.0, 0.0, Verdict.SAME)


def test_seed_by_seed_a_small_difference_is_seen_under_a_large_spread() -> None:
    a, b = a_group("a", 1.0, 5.0, 9.0), a_group("b", 1.1, 5.1, 9.1)
    comparison = compare(a, b)
    found = p99_of(comparison)
    assert comparison.paired
    assert found.verdict is Verdict.BEYOND
    assert found.difference == pytest.approx(0.1)
    assert found.half_width == pytest.approx(0.0, abs=1e-12)
    assert found.ratio == pytest.approx(5.1 / 5.0)


def test_other_seeds_are_compared_by_their_means() -> None:
    a, b = a_group("a", 1.0, 5.0, 9.0), a_group("b", 1.1, 5.1, 9.1, first_seed=11)
    comparison = compare(a, b)
    assert not comparison.paired
    assert p99_of(comparison).verdict is Verdict.WITHIN


def test_welchs_interval_by_hand() -> None:
    a, b = a_group("a", 1.0, 2.0, 3.0), a_group("b", 11.0, 12.0, 13.0, first_seed=11)
    found = p99_of(compare(a, b))
    # Two variances of 1 over 3 seeds each: 4 degrees of freedom.
    assert found.half_width == pytest.approx(2.776 * (2 / 3) ** 0.5)
    assert found.verdict is Verdict.BEYOND


def test_one_seed_leaves_the_verdict_open() -> None:
    assert p99_of(compare(a_group("a", 1.0), a_group("b", 2.0))).verdict is Verdict.UNKNOWN


def test_seeds_that_agree_to_the_last_digit_leave_no_doubt() -> None:
    a, b = a_group("a", 1.0, 1.0), a_group("b", 2.0, 2.0, first_seed=11)
    assert p99_of(compare(a, b)).verdict is Verdict.BEYOND


def test_of_what_one_did_not_measure_nothing_is_said() -> None:
    empty = {"a.b": EnvironmentReport(arrived=101, mean_arrival_s=50.0)}
    found = p99_of(compare(a_group("a", 1.0), a_group("b", 1.0, environments=empty)))
    assert (found.ratio, found.verdict) == (None, Verdict.MISSING)


def test_by_chance_alone_one_in_twenty_seems_to_differ() -> None:
    draw = random.Random(4)
    beyond = 0
    for _ in range(300):
        a = a_group("a", *(draw.gauss(10, 1) for _ in range(5)))
        b = a_group("b", *(draw.gauss(10, 1) for _ in range(5)))
        beyond += p99_of(compare(a, b)).verdict is Verdict.BEYOND
    assert 0.01 < beyond / 300 < 0.10


def test_environments_are_compared_one_by_one_where_there_are_several() -> None:
    def several(label: str, *p99s: float) -> Group:
        runs = [a_run(label, 1, p99) for p99 in p99s]
        named = {f"m{number}.p": run.whole for number, run in enumerate(runs)}
        return groups(Report(runs=[a_run(label, 1, 9.0, environments=named, total=runs[0].whole)]))[
            0
        ]

    comparison = compare(several("a", 1.0, 2.0), several("b", 1.0, 4.0))
    assert p99_of(comparison).ratio == 1.0
    assert p99_of(comparison, "m1.p").ratio == 2.0
    assert differences(comparison).header[:2] == ["environment", "metric"]


@pytest.mark.parametrize(
    "traffic", [{"arrived": 90}, {"mean_arrival_s": 51.0}], ids=["fewer", "later"]
)
def test_other_traffic_is_warned_of_and_not_paired(traffic: dict[str, float]) -> None:
    a, b = a_group("a", 1.0, 2.0), a_group("b", 1.0, 2.0, traffic=traffic)
    comparison = compare(a, b)
    [warning] = comparison.warnings
    assert warning.startswith("the traffic differs, and with it what came of it: a.b had 101")
    assert not comparison.paired


def test_a_replay_that_sends_milliseconds_late_has_the_same_traffic() -> None:
    a, b = a_group("a", 1.0), a_group("a", 1.0, kind=LIVE, traffic={"mean_arrival_s": 50.004})
    assert compare(a, b).warnings == []


def test_runs_that_are_no_fair_measurement_are_named() -> None:
    a, b = a_group("a", 1.0), a_group("b", 1.0, valid=False, reason="it was late")
    assert compare(a, b).warnings == ["b, seed 1, is no fair measurement: it was late"]


def test_other_environments_and_warm_ups_are_warned_of() -> None:
    run = a_run("b", 1, 1.0, measure_from_s=60.0)
    run.environments["c.d"] = EnvironmentReport()
    [b] = groups(Report(runs=[run]))
    assert compare(a_group("a", 1.0), b).warnings == [
        "only one of them has c.d",
        "one is measured from 0 s on, the other from 60 s",
    ]


def a_report(*labels: str, kind: str = "simulated") -> Report:
    return Report(experiment="e", runs=[a_run(label, 1, 1.0, kind=kind) for label in labels])


def names(found: list[tuple[Group, Group]]) -> list[tuple[str, str]]:
    return [(a.name, b.name) for a, b in found]


def test_settings_of_the_same_label_belong_together() -> None:
    found = pairs(a_report("x", "y", "z"), a_report("z", "x"))
    assert names(found) == [("x", "x"), ("z", "z")]


def test_the_only_settings_belong_together_whatever_their_labels() -> None:
    assert names(pairs(a_report("x"), a_report("y"))) == [("x", "y")]


def test_a_live_setting_belongs_to_the_simulated_one_of_its_label() -> None:
    found = pairs(a_report("x", "y"), a_report("x", "y", kind=LIVE))
    assert [(a.kind, b.kind) for a, b in found] == [("simulated", LIVE)] * 2
    assert compare(*found[0]).names == ("x (simulated)", "x (live)")


def test_a_chosen_setting_is_compared_with_all_of_the_others() -> None:
    report = a_report("x", "y", "z")
    assert names(pairs(report, report, "y", "z")) == [("y", "z")]
    assert names(pairs(report, report, "y")) == [("y", "x"), ("y", "y"), ("y", "z")]


@pytest.mark.parametrize(
    ("first", "second", "label", "said"),
    [
        (a_report("x"), a_report("y"), "w", "the first report has no label 'w'; it has 'x'"),
        (a_report(), a_report("y"), None, "the first report has no runs"),
        (
            a_report("x", "y"),
            a_report("v", "w"),
            None,
            "no label in common; say which to compare: the first has 'x', 'y'; the second has 'v', 'w'",
        ),
    ],
)
def test_what_cannot_be_compared_says_what_there_is(
    first: Report, second: Report, label: str | None, said: str
) -> None:
    with pytest.raises(ReportError, match=said):
        pairs(first, second, label)


def test_joined_reports_tell_settings_of_the_same_name_apart() -> None:
    found = joined(a_report("x", "y"), a_report("y", "z"))
    assert [group.name for group in groups(found)] == ["x", "A: y", "B: y", "z"]
    live = joined(a_report("x"), a_report("x", kind=LIVE))
    assert [group.name for group in groups(live)] == ["x (simulated)", "x (live)"]
    report = a_report("x")
    assert joined(report, report) is report


def test_a_comparison_as_json_has_all_that_the_table_has() -> None:
    comparison = compare(a_group("a", 1.0, 2.0, 3.0), a_group("b", 2.0, 4.0, 6.0))
    found = as_json(comparison)
    assert (found["a"], found["b"], found["paired"]) == ("a", "b", True)
    [p99] = [line for line in found["metrics"] if line["metric"] == "latency_p99_s"]
    assert p99["ratio"] == 2.0
    assert p99["verdict"] == "within"
    assert p99["difference_half_width"] == pytest.approx(4.303 / 3**0.5)

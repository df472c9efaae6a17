"""The asynchronous benchmark: figures, levels, tables, the load's output, its configuration."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from orchestrator.config import load
from tests.benchmarks.__main__ import among
from tests.benchmarks.asynchronous.http_load import RESULT_PREFIX, Batch, parse_output
from tests.benchmarks.asynchronous.metrics import (
    ACCEPTED,
    COMPLETED,
    COMPLETED_WEBHOOK,
    IDLE_START,
    Amounts,
    Figure,
    Metric,
    Sample,
)
from tests.benchmarks.asynchronous.receiver import Batch as Deliveries
from tests.benchmarks.asynchronous.report import (
    README_BLOCK,
    Report,
    as_json,
    as_markdown,
    figure_rows,
    print_report,
)
from tests.benchmarks.asynchronous.suite import OURS, SYSTEMS, Plan
from tests.benchmarks.asynchronous.summary import summarise, times_the_best, verdicts
from tests.benchmarks.asynchronous.systems.orchestrator import (
    CONFIG,
    RUNS,
    WAITS,
    OrchestratorSystem,
    write_config,
)
from tests.benchmarks.asynchronous.systems.queues import ArqSystem, SaqSystem
from tests.benchmarks.report import put_between_markers
from tests.benchmarks.wrk import LoadGeneratorError

GOOD = {
    (OURS, ACCEPTED): 2500.0,
    (OURS, COMPLETED): 1000.0,
    (OURS, COMPLETED_WEBHOOK): 800.0,
    (OURS, IDLE_START): 5.0,
    ("saq", ACCEPTED): 5000.0,
    ("saq", COMPLETED): 800.0,
    ("saq", IDLE_START): 4.0,
    ("arq", ACCEPTED): 3000.0,
    ("arq", COMPLETED): 500.0,
    ("arq", IDLE_START): 10.0,
}


def samples(changes: dict[tuple[str, Metric], float] | None = None) -> list[Sample]:
    figures = {**GOOD, **(changes or {})}
    return [Sample(system, 1, Figure(metric, value)) for (system, metric), value in figures.items()]


def report() -> Report:
    seen = samples()
    summary = summarise(seen)
    return Report(
        plan=Plan([OrchestratorSystem, SaqSystem, ArqSystem], 1, Amounts(100)),
        machine={"cores": 2, "store": "Valkey 9"},
        versions={OURS: "0.1.0", "saq": "0.26.4", "arq": "0.28.0"},
        samples=seen,
        summary=summary,
        levels=verdicts(summary, OURS),
    )


def test_each_figure_is_the_median_of_its_rounds():
    rounds = [Sample("saq", number, Figure(COMPLETED, float(number))) for number in (1, 9, 2)]

    assert summarise(rounds) == {("saq", COMPLETED): 2.0}


def test_ours_is_compared_with_the_best_of_the_others():
    summary = summarise(samples())

    assert times_the_best(summary, COMPLETED, OURS) == 1000 / 800
    assert times_the_best(summary, IDLE_START, OURS) == 5 / 4
    assert times_the_best(summary, COMPLETED_WEBHOOK, OURS) is None
    assert times_the_best({}, COMPLETED, OURS) is None


def test_all_levels_hold_with_good_figures():
    assert all(level.holds for level in verdicts(GOOD, OURS))


@pytest.mark.parametrize(
    ("metric", "value"), [(ACCEPTED, 1999.0), (COMPLETED, 799.0), (IDLE_START, 15.1)]
)
def test_each_level_can_be_missed(metric, value):
    levels = verdicts({**GOOD, (OURS, metric): value}, OURS)

    assert [level.holds for level in levels].count(False) == 1


def test_a_level_is_not_missed_when_a_side_was_not_measured():
    assert {level.holds for level in verdicts({}, OURS)} == {None}


def test_table_has_a_row_a_system_and_ours_divided_by_the_best():
    header, rows = figure_rows(report())

    assert header[1:] == [metric.title for metric in (ACCEPTED, COMPLETED)] + [
        COMPLETED_WEBHOOK.title,
        IDLE_START.title,
    ]
    assert rows == [
        ["orchestrator 0.1.0", "2,500", "1,000", "800", "5.00"],
        ["SAQ 0.26.4", "5,000", "800", "-", "4.00"],
        ["arq 0.28.0", "3,000", "500", "-", "10.00"],
        ["ours ÷ the best peer's", "0.50", "1.25", "-", "1.25"],
    ]


def test_report_is_shown_and_written():
    target = StringIO()

    print_report(Console(file=target, width=200), report())

    assert "holds" in target.getvalue()
    assert as_markdown(report()).count("| --- |") == 2
    assert len(json.loads(json.dumps(as_json(report())))["samples"]) == len(GOOD)


def test_its_readme_block_is_not_that_of_predict():
    text = (
        "<!-- benchmark:start -->\nkept\n<!-- benchmark:end -->\n"
        "<!-- async-benchmark:start -->\nold\n<!-- async-benchmark:end -->\n"
    )

    assert put_between_markers(text, "new", README_BLOCK) == text.replace("old", "new")


def test_load_is_read_from_what_the_script_printed():
    line = RESULT_PREFIX + json.dumps(
        {"accepted": 10, "ended": 10, "began": 1.0, "all_accepted": 2.0, "finished": 3.5}
    )

    assert parse_output(f"Running\n{line}\n", jobs=10, read_results=True) == Batch(1.0, 2.0, 3.5)


@pytest.mark.parametrize(
    "output",
    [
        "unable to connect",
        RESULT_PREFIX + '{"accepted": 9, "ended": 9, "began": 1, "all_accepted": 0, "finished": 0}',
        RESULT_PREFIX
        + '{"accepted": 10, "ended": 9, "began": 1, "all_accepted": 2, "finished": 3}',
    ],
)
def test_load_that_did_not_finish_is_an_error(output):
    with pytest.raises(LoadGeneratorError, match=r"no result|of 10 requests"):
        parse_output(output, jobs=10, read_results=True)


def test_receiver_takes_the_time_of_the_last_new_request():
    seen = Deliveries()
    seen.take(b"a")
    first = seen.last
    seen.take(b"a")

    assert (seen.deliveries, seen.requests, seen.last) == (2, {b"a"}, first)


def test_configuration_is_written_with_a_port_a_name_and_the_store(tmp_path: Path):
    write_config(tmp_path / "cluster.yaml", 12_345, "unix:///tmp/s")

    written = YAML(typ="safe").load((tmp_path / "cluster.yaml").read_text(encoding="utf-8"))
    original = YAML(typ="safe").load(CONFIG.read_text(encoding="utf-8"))
    assert written["cluster"] == {"name": "bench-async-12345", "port": 12_345}
    assert written["store"] == "unix:///tmp/s"
    assert written["models"] == original["models"]
    assert set(original["models"]) == {RUNS, WAITS}


def test_systems_of_both_parts_are_known_by_name():
    assert among(SYSTEMS, ["saq", "litserve"]) == [SaqSystem]
    assert among(SYSTEMS, None) == list(SYSTEMS)
    with pytest.raises(ValueError, match="unknown system 'rq'"):
        among(SYSTEMS, ["rq"])


def test_configuration_is_right():
    assert set(load(CONFIG, {}).models) == {RUNS, WAITS}

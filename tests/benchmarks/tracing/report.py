"""From the runs of all variants to how much lower the throughput is, and what is shown of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from rich.console import Console

from tests.benchmarks.report import Rows, level_rows, markdown_table, print_table, shown
from tests.benchmarks.service_levels import Verdict, at_most
from tests.benchmarks.suite import ECHO, Case, Plan, Run
from tests.benchmarks.summary import Summary, summarise
from tests.benchmarks.tracing.variants import VARIANTS, Traced1, Traced10, Traced100, TracingOff

README_BLOCK = "tracing-benchmark"
OFF = TracingOff.name
LABELS = {variant.name: variant.label for variant in VARIANTS}
MOST_LOWER_PERCENT = {Traced1.name: 3.0, Traced10.name: 6.0, Traced100.name: 30.0}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one benchmark of tracing."""

    plan: Plan
    machine: Mapping[str, Any]
    runs: Sequence[Run]
    summary: Summary
    levels: Sequence[Verdict]


def make_report(plan: Plan, machine: Mapping[str, Any], runs: Sequence[Run]) -> Report:
    """What the runs say."""
    return Report(plan, machine, runs, summarise(runs), verdicts(runs))


def lower_percent(runs: Sequence[Run], variant: str) -> float | None:
    """How much lower the throughput is than with tracing off, in percent; None: not measured.

    The median over all measurements of the variant, each against the one without tracing
    that came right before it: what makes the machine slower or faster meets both.
    """
    off: dict[int, float] = {}
    lower = []
    for run in runs:
        rate, connections = run.measurement.throughput, run.case.connections
        if run.case.system == OFF:
            off[connections] = rate
        elif run.case.system == variant and off.get(connections):
            lower.append(100 * (1 - rate / off[connections]))
    return median(lower) if lower else None


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Every service level."""
    levels = [
        at_most(
            f"throughput with {LABELS[variant]} of the requests traced, percent lower than off",
            lower_percent(runs, variant),
            most,
        )
        for variant, most in MOST_LOWER_PERCENT.items()
    ]
    failed = sum(run.measurement.errors for run in runs)
    holds = failed == 0 if runs else None
    return [*levels, Verdict("failed requests", float(failed), "= 0", holds=holds, digits=0)]


def figure_rows(report: Report) -> Rows:
    """Variants down, connections across."""
    across = report.plan.connections
    header = ["traced", *(f"requests/s at {number}" for number in across)]
    header += [*(f"p50 ms at {number}" for number in across), "lower by"]
    rows = []
    for variant in report.plan.systems:
        seen = [report.summary.get(Case(variant.name, ECHO, number)) for number in across]
        lower = lower_percent(report.runs, variant.name)
        rows.append(
            [
                variant.label,
                *(shown(each.throughput if each else None, 0) for each in seen),
                *(shown(each.p50_ms if each else None) for each in seen),
                "-" if variant.name == OFF or lower is None else f"{lower:.1f} %",
            ]
        )
    return header, rows


def as_markdown(report: Report) -> str:
    """The tables for the README."""
    machine, plan = report.machine, report.plan
    said = (
        f"`make bench`, {plan.rounds} rounds of {plan.seconds:g} s each, medians; "
        f"{machine.get('cores')} cores ({machine.get('processor')}), Python "
        f"{machine.get('python')}, {machine.get('load_generator')}. Spans go by OTLP over HTTP to "
        "a process on the same machine that throws them away."
    )
    tables = [markdown_table(*figure_rows(report)), markdown_table(*level_rows(report.levels))]
    return "\n\n".join([said, *tables]) + "\n"


def print_report(console: Console, report: Report) -> None:
    """All tables, for the terminal."""
    print_table(console, f"tracing, medians of {report.plan.rounds} rounds", figure_rows(report))
    print_table(console, "service levels", level_rows(report.levels))


def as_json(report: Report) -> dict[str, Any]:
    """Everything, every single run included."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(report.machine),
        "rounds": report.plan.rounds,
        "seconds": report.plan.seconds,
        "service_levels": [asdict(level) for level in report.levels],
        "lower_percent": {
            variant: lower_percent(report.runs, variant) for variant in MOST_LOWER_PERCENT
        },
        "medians": [{**asdict(case), **asdict(seen)} for case, seen in report.summary.items()],
        "runs": [
            {
                **asdict(run.case),
                "round": run.round_number,
                "throughput": run.measurement.throughput,
                **asdict(run.measurement),
            }
            for run in report.runs
        ],
    }

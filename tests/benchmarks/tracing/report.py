"""From the runs of all variants to how much lower the throughput is, and what is shown of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import fmean, median, quantiles
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


def each_lower_percent(runs: Sequence[Run], variant: str) -> list[float]:
    """How much lower the throughput was than with tracing off, in percent, rising.

    Each measurement of the variant stands between two without tracing, and is held against
    their mean: what makes the machine slower or faster meanwhile meets all three.
    """
    lower = []
    for connections in {run.case.connections for run in runs}:
        rates = [
            (run.case.system, run.measurement.throughput)
            for run in runs
            if run.case.connections == connections
        ]
        for at, (system, rate) in enumerate(rates):
            beside = [
                off for name, off in (*rates[at - 1 : at], *rates[at + 1 : at + 2]) if name == OFF
            ]
            if system == variant and any(beside):
                lower.append(100 * (1 - rate / fmean(beside)))
    return sorted(lower)


def lower_percent(runs: Sequence[Run], variant: str) -> float | None:
    """The median of `each_lower_percent`; None: not measured."""
    lower = each_lower_percent(runs, variant)
    return median(lower) if lower else None


def shown_lower(runs: Sequence[Run], variant: str) -> str:
    """The median, and between what the middle half lies: the noise that it stands in."""
    lower = each_lower_percent(runs, variant)
    if variant == OFF or not lower:
        return "-"
    if len(lower) == 1:
        return f"{lower[0]:.1f} %"
    first, middle, third = quantiles(lower, n=4, method="inclusive")
    return f"{middle:.1f} % (half of all: {first:.1f} to {third:.1f})"


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
        rows.append(
            [
                variant.label,
                *(shown(each.throughput if each else None, 0) for each in seen),
                *(shown(each.p50_ms if each else None) for each in seen),
                shown_lower(report.runs, variant.name),
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

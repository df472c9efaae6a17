"""What is shown of the asynchronous benchmark: tables for the terminal, Markdown, JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from tests.benchmarks.asynchronous.metrics import Sample
from tests.benchmarks.asynchronous.suite import OURS, Plan
from tests.benchmarks.asynchronous.summary import Summary, measured, times_the_best
from tests.benchmarks.report import Rows, level_rows, markdown_table, print_table, shown
from tests.benchmarks.service_levels import Verdict

README_BLOCK = "async-benchmark"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one asynchronous benchmark."""

    plan: Plan
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    samples: Sequence[Sample]
    summary: Summary
    levels: Sequence[Verdict]


def figure_rows(report: Report) -> Rows:
    """Systems down, figures across; at the end, ours as a multiple of the best of the others."""
    metrics = measured(report.summary)
    rows = []
    for system in report.plan.systems:
        seen = (report.summary.get((system.name, metric)) for metric in metrics)
        cells = [shown(value, metric.digits) for value, metric in zip(seen, metrics, strict=True)]
        rows.append([f"{system.label} {report.versions.get(system.name, '')}".strip(), *cells])
    ratios = [times_the_best(report.summary, metric, OURS) for metric in metrics]
    if any(ratio is not None for ratio in ratios):
        rows.append(["ours ÷ the best peer's", *(shown(ratio) for ratio in ratios)])
    return ["no-op jobs", *(metric.title for metric in metrics)], rows


def print_report(console: Console, report: Report) -> None:
    """All tables, for the terminal."""
    rounds, jobs = report.plan.rounds, report.plan.amounts.jobs
    title = f"durable no-op jobs, {jobs:,} at a time, medians of {rounds} rounds"
    print_table(console, title, figure_rows(report))
    print_table(console, "service levels", level_rows(report.levels))


def as_markdown(report: Report) -> str:
    """The same tables for the README."""
    machine, plan = report.machine, report.plan
    said = (
        f"`make bench`, {plan.rounds} rounds of {plan.amounts.jobs:,} jobs and "
        f"{plan.amounts.idle_jobs} single ones, medians; {machine.get('cores')} cores "
        f"({machine.get('processor')}), {machine.get('system')}, Python {machine.get('python')}. "
        f"Everyone's store: {machine.get('store')} of its own over a unix socket, its append-only "
        f"file synced before each answer (a sync takes {machine.get('sync_p50_ms')} ms here). Ours "
        f"is called over HTTP ({machine.get('load_generator')}, 64 connections), the peers by "
        "their own clients (64 tasks); each has one worker process."
    )
    parts = [markdown_table(*figure_rows(report)), markdown_table(*level_rows(report.levels))]
    return "\n\n".join([said, *parts]) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Everything, every single figure included."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(report.machine),
        "plan": {
            "systems": [system.name for system in report.plan.systems],
            "rounds": report.plan.rounds,
            **asdict(report.plan.amounts),
        },
        "versions": dict(report.versions),
        "service_levels": [asdict(level) for level in report.levels],
        "medians": [
            {"system": system, "metric": metric.name, "value": value}
            for (system, metric), value in report.summary.items()
        ],
        "times_the_best_peer": {
            metric.name: times_the_best(report.summary, metric, OURS)
            for metric in measured(report.summary)
        },
        "samples": [
            {
                "system": sample.system,
                "round": sample.round_number,
                "metric": sample.figure.metric.name,
                "value": sample.figure.value,
            }
            for sample in report.samples
        ],
    }

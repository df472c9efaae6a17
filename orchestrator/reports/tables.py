"""A report's numbers as rows of text, for terminals, Markdown and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.reports.metrics import SUMMARY, written
from orchestrator.reports.summary import environments, groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reports.comparison import Comparison, Line
    from orchestrator.reports.metrics import Metric
    from orchestrator.reports.report import Report


class Rows(NamedTuple):
    """A table of text.

    Attributes:
        header: names of the columns.
        rows: as many cells each.
        texts: how many of the columns are text, from the left; the others are numbers.
    """

    header: list[str]
    rows: list[list[str]]
    texts: int = 1


def summary(report: Report, metrics: Sequence[Metric] = SUMMARY) -> Rows:
    """One row a setting: means over its seeds, with 95 % confidence half-widths.

    Columns that no setting has a value for are left out.
    """
    return _means(report, metrics, [None])


def by_environment(report: Report, metrics: Sequence[Metric] = SUMMARY) -> Rows:
    """One row a setting and environment."""
    return _means(report, metrics, environments(report))


def _means(report: Report, metrics: Sequence[Metric], names: Sequence[str | None]) -> Rows:
    found = groups(report)
    cells = {
        (group.name, name, metric.key): group.estimate(metric, name)
        for group in found
        for name in names
        for metric in metrics
    }
    told = [
        metric
        for metric in metrics
        if any(
            cells[group.name, name, metric.key].mean is not None
            for group in found
            for name in names
        )
    ]
    rows = []
    for group in found:
        for name in names:
            estimates = [(metric, cells[group.name, name, metric.key]) for metric in told]
            numbers = [
                written(metric.unit, each.mean, each.half_width) for metric, each in estimates
            ]
            rows.append([group.name, *([name] if name else []), f"{len(group.runs)}", *numbers])
    texts = ["setting", *(["environment"] if names != [None] else [])]
    return Rows([*texts, "seeds", *(metric.title for metric in told)], rows, len(texts))


def differences(comparison: Comparison) -> Rows:
    """One row a metric: both means, their ratio, and what the seeds say of the difference."""
    several = any(line.environment for line in comparison.lines)
    names = ["environment", "metric"] if several else ["metric"]
    rows = [
        [
            *([line.environment or "all"] if several else []),
            line.metric.title,
            written(line.metric.unit, line.a.mean, line.a.half_width),
            written(line.metric.unit, line.b.mean, line.b.half_width),
            "-" if line.ratio is None else f"{line.ratio:.3f}",
            line.verdict.value,
        ]
        for line in comparison.lines
    ]
    header = [
        *names,
        *(f"{which}: {name}" for which, name in zip("AB", comparison.names, strict=True)),
        "B / A",
        "difference",
    ]
    return Rows(header, rows, len(names))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as a JSON value."""
    return {
        "a": comparison.names[0],
        "b": comparison.names[1],
        "paired": comparison.paired,
        "warnings": comparison.warnings,
        "metrics": [_line(line) for line in comparison.lines],
    }


def markdown(table: Rows) -> str:
    """A table in Markdown, numbers to the right."""
    rules = ["---" if column < table.texts else "---:" for column in range(len(table.header))]
    lines = [table.header, rules, *table.rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _line(line: Line) -> dict[str, Any]:
    return {
        "environment": line.environment or None,
        "metric": line.metric.key,
        "a": line.a.mean,
        "a_half_width": line.a.half_width,
        "b": line.b.mean,
        "b_half_width": line.b.half_width,
        "ratio": line.ratio,
        "difference": line.difference,
        "difference_half_width": line.half_width,
        "verdict": line.verdict.name.lower(),
    }

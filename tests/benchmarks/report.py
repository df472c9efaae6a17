"""What is shown: tables for the terminal, Markdown for the README, JSON for machines."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.service_levels import Verdict
from tests.benchmarks.suite import CONTENDED_CASES, ECHO, OURS, PEERS, Case, Idle, Plan, Run
from tests.benchmarks.summary import (
    COMPARISONS,
    Summary,
    latency_ratio,
    throughput_ratio,
)

LABELS = {peer.name: peer.label for peer in PEERS}
Rows = tuple[list[str], list[list[str]]]
"""A table: its header and its rows."""
README_BLOCK = "benchmark"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one benchmark."""

    plan: Plan
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    runs: Sequence[Run]
    idle: Sequence[Idle]
    summary: Summary
    levels: Sequence[Verdict]

    @property
    def systems(self) -> list[str]:
        """Names of the systems that were measured."""
        return [peer.name for peer in self.plan.systems]


def shown(value: float | None, digits: int = 2) -> str:
    """A number with thousands separators; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def throughput_rows(report: Report) -> Rows:
    """Systems down, connections across, and how many times as much ours does."""

    def cells(ours: Case, theirs: Case) -> tuple[str, str]:
        seen = report.summary.get(theirs)
        ratio = throughput_ratio(report.summary, ours, theirs)
        return shown(seen.throughput if seen else None, 0), shown(ratio)

    return _per_system(report, "requests/s at", cells)


def latency_rows(report: Report) -> Rows:
    """Systems down, connections across, and ours as a multiple of each."""

    def cells(ours: Case, theirs: Case) -> tuple[str, str]:
        seen = report.summary.get(theirs)
        ratio = latency_ratio(report.summary, ours, theirs)
        return shown(seen.p50_ms if seen else None), shown(ratio)

    return _per_system(report, "p50 in ms at", cells)


def _per_system(report: Report, what: str, cells: Callable[[Case, Case], tuple[str, str]]) -> Rows:
    across = report.plan.connections
    header = [what, *(str(number) for number in across), *(f"ours ÷, {n}" for n in across)]
    rows = []
    for system in report.systems:
        pairs = [cells(Case(OURS, ECHO, number), Case(system, ECHO, number)) for number in across]
        name = f"{LABELS[system]} {report.versions.get(system, '')}".strip()
        rows.append([name, *(figure for figure, _ in pairs), *(ratio for _, ratio in pairs)])
    return header, rows


def contended_rows(report: Report) -> Rows:
    """Each contended case beside its reference; empty when ours was not measured."""
    header = ["waiting, against not waiting", "req/s", "p50 ms", "not waiting", "ratio"]
    rows = []
    for comparison in COMPARISONS:
        above = report.summary.get(comparison.contended)
        below = report.summary.get(comparison.reference)
        if above is None or below is None:
            continue
        rows.append(
            [
                comparison.why,
                shown(above.throughput, 0),
                shown(above.p50_ms),
                shown(below.throughput, 0),
                shown(throughput_ratio(report.summary, comparison.contended, comparison.reference)),
            ]
        )
    return header, rows


def level_rows(levels: Iterable[Verdict]) -> Rows:
    """The service levels."""
    names = {True: "holds", False: "MISSED", None: "not measured"}
    rows = [
        [level.statement, shown(level.measured, level.digits), level.bound, names[level.holds]]
        for level in levels
    ]
    return ["service level", "measured", "bound", ""], rows


def print_report(console: Console, report: Report) -> None:
    """All tables, for the terminal."""
    rounds = report.plan.rounds
    tables = (
        (f"throughput, echo, one worker each, medians of {rounds} rounds", throughput_rows(report)),
        ("latency in the same runs; by number of connections", latency_rows(report)),
        ("more connections than slots", contended_rows(report)),
        ("service levels", level_rows(report.levels)),
    )
    for title, rows in tables:
        print_table(console, title, rows)
    for system in report.systems:
        console.print(
            f"idle: {LABELS[system]} takes {shown(idle_median(report, system), 1)} % of a core"
        )


def print_table(console: Console, title: str, header_and_rows: Rows) -> None:
    """One table for the terminal, missed levels in red; nothing when it has no rows."""
    header, rows = header_and_rows
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(header):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row, style="bold red" if row[-1] == "MISSED" else None)
    console.print(table)


def idle_median(report: Report, system: str) -> float | None:
    """Median share of a core without load, in percent."""
    seen = [one.cpu_percent for one in report.idle if one.system == system]
    return median(seen) if seen else None


def as_markdown(report: Report) -> str:
    """The same tables for the README."""
    machine = report.machine
    parts = [
        (
            f"`make bench`, {report.plan.rounds} rounds of {report.plan.seconds:g} s each, medians; "
            f"{machine.get('cores')} cores ({machine.get('processor')}), {machine.get('system')}, "
            f"Python {machine.get('python')}, {machine.get('load_generator')}. "
            "“ours ÷”: our figure divided by the row's."
        ),
    ]
    tables = (
        throughput_rows(report),
        latency_rows(report),
        contended_rows(report),
        level_rows(report.levels),
    )
    for header, rows in tables:
        if rows:
            parts.append(markdown_table(header, rows))
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table, first column to the left and the others to the right."""
    lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    return "\n".join([*lines, *(_line(row) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def put_between_markers(text: str, block: str, name: str = README_BLOCK) -> str:
    """``text`` with ``block`` between the markers ``<!-- name:start -->`` and ``:end``.

    Raises ``ValueError`` where they are not there exactly once.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"one {start} and one {end} are needed, on lines of their own")
    before, rest = text.split(start)
    after = rest.split(end)[1]
    return f"{before}{start}\n{block.strip()}\n{end}{after}"


def as_json(report: Report) -> dict[str, Any]:
    """Everything, every single run included."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(report.machine),
        "plan": {
            "systems": report.systems,
            "connections": list(report.plan.connections),
            "rounds": report.plan.rounds,
            "seconds": report.plan.seconds,
            "contended": [list(case) for case in CONTENDED_CASES] if report.plan.contended else [],
        },
        "versions": dict(report.versions),
        "service_levels": [asdict(level) for level in report.levels],
        "medians": [{**asdict(case), **asdict(seen)} for case, seen in report.summary.items()],
        "comparisons": [
            {
                **asdict(comparison),
                "throughput_ratio": throughput_ratio(
                    report.summary, comparison.contended, comparison.reference
                ),
            }
            for comparison in COMPARISONS
        ],
        "idle_cpu_percent": {system: idle_median(report, system) for system in report.systems},
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

"""The figures as one picture."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from tests.benchmarks.report import LABELS, Report
from tests.benchmarks.suite import ECHO, Case
from tests.benchmarks.summary import COMPARISONS, Median

# Okabe and Ito's palette: tells apart also for the colour-blind. Ours is the strong one.
COLOURS = ("#0072B2", "#E69F00", "#56B4E9", "#CC79A7", "#009E73")
REFERENCE_COLOUR = "#B0B0B0"
CONTENDED_LABELS = {
    ("slots16-10ms", 64, "slots16-10ms"): "64 conn\n16 slots, 10 ms\n(vs 16 conn)",
    ("slots16-10ms", 64, "slots64-10ms"): "64 conn\n16 slots, 10 ms\n(vs 64 slots)",
    ("slots4", 64, ECHO): "64 conn\n4 slots, no work\n(vs 64 slots)",
    ("slots4", 16, ECHO): "16 conn\n4 slots, no work\n(vs 64 slots)",
    ("slots4", 64, "slots4"): "64 conn\n4 slots, no work\n(vs 4 conn)",
}


def draw(report: Report, path: Path) -> None:
    """Write the picture: throughput, latency and, when measured, contention."""
    contended = any(comparison.contended in report.summary for comparison in COMPARISONS)
    figure = Figure(figsize=(15 if contended else 10.5, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3 if contended else 2, width_ratios=[1, 1, 1.1][: 2 + contended])
    _bars(axes[0], report, "throughput")
    axes[0].set_title("Throughput (requests/s, log scale): higher is better", fontsize=10)
    _bars(axes[1], report, "p50_ms")
    axes[1].set_title("Latency p50 (ms, log scale): lower is better", fontsize=10)
    if contended:
        _contended(axes[2], report)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", alpha=0.25, linewidth=0.6)
        one.set_axisbelow(True)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    machine = report.machine
    figure.suptitle(
        f"Echo model, one worker each; medians of {report.plan.rounds} rounds; "
        f"{machine.get('cores')} cores, {machine.get('processor')}",
        fontsize=11,
    )
    figure.savefig(path, dpi=130)


def _bars(axes: Axes, report: Report, field: str) -> None:
    """Groups by number of connections, one bar per system."""
    systems = report.systems
    width = 0.86 / len(systems)
    for number, system in enumerate(systems):
        for group, connections in enumerate(report.plan.connections):
            seen = report.summary.get(Case(system, ECHO, connections))
            if seen is None:
                continue
            value = seen.throughput if field == "throughput" else seen.p50_ms
            bar = axes.bar(
                group + (number - (len(systems) - 1) / 2) * width,
                value,
                width * 0.94,
                color=COLOURS[number % len(COLOURS)],
                label=LABELS[system] if group == 0 else None,
            )
            axes.bar_label(bar, labels=[_short(value)], fontsize=6.5, padding=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axes.set_xticks(
        range(len(report.plan.connections)),
        [
            f"{connections} connection{'s' if connections > 1 else ''}"
            for connections in report.plan.connections
        ],
    )


def _contended(axes: Axes, report: Report) -> None:
    """Pairs: without anyone waiting, and with."""
    pairs = [
        (comparison, report.summary[comparison.reference], report.summary[comparison.contended])
        for comparison in COMPARISONS
        if comparison.reference in report.summary and comparison.contended in report.summary
    ]
    for offset, colour, name, column in (
        (-0.2, REFERENCE_COLOUR, "nobody waits", 0),
        (0.2, COLOURS[0], "more connections than slots", 1),
    ):
        values = [_side(reference, waiting, column) for _, reference, waiting in pairs]
        positions = [position + offset for position in range(len(pairs))]
        bars = axes.bar(positions, values, 0.38, color=colour, label=name)
        axes.bar_label(bars, labels=[_short(value) for value in values], fontsize=6.5, padding=1)
    axes.set_xticks(
        range(len(pairs)),
        [
            CONTENDED_LABELS.get(
                (one.contended.model, one.contended.connections, one.reference.model), one.why
            )
            for one, _, _ in pairs
        ],
        fontsize=6.5,
    )
    axes.set_title("Ours with a line of waiters (requests/s)", fontsize=10)
    axes.margins(y=0.2)
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)


def _side(reference: Median, waiting: Median, column: int) -> float:
    return waiting.throughput if column else reference.throughput


def _short(value: float) -> str:
    """Three significant figures at most, for a label over a bar."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

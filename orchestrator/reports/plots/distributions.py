"""How latencies are distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from orchestrator.reports.metrics import P50, P95, P99, Unit, written
from orchestrator.reports.plots.axes import rows_axis, seconds_axis
from orchestrator.reports.plots.marks import legend, marks, rows
from orchestrator.reports.plots.theme import MUTED, SURFACE, TONES
from orchestrator.reports.report import EnvironmentReport
from orchestrator.reports.summary import environment_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from orchestrator.reports.plots.marks import Mark
    from orchestrator.reports.report import Distribution
    from orchestrator.reports.summary import Group

_TITLES: Final = {
    "latency": "Latency of those answered",
    "wait": "Wait in line",
    "first_byte": "First byte",
}
_SHARES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
_DECADES: Final = 4.0
"""What is faster than the slowest by more powers of ten is drawn at the left edge."""

_WIDTH: Final = 10.0
_ROW: Final = 0.34


def curves(groups: Sequence[Group], environment: str | None) -> Figure | None:
    """The share of requests that took at most so long: latency, wait and first byte.

    The share's axis gives each further nine the same room, so that the slowest requests,
    by which services are judged, are to be seen.
    """
    shown = marks(groups)
    names = [
        name
        for name in _TITLES
        if any(_distribution(mark, name, environment).count for mark in shown)
    ]
    if not names:
        return None
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(_TITLES[name])
        _curves(axes, [(mark, _distribution(mark, name, environment)) for mark in shown])
    panels[0].set_ylabel("share of requests")
    legend(figure, shown)
    return figure


def percentiles(groups: Sequence[Group], environment: str | None) -> Figure | None:
    """p50, p95 and p99 of latency, a row a setting, with the seeds' confidence intervals."""
    if not any(group.estimate(P99, environment).mean is not None for group in groups):
        return None
    shown = rows(groups)
    figure = Figure(figsize=(_WIDTH, 0.9 + _ROW * len(shown)), layout="constrained")
    axes: Axes = figure.subplots()
    for row, group in enumerate(shown):
        _percentiles(axes, row, group, environment)
    rows_axis(axes, shown)
    axes.grid(visible=False, axis="y")
    # Only the means: two seeds may have an interval that leaves no room for anything else.
    means = [
        mean
        for group in shown
        for metric, _, _ in _MARKERS
        if (mean := group.estimate(metric, environment).mean) is not None
    ]
    seconds_axis(axes.xaxis, min(means), max(means), room=1.35)
    axes.set_xlabel("latency of those answered")
    handles = [
        Line2D([], [], marker=marker, ls="", color=colour, markeredgecolor=SURFACE, ms=6)
        for _, marker, colour in _MARKERS
    ]
    labels = ["p50", "p95", "p99"]
    figure.legend(handles, labels, loc="outside upper left", ncols=3, handletextpad=0.1)
    return figure


_MARKERS: Final = ((P50, "o", TONES[2]), (P95, "D", TONES[1]), (P99, "s", TONES[3]))


def _distribution(mark: Mark, name: str, environment: str | None) -> Distribution:
    found = environment_of(mark.group.first, environment) or EnvironmentReport()
    distribution: Distribution = getattr(found, name)
    return distribution


def _curves(axes: Axes, found: Sequence[tuple[Mark, Distribution]]) -> None:
    slowest = max(each.max for _, each in found)
    fastest = min((each.curve[0][1] for _, each in found if each.curve), default=0.0)
    left = max(fastest, slowest / 10**_DECADES, 1e-6)
    most = 1.0
    for mark, each in found:
        # Beyond its own resolution a curve says nothing.
        points = [(share, value) for share, value in each.curve if share <= 1 - 1 / each.count]
        if points:
            shares, values = np.array(points).T
            nines = _nines(shares)
            most = max(most, float(nines.max()))
            axes.plot(np.maximum(values, left), nines, **mark.line)
    seconds_axis(axes.xaxis, left, max(slowest, left * 10), room=1.0, names=5)
    shown = [share for share in _SHARES if _nines(np.array(share)) <= most + 0.05]
    axes.yaxis.set_major_locator(FixedLocator([float(_nines(np.array(share))) for share in shown]))
    axes.set_yticklabels([f"{share * 100:g} %" for share in shown])
    axes.set_ylim(0, most * 1.02)


def _nines(shares: np.ndarray) -> np.ndarray:
    """0 for none, 1 for 90 %, 2 for 99 %, ..."""
    return np.asarray(-np.log10(np.maximum(1.0 - shares, 1e-9)))


def _percentiles(axes: Axes, row: int, group: Group, environment: str | None) -> None:
    estimates = [group.estimate(metric, environment) for metric, _, _ in _MARKERS]
    means = [each.mean for each in estimates if each.mean is not None]
    if len(means) < len(estimates):
        return
    axes.plot([means[0], means[-1]], [row, row], color=MUTED, lw=1.0, alpha=0.6, zorder=1)
    for (_, marker, colour), each, mean in zip(_MARKERS, estimates, means, strict=True):
        wide = each.half_width or 0.0
        # On a logarithmic axis an interval cannot reach 0.
        low = min(wide, mean * 0.9)
        axes.errorbar(
            mean,
            row,
            xerr=[[low], [wide]],
            marker=marker,
            ms=6,
            color=colour,
            markeredgecolor=SURFACE,
            markeredgewidth=0.8,
            elinewidth=1.4,
            capsize=3,
            zorder=2,
        )
    axes.annotate(
        written(Unit.SECONDS, means[-1]),
        (1.0, row),
        xycoords=axes.get_yaxis_transform(),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=_MARKERS[-1][2],
    )

"""Runs over time: traffic, load, latency, replicas by stage, GPUs by environment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from orchestrator.reports.plots.axes import duration, time_axis
from orchestrator.reports.plots.marks import legend, marks, shortened
from orchestrator.reports.plots.theme import MUTED, STAGES, TEXT, TONES
from orchestrator.reports.summary import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from orchestrator.reports.plots.marks import Mark
    from orchestrator.reports.report import RunReport, Series
    from orchestrator.reports.summary import Group

    Floats = NDArray[np.float64]

_POINTS: Final = 300
"""A line has at most so many: more than the picture can show only make the file large."""

_WIDTH: Final = 10.0
_MOST_POOLS: Final = 4
_MOST_SHARES: Final = len(TONES)


class _Panel(NamedTuple):
    """One of the panels that stand over each other.

    Attributes:
        values: of each bin; nan: there is none.
        style: of its lines.
        logarithmic: it is of durations that differ by powers of ten.
    """

    title: str
    values: Callable[[Series], Floats]
    style: Mapping[str, Any] = {}
    logarithmic: bool = False


_PANELS: Final = (
    _Panel("Arrivals, requests/s", lambda series: np.array(series.arrivals) / series.bin_s),
    _Panel("Waiting in line, requests", lambda series: np.array(series.waiting)),
    _Panel("Running, requests", lambda series: np.array(series.running)),
    _Panel(
        "Ready replicas",
        lambda series: _of_stage(series, "READY"),
        style={"drawstyle": "steps-mid"},
    ),
    _Panel(
        "Mean latency of those answered",
        lambda series: np.array(series.latency, dtype=np.float64),
        # Without its mark a bin between two empty ones would not be seen.
        style={"marker": ".", "markersize": 2.5},
        logarithmic=True,
    ),
)


def over_time(groups: Sequence[Group], environment: str | None) -> Figure | None:
    """Panels of several settings over each other, each by its first seed."""
    shown = [mark for mark in marks(groups) if _series(mark, environment) is not None]
    if not shown:
        return None
    figure = Figure(figsize=(_WIDTH, 0.6 + 1.45 * len(_PANELS)), layout="constrained")
    rows: Sequence[Axes] = figure.subplots(len(_PANELS), 1, sharex=True)
    span_s = max(mark.group.first.span_s for mark in shown)
    scale = time_axis(rows[-1], span_s)
    for axes, panel in zip(rows, _PANELS, strict=True):
        axes.set_title(panel.title)
        _draw(axes, panel, shown, environment, scale)
    legend(figure, shown)
    return figure


def replicas(groups: Sequence[Group], environment: str | None) -> Figure | None:
    """Replicas by stage, stacked, under the number wanted: a panel a setting, its first seed."""
    shown = [mark for mark in marks(groups) if _series(mark, environment) is not None]
    if not shown:
        return None
    figure, panels = _panels(len(shown), 2.0)
    there: set[str] = set()
    top = 0.0
    for number, (axes, mark) in enumerate(zip(panels, shown, strict=False)):
        series = _series(mark, environment)
        if series is None:
            continue
        axes.set_title(shortened(mark.group.name))
        labelled = number + 2 >= len(shown)
        scale = time_axis(axes, mark.group.first.span_s, labelled=labelled)
        levels = {stage: np.array(series.stages.get(stage, ())) for stage in reversed(STAGES)}
        top = max(top, _stack(axes, levels, STAGES, series.bin_s / scale))
        wanted, width = _coarser(np.array(series.desired), series.bin_s / scale)
        _steps(axes, wanted, width, color=TEXT, lw=1.1)
        top = max(top, float(wanted.max(initial=0.0)))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        there |= set(series.stages)
    panels[0].set_ylim(0, (top or 1.0) * 1.08)
    stages = [stage for stage in STAGES if stage in there]
    handles = [Line2D([], [], color=TEXT, lw=1.1), *(Patch(color=STAGES[name]) for name in stages)]
    labels = ["wanted", *(name.lower() for name in stages)]
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


def pool(groups: Sequence[Group], _environment: str | None = None) -> Figure | None:
    """Who had the GPUs: a panel a setting, its first seed; None where one environment had all."""
    shown = [group for group in groups if len(_gpus(group.first)) > 1][:_MOST_POOLS]
    if not shown:
        return None
    names = _largest(shown)
    colours = dict(zip(names, TONES, strict=False)) | {_OTHERS: MUTED}
    figure, panels = _panels(len(shown), 2.3)
    there: set[str] = set()
    top = 0.0
    for number, (axes, group) in enumerate(zip(panels, shown, strict=False)):
        axes.set_title(shortened(group.name))
        labelled = number + 2 >= len(shown)
        scale = time_axis(axes, group.first.span_s, labelled=labelled)
        levels, width = _shares(group.first, names)
        top = max(top, _stack(axes, levels, colours, width / scale))
        there |= set(levels)
        if group.first.pool.gpus is not None:
            axes.axhline(group.first.pool.gpus, color=TEXT, lw=1.1, ls=_DASHES)
            top = max(top, group.first.pool.gpus)
    panels[0].set_ylim(0, (top or 1.0) * 1.08)
    labels = [name for name in colours if name in there]
    handles: list[Artist] = [Patch(color=colours[name]) for name in labels]
    if any(group.first.pool.gpus is not None for group in shown):
        handles.append(Line2D([], [], color=TEXT, lw=1.1, ls=_DASHES))
        labels.append("all that there are")
    names = [shortened(name) for name in labels]
    figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 5))
    return figure


_DASHES: Final = (0, (4, 3))
_OTHERS: Final = "others"


def _series(mark: Mark, environment: str | None) -> Series | None:
    found = environment_of(mark.group.first, environment)
    return None if found is None else found.series


def _of_stage(series: Series, stage: str) -> Floats:
    return np.array(series.stages.get(stage) or [0.0] * len(series.arrivals))


def _draw(
    axes: Axes, panel: _Panel, shown: Sequence[Mark], environment: str | None, scale: float
) -> None:
    drawn: list[Floats] = []
    for mark in shown:
        series = _series(mark, environment)
        if series is None:
            continue
        values, width = _coarser(panel.values(series), series.bin_s / scale)
        # The same traffic under every setting is one line, and nobody's.
        if any(_alike(values, other) for other in drawn):
            continue
        drawn.append(values)
        middles = (np.arange(len(values)) + 0.5) * width
        axes.plot(middles, values, lw=1.2, **panel.style, **mark.line)
    if len(drawn) == 1 and len(shown) > 1:
        axes.lines[0].set(color=MUTED, linestyle="-")
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, min_n_ticks=2))


def _alike(one: Floats, other: Floats) -> bool:
    """Whether two lines are the same until the first of them ends."""
    both = min(len(one), len(other))
    rests = np.concatenate((one[both:], other[both:]))
    return (
        np.array_equal(one[:both], other[:both], equal_nan=True) and not np.nan_to_num(rests).any()
    )


def _coarser(values: Floats, width: float) -> tuple[Floats, float]:
    """Means of neighbouring bins, few enough to be drawn, and how wide they are."""
    each = math.ceil(len(values) / _POINTS)
    if each < 2:
        return values, width
    padded = np.concatenate((values, np.full(-len(values) % each, np.nan))).reshape(-1, each)
    known = ~np.isnan(padded)
    sums = np.where(known, padded, 0.0).sum(axis=1)
    counts = known.sum(axis=1)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return means, width * each


def _stack(
    axes: Axes, levels: Mapping[str, Floats], colours: Mapping[str, str], width: float
) -> float:
    """Draw levels over each other, the first at the bottom; gives how high they go."""
    below: Floats = np.zeros(1)
    for name, level in levels.items():
        if not level.any():
            continue
        means, wide = _coarser(level, width)
        above = below + means
        _steps(axes, above, wide, baseline=below, fill=True, color=colours[name], lw=0)
        below = above
    axes.grid(visible=False, axis="x")
    return float(below.max())


def _steps(
    axes: Axes, values: Floats, width: float, *, baseline: Floats | None = None, **style: Any
) -> None:
    """Draw bins as steps, in as few points as that takes."""
    under = np.broadcast_to(0.0 if baseline is None else baseline, values.shape)
    changes = np.flatnonzero((np.diff(values) != 0) | (np.diff(under) != 0)) + 1
    begins = np.concatenate(([0], changes))
    edges = np.append(begins, len(values)) * width
    axes.stairs(
        values[begins], edges, baseline=None if baseline is None else under[begins], **style
    )


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels in two columns, with the same scales."""
    columns = min(count, 2)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(_WIDTH, 0.5 + height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel().tolist()
    for unused in panels[count:]:
        unused.set_visible(False)
    return figure, panels


def _shares(run: RunReport, names: Sequence[str]) -> tuple[dict[str, Floats], float]:
    """GPUs taken over time by environment, those not named as one, and the width of a bin."""
    found = _gpus(run)
    levels = {name: found[name] for name in names if name in found}
    rest = [taken for name, taken in found.items() if name not in names]
    if rest:
        levels[_OTHERS] = np.sum(rest, axis=0)
    return levels, max(
        each.series.bin_s for each in run.environments.values() if each.series is not None
    )


def _gpus(run: RunReport) -> dict[str, Floats]:
    """GPUs taken over time, by environment; all in bins of one width."""
    series = {
        name: found.series
        for name, found in run.environments.items()
        if found.series is not None and found.gpus_per_replica
    }
    widest = max((each.bin_s for each in series.values()), default=1.0)
    return {
        name: _wider(_taken(each, run.environments[name].gpus_per_replica), widest / each.bin_s)
        for name, each in series.items()
    }


def _taken(series: Series, gpus: float) -> Floats:
    taken = np.zeros(len(series.arrivals))
    for stage, replicas in series.stages.items():
        if stage != "PROVISIONING":
            taken += np.array(replicas) * gpus
    return taken


def _wider(values: Floats, factor: float) -> Floats:
    each = round(factor)
    padded = np.concatenate((values, np.zeros(-len(values) % each)))
    means: Floats = padded.reshape(-1, each).mean(axis=1)
    return means


def _largest(groups: Sequence[Group]) -> list[str]:
    """The environments that had most, in their order in the report."""
    run = groups[0].first
    ranked = sorted(run.environments, key=lambda name: -run.environments[name].gpu_seconds)
    if len(ranked) > _MOST_SHARES:
        ranked = ranked[: _MOST_SHARES - 1]
    return [name for name in run.environments if name in ranked]

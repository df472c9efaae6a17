"""What settings cost, and what they give for it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from orchestrator.reports.metrics import BUSY, COLD, COST, GPU_HOURS, P99, Unit, written
from orchestrator.reports.plots.axes import rows_axis, seconds_axis
from orchestrator.reports.plots.marks import rows, shortened
from orchestrator.reports.plots.theme import MUTED, SURFACE, TEXT, TONES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

    from orchestrator.reports.metrics import Metric
    from orchestrator.reports.summary import Estimate, Group

_WIDTH: Final = 10.0
_ROW: Final = 0.34
_MOST_LABELLED: Final = 14
"""Of so many points each is labelled; of more, those of the front."""

_PLACES: Final = (
    ((8, 0), "left", "center"),
    ((6, 7), "left", "bottom"),
    ((6, -7), "left", "top"),
    ((-8, 0), "right", "center"),
    ((-6, 7), "right", "bottom"),
    ((-6, -7), "right", "top"),
    ((0, 9), "center", "bottom"),
    ((0, -9), "center", "top"),
)
"""Where a point's label may stand: offset in points, and which of its edges is there."""


def costs(groups: Sequence[Group], environment: str | None) -> Figure | None:
    """Bars, a row a setting: cold share, GPU-hours, utilisation, cost."""
    groups = rows(groups)
    panels = [
        (metric, colour)
        for metric, colour in zip((COLD, GPU_HOURS, BUSY, COST), TONES, strict=False)
        if any(group.estimate(metric, environment).mean is not None for group in groups)
    ]
    if not panels:
        return None
    figure = Figure(figsize=(_WIDTH, 0.7 + _ROW * len(groups)), layout="constrained")
    row: Sequence[Axes] = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (metric, colour) in zip(row, panels, strict=True):
        _bars(axes, [group.estimate(metric, environment) for group in groups], metric, colour)
    rows_axis(row[0], groups)
    return figure


class _Point(NamedTuple):
    """A setting by what it costs and how slow it is."""

    group: Group
    cost: Estimate
    slow: Estimate
    x: float
    y: float


def pareto(groups: Sequence[Group], environment: str | None) -> Figure | None:
    """Cost against p99 latency; the settings that none beats in both are the front.

    GPU-hours stand for the cost where no price is known. None for fewer than two settings.
    """
    metric = COST if any(_mean(group, COST, environment) for group in groups) else GPU_HOURS
    points = [
        _Point(group, cost, slow, cost.mean, slow.mean)
        for group in groups
        if (cost := group.estimate(metric, environment)).mean is not None
        and (slow := group.estimate(P99, environment)).mean is not None
    ]
    if len(points) < 2:
        return None
    best = front(points)
    figure = Figure(figsize=(_WIDTH, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Axes = figure.subplots()
    _scatter(axes, points, best)
    axes.set_xlabel(f"{metric.title}: less is better")
    axes.set_ylabel("p99 latency: less is better")
    _label(figure, axes, points, best)
    return figure


def front(points: Sequence[_Point]) -> list[_Point]:
    """Those that no other beats in cost without being slower, or the other way round."""
    found: list[_Point] = []
    for point in sorted(points, key=lambda each: (each.x, each.y)):
        if not found or point.y < found[-1].y:
            found.append(point)
    return found


def _bars(axes: Axes, estimates: Sequence[Estimate], metric: Metric, colour: str) -> None:
    axes.grid(visible=False, axis="y")
    axes.set_title(metric.title[0].upper() + metric.title[1:])
    scale = 100.0 if metric.unit is Unit.SHARE else 1.0
    for row, each in enumerate(estimates):
        if each.mean is None:
            continue
        wide = (each.half_width or 0.0) * scale
        axes.barh(
            row,
            each.mean * scale,
            height=0.62,
            color=colour,
            alpha=0.75,
            xerr=wide or None,
            error_kw={"elinewidth": 1.2, "capsize": 2.5, "ecolor": TEXT},
        )
        axes.annotate(
            written(metric.unit, each.mean),
            (each.mean * scale + wide, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=MUTED,
            fontsize=8,
        )
    axes.set_xlim(0, _room([each for each in estimates if each.mean is not None], scale))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    if metric.unit is Unit.SHARE:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


def _room(estimates: Sequence[Estimate], scale: float) -> float:
    """Up to where an axis of bars goes, so that the numbers behind them have room."""
    longest = max((each.mean or 0.0) + (each.half_width or 0.0) for each in estimates)
    return (longest * scale or 1.0) * 1.35


def _mean(group: Group, metric: Metric, environment: str | None) -> float | None:
    return group.estimate(metric, environment).mean


def _scatter(axes: Axes, points: Sequence[_Point], best: Sequence[_Point]) -> None:
    axes.plot(
        [point.x for point in best],
        [point.y for point in best],
        color=TONES[0],
        lw=1.4,
        alpha=0.7,
        zorder=1,
        drawstyle="steps-post",
    )
    for point in points:
        chosen = point in best
        colour = TONES[0] if chosen else MUTED
        wide = point.slow.half_width or 0.0
        axes.errorbar(
            point.x,
            point.y,
            xerr=point.cost.half_width or 0.0,
            # On a logarithmic axis an interval cannot reach 0.
            yerr=[[min(wide, point.y * 0.9)], [wide]],
            fmt="none",
            ecolor=colour,
            elinewidth=1.0,
            alpha=0.35,
            zorder=1,
        )
        axes.plot(
            [point.x],
            [point.y],
            marker="o",
            ms=8 if chosen else 6,
            color=colour,
            markeredgecolor=SURFACE,
            markeredgewidth=0.9,
            zorder=3 if chosen else 2,
        )
    costs = [point.x for point in points]
    space = 0.12 * (max(costs) - min(costs)) or 0.12 * max(costs) or 1.0
    axes.set_xlim(max(min(costs) - space, 0.0), max(costs) + 2 * space)
    times = [point.y for point in points]
    seconds_axis(axes.yaxis, min(times), max(times), room=1.3)


def _label(figure: Figure, axes: Axes, points: Sequence[_Point], best: Sequence[_Point]) -> None:
    """Write names beside points where they cover neither each other nor another point."""
    figure.draw_without_rendering()
    named = points if len(points) <= _MOST_LABELLED else best
    taken = [*(_around(axes, point) for point in points), *_lines(axes, points, best)]
    for point in sorted(named, key=lambda each: each not in best):
        colour = TEXT if point in best else MUTED
        placed = [_written(axes, point, place, colour) for place in _PLACES]
        boxes = [each.get_window_extent() for each in placed]
        scores = [_covered(box, taken, axes.get_window_extent()) for box in boxes]
        chosen = scores.index(min(scores))
        for index, each in enumerate(placed):
            if index != chosen:
                each.remove()
        taken.append(boxes[chosen])


def _written(
    axes: Axes, point: _Point, place: tuple[tuple[int, int], str, str], colour: str
) -> Annotation:
    offset, horizontal, vertical = place
    return axes.annotate(
        shortened(point.group.name),
        (point.x, point.y),
        xytext=offset,
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        color=colour,
        fontsize=8,
    )


def _around(axes: Axes, point: _Point) -> Bbox:
    """The pixels that a point's mark takes."""
    x, y = axes.transData.transform((point.x, point.y))
    return Bbox.from_extents(x - 5, y - 5, x + 5, y + 5)


def _lines(axes: Axes, points: Sequence[_Point], best: Sequence[_Point]) -> list[Bbox]:
    """The pixels that the front and the confidence intervals take."""
    corners = [(point.x, point.y) for point in best]
    ends = [((x, y), (right, y)) for (x, y), (right, _) in pairwise(corners)]
    ends += [((right, y), (right, lower)) for (_, y), (right, lower) in pairwise(corners)]
    for point in points:
        tall, wide = point.slow.half_width or 0.0, point.cost.half_width or 0.0
        ends.append(((point.x, max(point.y - tall, point.y / 10)), (point.x, point.y + tall)))
        ends.append(((point.x - wide, point.y), (point.x + wide, point.y)))
    pixels = [axes.transData.transform(pair) for pair in ends]
    return [Bbox([low.min(axis=0) - 1, low.max(axis=0) + 1]) for low in pixels]


def _covered(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """How bad a place is: what it covers of others, and how much of it is outside."""
    within = Bbox.intersection(box, inside)
    outside = box.width * box.height - (within.width * within.height if within else 0.0)
    shared = [Bbox.intersection(box, other) for other in taken]
    return outside * 2 + sum(each.width * each.height for each in shared if each)

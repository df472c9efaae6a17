"""Axes of durations, of a run's time, and of settings in rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from orchestrator.reports.plots.marks import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from orchestrator.reports.summary import Group

_UNITS: Final = (
    (2 * 86_400.0, 86_400.0, "days"),
    (2 * 3600.0, 3600.0, "hours"),
    (300.0, 60.0, "minutes"),
)

_LINEAR: Final = 8.0
"""Durations whose largest is so many times the smallest or less are drawn from 0 on."""

_NAMED: Final = (
    *(digit * 10.0**power for power in range(-6, 0) for digit in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
    *(3600.0, 7200.0, 18_000.0, 36_000.0, 86_400.0, 172_800.0, 432_000.0, 864_000.0),
)
"""Durations that a logarithmic axis may name."""


def time_axis(axes: Axes, span_s: float, *, labelled: bool = True) -> float:
    """Make an x axis one of the run's time; gives the seconds of one of its units."""
    scale, unit = next(
        ((scale, unit) for least, scale, unit in _UNITS if span_s >= least), (1.0, "seconds")
    )
    axes.set_xlim(0, span_s / scale)
    if labelled:
        axes.set_xlabel(unit)
    return scale


def rows_axis(axes: Axes, groups: Sequence[Group]) -> None:
    """Name the rows of a plot after settings, the first at the top."""
    axes.set_yticks(range(len(groups)), [shortened(group.name) for group in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def seconds_axis(
    axis: Axis, least: float, most: float, *, room: float = 1.15, names: int = 9
) -> None:
    """Make an axis one of durations: from 0 on, or logarithmic where they differ much.

    Args:
        axis: of which the scale and the names are set.
        least: the shortest duration that it has to show, seconds.
        most: the longest.
        room: by which factor it goes further.
        names: how many durations it may name.
    """
    across = axis is axis.axes.xaxis
    limits = axis.axes.set_xlim if across else axis.axes.set_ylim
    if least <= 0 or most <= _LINEAR * least:
        limits(0, (most or 1.0) * room)
        axis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
        return
    (axis.axes.set_xscale if across else axis.axes.set_yscale)("log")
    low, high = least / room, most * room
    limits(low, high)
    axis.set_major_locator(FixedLocator(_named(low, high, names)))
    axis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
    axis.set_minor_locator(NullLocator())


def duration(seconds: float) -> str:
    """A duration as an axis says it: `0`, `50 ms`, `2 s`, `5 min`."""
    if not seconds:
        return "0"
    for least, scale, unit in (
        (86_400.0, 86_400.0, "d"),
        (3600.0, 3600.0, "h"),
        (60.0, 60.0, "min"),
    ):
        if seconds >= least and math.isclose(seconds / scale, round(seconds / scale)):
            return f"{seconds / scale:g} {unit}"
    return f"{seconds * 1e3:g} ms" if seconds < 0.9995 else f"{seconds:g} s"


def _named(low: float, high: float, most: int) -> list[float]:
    """Round durations between two, not too many."""
    found = [each for each in _NAMED if low <= each <= high]
    if len(found) > most:
        decades = [each for each in found if math.isclose(math.log10(each) % 1, 0, abs_tol=1e-9)]
        minutes = [each for each in found if each in (60.0, 600.0, 3600.0, 36_000.0, 86_400.0)]
        found = [each for each in decades if each <= 10] + minutes
    return found

"""Figures of reports, as SVG that is readable on light and on dark ground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import matplotlib as mpl

from orchestrator.reports.plots import distributions, over_time, tradeoffs
from orchestrator.reports.plots.svg import rendered
from orchestrator.reports.plots.theme import STYLE
from orchestrator.reports.report import ReportError
from orchestrator.reports.summary import groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from orchestrator.reports.report import Report
    from orchestrator.reports.summary import Group

    Drawing = Callable[[Sequence[Group], str | None], Figure | None]

__all__ = ["KINDS", "drawn", "figure"]


class Kind(NamedTuple):
    """A kind of figure: what it shows, in words, and what draws it."""

    label: str
    draw: Drawing


KINDS: Final = {
    "percentiles": Kind("p50, p95 and p99 of latency by setting", distributions.percentiles),
    "curves": Kind("share of requests by latency, wait and first byte", distributions.curves),
    "costs": Kind("cold share, GPU-hours, utilisation and cost by setting", tradeoffs.costs),
    "pareto": Kind("cost against p99 latency by setting", tradeoffs.pareto),
    "over_time": Kind("traffic, load, replicas and latency over time", over_time.over_time),
    "replicas": Kind("replicas by stage over time", over_time.replicas),
    "pool": Kind("GPUs by environment over time", over_time.pool),
}
"""All, by the names that `figure` knows them by."""


def figure(report: Report, kind: str, *, environment: str | None = None) -> str:
    """One figure of a report, as an SVG file's text: for documents.

    Args:
        report: whose settings are drawn.
        kind: one of `KINDS`.
        environment: of which environment; None: of all together.

    Raises:
        ReportError: there is no such kind or environment, or the report has nothing of it.
    """
    if kind not in KINDS:
        raise ReportError(f"there is no figure {kind!r}; there are {', '.join(KINDS)}")
    if environment is not None and not any(environment in run.environments for run in report.runs):
        raise ReportError(f"no run of {report.experiment!r} has an environment {environment!r}")
    text = drawn(groups(report), kind, environment=environment)
    if text is None:
        raise ReportError(f"{report.experiment!r} has nothing to draw as {kind!r}")
    return text


def drawn(
    found: Sequence[Group],
    kind: str,
    *,
    environment: str | None = None,
    name: str | None = None,
) -> str | None:
    """One figure of settings; None where they have nothing of the kind.

    Args:
        found: the settings.
        kind: one of `KINDS`.
        environment: of which environment; None: of all together.
        name: where it becomes a part of a page: a word that no other figure there has.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": kind}):
        made = KINDS[kind].draw(found, environment)
        if made is None:
            return None
        return rendered(made, name or kind, label=KINDS[kind].label, standalone=name is None)

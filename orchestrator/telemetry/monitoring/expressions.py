"""PromQL over the list's metrics: a name or label that is not in the list cannot be written.

Every expression sums over the series of a scrape, so that neither the pod that was
scraped nor a restart of it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.telemetry.metrics import Kind, Metric

NAMESPACE: Final = "namespace"
"""A label that the scrape adds, not we: which cluster a series is of."""

QUANTILE_LABEL: Final = "le"

Selector = Callable[[Metric], str]
"""The part of a selector that all expressions of a place share, for a metric's labels."""


def anything(_metric: Metric) -> str:
    """The selector that leaves nothing out."""
    return ""


class Promql:
    """Writes expressions.

    Args:
        selector: what to select in every expression.
        window: of rates, e.g. `5m`.
        by: labels that every sum is kept apart by.
    """

    def __init__(
        self, window: str, *, selector: Selector = anything, by: tuple[str, ...] = ()
    ) -> None:
        self._selector = selector
        self._window = window
        self._by = by

    def rate(self, metric: Metric, *by: str, where: str = "") -> str:
        """How many a second, of a counter."""
        _require(metric, Kind.COUNTER)
        return self._sum(metric, by, f"rate({self._series(metric, where)}[{self._window}])")

    def increase(self, metric: Metric, *by: str, where: str = "") -> str:
        """How many in the window, of a counter."""
        _require(metric, Kind.COUNTER)
        return self._sum(metric, by, f"increase({self._series(metric, where)}[{self._window}])")

    def now(self, metric: Metric, *by: str, where: str = "") -> str:
        """What a gauge is."""
        _require(metric, Kind.GAUGE)
        return self._sum(metric, by, self._series(metric, where))

    def quantile(self, share: float, metric: Metric, *by: str) -> str:
        """What a share of a histogram's observations was at most."""
        _require(metric, Kind.HISTOGRAM)
        rate = f"rate({self._series(metric, '', '_bucket')}[{self._window}])"
        return f"histogram_quantile({share:g}, {self._sum(metric, (*by, QUANTILE_LABEL), rate)})"

    def _series(self, metric: Metric, where: str, suffix: str = "") -> str:
        label = where.partition("=")[0].rstrip("!")
        if label and label not in metric.labels:
            raise ValueError(f"{metric.name} has no label {label!r}")
        inside = ",".join(part for part in (self._selector(metric), where) if part)
        return f"{metric.name}{suffix}{{{inside}}}" if inside else f"{metric.name}{suffix}"

    def _sum(self, metric: Metric, by: tuple[str, ...], inner: str) -> str:
        kept = tuple(dict.fromkeys((*self._by, *by)))
        for label in kept:
            if label not in (*metric.labels, NAMESPACE, QUANTILE_LABEL):
                raise ValueError(f"{metric.name} has no label {label!r}")
        return f"sum by ({', '.join(kept)}) ({inner})" if kept else f"sum({inner})"


def _require(metric: Metric, kind: Kind) -> None:
    if metric.kind is not kind:
        raise ValueError(f"{metric.name} is a {metric.kind.value}, not a {kind.value}")

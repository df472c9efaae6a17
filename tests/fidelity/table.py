"""Live and simulated side by side, and whether they are close enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.reports.metrics import METRICS, Metric, Unit, written
from orchestrator.reports.report import LIVE
from orchestrator.reports.summary import groups

if TYPE_CHECKING:
    from orchestrator.reports.report import Report
    from orchestrator.reports.summary import Estimate

BOUND = 0.1
"""A bounded number of the simulation may be off by this share of the live one."""

_BOUNDED = frozenset({"latency_p95_s", "gpu_seconds"})

_BY_KEY = {metric.key: metric for metric in METRICS}
_GPU_SECONDS = Metric(
    "gpu_seconds", "replica-seconds", Unit.SECONDS, lambda found: found.gpu_seconds
)
SHOWN = (
    *(_BY_KEY[key] for key in ("requests", "latency_mean_s", "latency_p50_s")),
    *(_BY_KEY[key] for key in ("latency_p95_s", "latency_p99_s", "share_cold", "starts")),
    _GPU_SECONDS,
)


@dataclass(frozen=True)
class Row:
    """One number, measured in both ways; both have at least one value."""

    metric: Metric
    live: Estimate
    simulated: Estimate

    @property
    def ratio(self) -> float | None:
        """Simulated to live; None: the live one is 0."""
        if not self.live.mean or self.simulated.mean is None:
            return None
        return self.simulated.mean / self.live.mean

    @property
    def holds(self) -> bool | None:
        """Whether it is within its bound; None: it has none."""
        if self.metric.key not in _BOUNDED:
            return None
        return self.ratio is not None and abs(self.ratio - 1) <= BOUND


def rows_of(report: Report) -> list[Row]:
    """One row a number; the report has one setting, live and simulated."""
    live, simulated = sorted(groups(report), key=lambda group: group.kind != LIVE)
    return [Row(metric, live.estimate(metric), simulated.estimate(metric)) for metric in SHOWN]


def markdown(rows: list[Row]) -> str:
    """The rows as a table for a README."""
    lines = ["| | live | simulated | ratio | bound |", "| --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        unit = row.metric.unit
        live = written(unit, row.live.mean, row.live.half_width)
        simulated = written(unit, row.simulated.mean, row.simulated.half_width)
        ratio = "-" if row.ratio is None else f"{row.ratio:.3f}"
        bound = ""
        if row.holds is not None:
            bound = f"± {BOUND:.0%}".replace("%", " %") + (" holds" if row.holds else " MISSED")
        lines.append(f"| {row.metric.title} | {live} | {simulated} | {ratio} | {bound} |")
    return "\n".join(lines)

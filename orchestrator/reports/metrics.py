"""The numbers by which runs are judged, and how people read them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.reports.report import Distribution, EnvironmentReport

    Getter = Callable[[EnvironmentReport], float | None]


class Unit(Enum):
    """What a number counts; decides how it is written."""

    COUNT = "requests"
    SECONDS = "seconds"
    SHARE = "share"
    HOURS = "hours"
    MONEY = "money"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of an environment, or of a whole run.

    Attributes:
        key: its name in JSON.
        title: its name for people.
        of: takes it out of a report; None: nothing was measured that it could be made of.
        lower_is_better: None: neither is better.
    """

    key: str
    title: str
    unit: Unit
    of: Getter
    lower_is_better: bool | None = True


def _of(name: str, statistic: str) -> Getter:
    """A distribution's statistic, where the distribution is of anything."""

    def take(found: EnvironmentReport) -> float | None:
        distribution: Distribution = getattr(found, name)
        return getattr(distribution, statistic) if distribution.count else None

    return take


def _answered(found: EnvironmentReport) -> float | None:
    return found.outcomes.get("answered", 0) / found.requests if found.requests else None


def _ready_hours(found: EnvironmentReport) -> float:
    return found.replica_seconds.get("READY", 0.0) / 3600


P50, P95, P99 = (
    Metric(f"latency_{name}_s", f"latency {name}", Unit.SECONDS, _of("latency", name))
    for name in ("p50", "p95", "p99")
)
COLD = Metric(
    "share_cold",
    "cold share",
    Unit.SHARE,
    lambda found: found.share_cold if found.requests else None,
)
GPU_HOURS = Metric("gpu_hours", "GPU-hours", Unit.HOURS, lambda found: found.gpu_seconds / 3600)
BUSY = Metric(
    "busy_share", "utilisation", Unit.SHARE, lambda found: found.busy_share, lower_is_better=False
)
COST = Metric("cost", "cost", Unit.MONEY, lambda found: found.cost or None)

METRICS: Final = (
    Metric("requests", "requests", Unit.COUNT, lambda found: found.requests, None),
    Metric("share_answered", "answered", Unit.SHARE, _answered, lower_is_better=False),
    Metric("latency_mean_s", "latency mean", Unit.SECONDS, _of("latency", "mean")),
    P50,
    P95,
    P99,
    Metric("first_byte_p95_s", "first byte p95", Unit.SECONDS, _of("first_byte", "p95")),
    Metric("wait_mean_s", "wait mean", Unit.SECONDS, _of("wait", "mean")),
    Metric("wait_p95_s", "wait p95", Unit.SECONDS, _of("wait", "p95")),
    COLD,
    Metric("starts", "starts", Unit.COUNT, lambda found: found.starts.count),
    Metric("ready_hours", "ready replica-hours", Unit.HOURS, _ready_hours),
    GPU_HOURS,
    BUSY,
    COST,
)
"""All, in the order in which they are told."""

SUMMARY: Final = (METRICS[0], METRICS[1], P50, P95, P99, COLD, GPU_HOURS, BUSY, COST)
"""Those that tell most."""

_SCALES: Final = {
    Unit.COUNT: (1.0, ""),
    Unit.SHARE: (100.0, " %"),
    Unit.HOURS: (1.0, ""),
    Unit.MONEY: (1.0, ""),
}


def written(unit: Unit, value: float | None, half_width: float | None = None) -> str:
    """A number for people, three digits long, with its confidence half-width where it has one.

    Such as `1.23 s`, `41.0 ± 0.6 ms`, `8,819`, `12.4 ± 0.9 %`; `-` where there is none.
    """
    if value is None:
        return "-"
    scale, suffix = _seconds_scale(value) if unit is Unit.SECONDS else _SCALES[unit]
    value *= scale
    decimals = 0 if unit is Unit.COUNT else _decimals(value)
    spread = f" ± {half_width * scale:,.{decimals}f}" if half_width else ""
    return f"{value:,.{decimals}f}{spread}{suffix}"


def _seconds_scale(seconds: float) -> tuple[float, str]:
    return (1000.0, " ms") if abs(seconds) < 0.9995 else (1.0, " s")


def _decimals(value: float) -> int:
    """Digits behind the point of which there are three in all, three at most."""
    magnitude = abs(value)
    for decimals, below in ((3, 0.9995), (2, 9.995), (1, 99.95)):
        if magnitude < below:
            return 0 if not magnitude else decimals
    return 0

"""From samples to medians, ratios and service levels. Pure."""

from collections.abc import Iterable, Mapping
from statistics import median

from tests.benchmarks.asynchronous.metrics import (
    ACCEPTED,
    COMPLETED,
    IDLE_START,
    METRICS,
    Metric,
    Sample,
)
from tests.benchmarks.service_levels import Verdict, at_least, at_most

Summary = Mapping[tuple[str, Metric], float]
"""Medians over the rounds, by system and metric."""

ACCEPTED_PER_S = 2000.0
IDLE_START_MS = 15.0
TIMES_THE_BEST = 1.0


def summarise(samples: Iterable[Sample]) -> dict[tuple[str, Metric], float]:
    """The median of each figure of each system over its rounds."""
    values: dict[tuple[str, Metric], list[float]] = {}
    for sample in samples:
        values.setdefault((sample.system, sample.figure.metric), []).append(sample.figure.value)
    return {key: median(of_key) for key, of_key in values.items()}


def measured(summary: Summary) -> list[Metric]:
    """The metrics that anybody was measured by, in their usual order."""
    return [metric for metric in METRICS if any(of == metric for _, of in summary)]


def times_the_best(summary: Summary, metric: Metric, ours: str) -> float | None:
    """``ours`` divided by the best of the others; ``None`` where a side was not measured."""
    best = metric.best(
        value for (system, of), value in summary.items() if of == metric and system != ours
    )
    own = summary.get((ours, metric))
    return None if own is None or not best else own / best


def verdicts(summary: Summary, ours: str) -> list[Verdict]:
    """Every service level."""
    return [
        at_least(
            "asynchronous requests accepted per second, none run",
            summary.get((ours, ACCEPTED)),
            ACCEPTED_PER_S,
            digits=0,
        ),
        at_most(
            "p50 in ms from submission to start, idle",
            summary.get((ours, IDLE_START)),
            IDLE_START_MS,
        ),
        at_least(
            "asynchronous requests completed per second, times the best peer's",
            times_the_best(summary, COMPLETED, ours),
            TIMES_THE_BEST,
        ),
    ]

"""What has to hold, and whether it does. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.suite import ECHO, OURS, Case
from tests.benchmarks.summary import COMPARISONS, Summary, latency_ratio, throughput_ratio

LITSERVE = "litserve"
RAY_SERVE = "ray_serve"
LITSERVE_THROUGHPUT = 1.5
RAY_SERVE_THROUGHPUT = 15.0
CONTENDED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Verdict:
    """One service level: what was measured, its bound, and whether it holds.

    ``holds`` is ``None`` when a side of it was not measured.
    """

    statement: str
    measured: float | None
    bound: str
    holds: bool | None
    digits: int = 2


def verdicts(summary: Summary) -> list[Verdict]:
    """Every service level."""
    echo_1, echo_16 = Case(OURS, ECHO, 1), Case(OURS, ECHO, 16)
    levels = [
        _judge(
            "p50 at 1 connection, times LitServe's",
            latency_ratio(summary, echo_1, Case(LITSERVE, ECHO, 1)),
            "≤ 1",
            lambda ratio: ratio <= 1,
        ),
        _at_least(
            "throughput at 16 connections, times LitServe's",
            throughput_ratio(summary, echo_16, Case(LITSERVE, ECHO, 16)),
            LITSERVE_THROUGHPUT,
        ),
        _at_least(
            "throughput at 16 connections, times Ray Serve's",
            throughput_ratio(summary, echo_16, Case(RAY_SERVE, ECHO, 16)),
            RAY_SERVE_THROUGHPUT,
        ),
    ]
    levels += [
        _at_least(
            f"throughput of {comparison.why}",
            throughput_ratio(summary, comparison.contended, comparison.reference),
            CONTENDED_SHARE,
        )
        for comparison in COMPARISONS
        if comparison.binding
    ]
    failed = [case for case, seen in summary.items() if seen.errors]
    levels.append(
        Verdict(
            "cases with a failed request",
            float(len(failed)),
            "= 0",
            holds=not failed if summary else None,
            digits=0,
        )
    )
    return levels


def missed(levels: list[Verdict]) -> list[Verdict]:
    """Those that do not hold; what was not measured is not missed."""
    return [level for level in levels if level.holds is False]


def _at_least(statement: str, measured: float | None, bound: float) -> Verdict:
    return _judge(statement, measured, f"≥ {bound:g}", lambda value: value >= bound)


def _judge(
    statement: str, measured: float | None, bound: str, holds: Callable[[float], bool]
) -> Verdict:
    return Verdict(statement, measured, bound, None if measured is None else holds(measured))

"""What has to hold, and whether it does. Pure."""

from dataclasses import dataclass

from tests.benchmarks.suite import ECHO, OURS, Case
from tests.benchmarks.summary import COMPARISONS, Summary, latency_ratio, throughput_ratio

LITSERVE = "litserve"
RAY_SERVE = "ray_serve"
LITSERVE_LATENCY = 1.0
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
        at_most(
            "p50 at 1 connection, times LitServe's",
            latency_ratio(summary, echo_1, Case(LITSERVE, ECHO, 1)),
            LITSERVE_LATENCY,
        ),
        at_least(
            "throughput at 16 connections, times LitServe's",
            throughput_ratio(summary, echo_16, Case(LITSERVE, ECHO, 16)),
            LITSERVE_THROUGHPUT,
        ),
        at_least(
            "throughput at 16 connections, times Ray Serve's",
            throughput_ratio(summary, echo_16, Case(RAY_SERVE, ECHO, 16)),
            RAY_SERVE_THROUGHPUT,
        ),
    ]
    levels += [
        at_least(
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


def at_least(statement: str, measured: float | None, bound: float, *, digits: int = 2) -> Verdict:
    """The level that a figure is ``bound`` or more."""
    holds = None if measured is None else measured >= bound
    return Verdict(statement, measured, f"≥ {bound:,g}", holds, digits)


def at_most(statement: str, measured: float | None, bound: float, *, digits: int = 2) -> Verdict:
    """The level that a figure is ``bound`` or less."""
    holds = None if measured is None else measured <= bound
    return Verdict(statement, measured, f"≤ {bound:,g}", holds, digits)

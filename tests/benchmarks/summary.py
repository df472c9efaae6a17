"""From runs to medians and ratios. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.suite import ECHO, OURS, Case, Run


@dataclass(frozen=True, slots=True)
class Median:
    """A case over all of its rounds; each figure is the median of its own."""

    rounds: int
    throughput: float
    throughput_min: float
    throughput_max: float
    p50_ms: float
    p99_ms: float
    errors: int


Summary = Mapping[Case, Median]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A contended case beside its reference: the same work with a slot for everyone."""

    contended: Case
    reference: Case
    why: str
    binding: bool


# The service level holds for the binding ones. 64 connections with 10 ms of work on 64 slots is
# shown but not binding: 16 slots cannot do more than 1,600 requests per second and 64 can, so
# that pair compares slots more than it compares waiting.
COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        Case(OURS, "slots16-10ms", 64),
        Case(OURS, "slots16-10ms", 16),
        "64 connections on 16 slots of 10 ms, against 16 connections on them",
        binding=True,
    ),
    Comparison(
        Case(OURS, "slots16-10ms", 64),
        Case(OURS, "slots64-10ms", 64),
        "64 connections on 16 slots of 10 ms, against 64 slots",
        binding=False,
    ),
    Comparison(
        Case(OURS, "slots4", 64),
        Case(OURS, ECHO, 64),
        "64 connections on 4 slots of no work, against 64 slots",
        binding=True,
    ),
    Comparison(
        Case(OURS, "slots4", 16),
        Case(OURS, ECHO, 16),
        "16 connections on 4 slots of no work, against 64 slots",
        binding=True,
    ),
    Comparison(
        Case(OURS, "slots4", 64),
        Case(OURS, "slots4", 4),
        "64 connections on 4 slots of no work, against 4 connections on them",
        binding=False,
    ),
)


def summarise(runs: Iterable[Run]) -> dict[Case, Median]:
    """Medians per case, in the order in which the cases first ran."""
    grouped: defaultdict[Case, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[run.case].append(run)
    return {case: _median(of_case) for case, of_case in grouped.items()}


def _median(runs: list[Run]) -> Median:
    seen = [run.measurement for run in runs]
    rates = [one.throughput for one in seen]
    return Median(
        rounds=len(seen),
        throughput=median(rates),
        throughput_min=min(rates),
        throughput_max=max(rates),
        p50_ms=median(one.p50_ms for one in seen),
        p99_ms=median(one.p99_ms for one in seen),
        errors=sum(one.errors for one in seen),
    )


def throughput_ratio(summary: Summary, numerator: Case, denominator: Case) -> float | None:
    """How many times the throughput; ``None`` where a side was not measured or is 0."""
    above, below = summary.get(numerator), summary.get(denominator)
    if above is None or below is None or below.throughput == 0:
        return None
    return above.throughput / below.throughput


def latency_ratio(summary: Summary, numerator: Case, denominator: Case) -> float | None:
    """How many times the p50; ``None`` where a side was not measured or is 0."""
    above, below = summary.get(numerator), summary.get(denominator)
    if above is None or below is None or below.p50_ms == 0:
        return None
    return above.p50_ms / below.p50_ms

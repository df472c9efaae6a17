"""Two settings side by side: by how much they differ, and whether seeds alone could do that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import variance
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.reports.metrics import METRICS
from orchestrator.reports.report import Report, ReportError
from orchestrator.reports.summary import groups, half_width, student

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reports.metrics import Metric
    from orchestrator.reports.report import EnvironmentReport, RunReport
    from orchestrator.reports.summary import Estimate, Group

_ROUNDING: Final = 1e-9
"""Values whose ratio differs from 1 by less are the same."""

_SAME_TRAFFIC: Final = 0.002
"""Share of the run's span by which mean times of arrival may differ: a replay sends a
request a little late."""


class Verdict(StrEnum):
    """What the seeds say about a difference."""

    SAME = "the same"
    WITHIN = "within the seeds' spread"
    BEYOND = "beyond the seeds' spread"
    UNKNOWN = "one seed: spread unknown"
    MISSING = "not measured in both"


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of both settings.

    Attributes:
        environment: which; empty: all of them together.
        ratio: of b's mean to a's; None: a's is 0 or one of them was not measured.
        difference: b's mean minus a's.
        half_width: of the 95 % confidence interval of the difference; None: not known.
        verdict: whether that interval leaves out 0.
    """

    environment: str
    metric: Metric
    a: Estimate
    b: Estimate
    ratio: float | None
    difference: float | None
    half_width: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two settings side by side.

    Attributes:
        a, b: the settings.
        lines: the metrics that at least one of them has.
        paired: whether values of the same seed were compared with each other, because both
            saw the same traffic under it.
        warnings: reasons to mistrust it, a sentence each.
    """

    a: Group
    b: Group
    lines: list[Line]
    paired: bool
    warnings: list[str]

    @property
    def names(self) -> tuple[str, str]:
        """What to call the two, so that they can be told apart."""
        a, b = self.a, self.b
        if a.name == b.name and a.kind != b.kind:
            return f"{a.name} ({a.kind})", f"{b.name} ({b.kind})"
        return a.name, b.name


def compare(a: Group, b: Group) -> Comparison:
    """Two settings, metric by metric: all environments together, then each, where there are many.

    With two seeds or more in common under which both saw the same traffic, differences are
    taken seed by seed (a paired t-interval, which the traffic's own changes from seed to seed
    do not widen); else between the means (Welch's t-interval).
    """
    common = sorted({run.seed for run in a.runs} & {run.seed for run in b.runs})
    warnings = _warnings(a, b, common)
    paired = len(common) > 1 and not any(
        _other_traffic(_run(a, seed), _run(b, seed)) for seed in common
    )
    names = [name for name in a.first.environments if name in b.first.environments]
    shown: list[str | None] = [None, *(names if len(a.first.environments) > 1 else ())]
    lines = [
        line
        for name in shown
        for metric in METRICS
        if (line := _line(a, b, metric, name, common if paired else [])) is not None
    ]
    return Comparison(a, b, lines, paired, warnings)


def pairs(
    a: Report, b: Report, label_a: str | None = None, label_b: str | None = None
) -> list[tuple[Group, Group]]:
    """Which settings of two reports belong together.

    Each of those with the one label with each of those with the other, where a label is
    given; else the only one of each, or those whose label is in both.

    Raises:
        ReportError: there is nothing to compare; says which labels there are.
    """
    ours, theirs = _chosen(a, label_a, "first"), _chosen(b, label_b, "second")
    if len(ours) == 1 and len(theirs) == 1:
        return [(ours[0], theirs[0])]
    if label_a is not None or label_b is not None:
        return [(group, other) for group in ours for other in theirs]
    found = []
    for group in ours:
        alike = [other for other in theirs if other.label == group.label]
        same_kind = [other for other in alike if other.kind == group.kind]
        found += [(group, other) for other in (same_kind or alike)]
    if not found:
        raise ReportError(
            "the reports have no label in common; say which to compare: the first has"
            f" {_named(ours)}; the second has {_named(theirs)}"
        )
    return found


def joined(a: Report, b: Report) -> Report:
    """The settings of two reports as one report; those that both have say whose they are."""
    if a is b:
        return a
    both = {(run.label, run.kind) for run in a.runs} & {(run.label, run.kind) for run in b.runs}
    runs = [
        msgspec.structs.replace(run, label=f"{whose}: {run.label or report.experiment}")
        if (run.label, run.kind) in both
        else run
        for whose, report in (("A", a), ("B", b))
        for run in report.runs
    ]
    names = list(dict.fromkeys(report.experiment for report in (a, b)))
    about = "\n".join(dict.fromkeys(report.description for report in (a, b) if report.description))
    return Report(experiment=" and ".join(names), description=about, runs=runs)


def _chosen(report: Report, label: str | None, which: str) -> list[Group]:
    there = groups(report)
    if not there:
        raise ReportError(f"the {which} report has no runs")
    chosen = [group for group in there if label in (None, group.name, group.label)]
    if not chosen:
        raise ReportError(f"the {which} report has no label {label!r}; it has {_named(there)}")
    return chosen


def _named(found: Sequence[Group]) -> str:
    return ", ".join(repr(group.name) for group in found)


def _line(
    a: Group, b: Group, metric: Metric, environment: str | None, common: list[int]
) -> Line | None:
    ours, theirs = a.estimate(metric, environment), b.estimate(metric, environment)
    name = environment or ""
    if ours.mean is None and theirs.mean is None:
        return None
    if ours.mean is None or theirs.mean is None:
        return Line(name, metric, ours, theirs, None, None, None, Verdict.MISSING)
    difference = theirs.mean - ours.mean
    spread = _spread(ours, theirs, common)
    return Line(
        name,
        metric,
        ours,
        theirs,
        ratio=theirs.mean / ours.mean if ours.mean else None,
        difference=difference,
        half_width=spread,
        verdict=_verdict(ours.mean, difference, spread),
    )


def _verdict(mean: float, difference: float, spread: float | None) -> Verdict:
    if abs(difference) <= _ROUNDING * abs(mean):
        return Verdict.SAME
    if spread is None:
        return Verdict.UNKNOWN
    return Verdict.BEYOND if abs(difference) > spread else Verdict.WITHIN


def _spread(a: Estimate, b: Estimate, common: list[int]) -> float | None:
    """The 95 % confidence half-width of the difference of two means."""
    if common and all(seed in a.values and seed in b.values for seed in common):
        return half_width([b.values[seed] - a.values[seed] for seed in common])
    ours, theirs = list(a.values.values()), list(b.values.values())
    if len(ours) < 2 or len(theirs) < 2:
        return None
    parts = [variance(ours) / len(ours), variance(theirs) / len(theirs)]
    if not sum(parts):
        return 0.0
    # Welch's and Satterthwaite's approximation of the degrees of freedom.
    freedom = sum(parts) ** 2 / (
        parts[0] ** 2 / (len(ours) - 1) + parts[1] ** 2 / (len(theirs) - 1)
    )
    return student(freedom) * math.sqrt(sum(parts))


def _warnings(a: Group, b: Group, common: list[int]) -> list[str]:
    found = []
    seed = common[0] if common else None
    run_a = a.first if seed is None else _run(a, seed)
    run_b = b.first if seed is None else _run(b, seed)
    traffic = _other_traffic(run_a, run_b)
    if traffic:
        found.append(f"the traffic differs, and with it what came of it: {traffic}")
    alone = {*run_a.environments} ^ {*run_b.environments}
    if alone:
        found.append(f"only one of them has {', '.join(sorted(alone))}")
    if run_a.measure_from_s != run_b.measure_from_s:
        found.append(
            f"one is measured from {run_a.measure_from_s:g} s on, the other from"
            f" {run_b.measure_from_s:g} s"
        )
    found += [
        f"{group.name}, seed {run.seed}, is no fair measurement: {run.reason or 'no reason given'}"
        for group in (a, b)
        for run in group.runs
        if not run.valid
    ]
    return found


def _other_traffic(a: RunReport, b: RunReport) -> str:
    """How the requests of two runs differ; empty: they came at the same times."""
    span = max(a.span_s, b.span_s)
    for name, ours in a.environments.items():
        theirs = b.environments.get(name)
        if theirs is not None and _arrive_otherwise(ours, theirs, span):
            return (
                f"{name} had {_arrivals(ours)} (seed {a.seed}), and {_arrivals(theirs)}"
                f" (seed {b.seed})"
            )
    return ""


def _arrive_otherwise(a: EnvironmentReport, b: EnvironmentReport, span_s: float) -> bool:
    apart = abs(a.mean_arrival_s - b.mean_arrival_s)
    return a.arrived != b.arrived or apart > _SAME_TRAFFIC * span_s


def _arrivals(found: EnvironmentReport) -> str:
    return f"{found.arrived:,} requests, at {found.mean_arrival_s:,.2f} s on average"


def _run(group: Group, seed: int) -> RunReport:
    return next(run for run in group.runs if run.seed == seed)

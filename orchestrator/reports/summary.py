"""Runs that differ in their seeds alone, taken together: means and confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reports.metrics import Metric
    from orchestrator.reports.report import EnvironmentReport, Report, RunReport

_NORMAL: Final = 1.959963985

# Two-sided 95 % points of Student's t for 1 to 29 degrees of freedom, as in any statistical
# table (for one: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2).
_STUDENT: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: of the values; None: there were none.
        half_width: of its 95 % confidence interval (Student's t); None: one value does not
            tell how it spreads.
        values: by seed.
    """

    mean: float | None
    half_width: float | None = None
    values: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """A report's runs of one label and kind: they differ in their seeds.

    Attributes:
        name: the label, with the kind where the report has the label in both.
        label, kind, parameters: as in each of its runs.
        runs: at least one, in the report's order.
    """

    name: str
    label: str
    kind: str
    parameters: dict[str, Any]
    runs: list[RunReport]

    @property
    def first(self) -> RunReport:
        """The run that stands for them where one has to."""
        return self.runs[0]

    def estimate(self, metric: Metric, environment: str | None = None) -> Estimate:
        """A metric over the seeds.

        Args:
            metric: which.
            environment: of which environment; None: of all of them together.
        """
        values = {}
        for run in self.runs:
            found = environment_of(run, environment)
            value = None if found is None else metric.of(found)
            if value is not None:
                values[run.seed] = value
        return estimate(values)


def environment_of(run: RunReport, name: str | None) -> EnvironmentReport | None:
    """An environment of a run; None as its name: all of them together."""
    return run.whole if name is None else run.environments.get(name)


def groups(report: Report) -> list[Group]:
    """A report's runs by label and kind, in the order of their first runs."""
    kinds: dict[str, set[str]] = {}
    for run in report.runs:
        kinds.setdefault(run.label, set()).add(run.kind)
    found: dict[tuple[str, str], Group] = {}
    for run in report.runs:
        key = (run.label, run.kind)
        if key not in found:
            label = run.label or report.experiment or "run"
            name = f"{label} ({run.kind})" if len(kinds[run.label]) > 1 else label
            found[key] = Group(name, run.label, run.kind, run.parameters, [])
        found[key].runs.append(run)
    return list(found.values())


def environments(report: Report) -> list[str]:
    """The names of the environments that any of a report's runs has, in their order."""
    return list(dict.fromkeys(name for run in report.runs for name in run.environments))


def estimate(values: dict[int, float]) -> Estimate:
    """Mean and 95 % confidence half-width of independent values, by seed."""
    if not values:
        return Estimate(None)
    numbers = list(values.values())
    return Estimate(fmean(numbers), half_width(numbers), values)


def half_width(values: Sequence[float]) -> float | None:
    """Of the 95 % confidence interval of the mean of independent values; None: of one alone."""
    count = len(values)
    if count < 2:
        return None
    return student(count - 1) * stdev(values) / math.sqrt(count)


def student(freedom: float) -> float:
    """The two-sided 95 % point of Student's t.

    Args:
        freedom: degrees of freedom, at least 1; a fraction is rounded down up to 29, which
            errs towards the wider interval.

    The expansion beyond is of Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.5, to its second order: right to four digits from 30 on.
    """
    if freedom < len(_STUDENT) + 1:
        return _STUDENT[max(int(freedom), 1) - 1]
    z = _NORMAL
    return (
        z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom * freedom)
    )

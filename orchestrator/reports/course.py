"""The page's part about what happened in the runs, and whether they add up."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from orchestrator.reports import markup
from orchestrator.reports.metrics import Unit, written
from orchestrator.reports.tables import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reports.report import EnvironmentReport, RunReport
    from orchestrator.reports.summary import Group

_DECISIONS: Final = 40
"""So many of the last decisions are shown."""

_SETTINGS: Final = 40
"""Of so many settings the course is told."""


def course(found: Sequence[Group]) -> str:
    """Outcomes, checks, starts and decisions: the first seed of each setting."""
    return markup.section(
        "course",
        "What happened",
        "By Little's law, requests present on average are the rate at which they end times their"
        " mean latency; where the two differ, something was lost or counted twice.",
        markup.table(_outcomes(found)),
        *(_setting(group) for group in found[:_SETTINGS]),
    )


def _outcomes(found: Sequence[Group]) -> Rows:
    """How requests ended, and both sides of Little's law; a row a setting, over all seeds."""
    names = list(
        dict.fromkeys(name for group in found for run in group.runs for name in run.whole.outcomes)
    )
    header = ["setting", *(name.replace("_", " ") for name in names), "retried", "starts failed"]
    checks = ["present", "rate times latency"]
    rows = []
    for group in found:
        wholes = [run.whole for run in group.runs]
        counts = [sum(whole.outcomes.get(name, 0) for whole in wholes) for name in names]
        counts += [
            sum(whole.retried for whole in wholes),
            sum(whole.starts.failed for whole in wholes),
        ]
        rows.append([group.name, *(f"{count:,}" for count in counts), *_little(wholes[0])])
    return Rows([*header, *checks], rows)


def _little(found: EnvironmentReport) -> list[str]:
    if found.little is None:
        return ["-", "-"]
    return [f"{found.little.present:,.5g}", f"{found.little.rate_times_latency:,.5g}"]


def _setting(group: Group) -> str:
    run = group.first
    parts = [_lag(run)]
    for name, environment in run.environments.items():
        several = f"<h3>{escape(name)}</h3>" if len(run.environments) > 1 else ""
        told = markup.table(_starts(environment)) + markup.table(_decisions(environment))
        parts.append(several + told if told else "")
    changes = sum(each.decisions.count for each in run.environments.values())
    starts = sum(each.starts.count for each in run.environments.values())
    more = f"{starts:,} starts, {changes:,} changes of the number wanted"
    return markup.details(group.name, more, *parts)


def _lag(run: RunReport) -> str:
    if run.lag is None:
        return ""
    told = ", ".join(f"{name} {written(Unit.SECONDS, lag)}" for name, lag in run.lag.items())
    return f"<p>Requests were sent late by {escape(told)}.</p>"


def _starts(found: EnvironmentReport) -> Rows:
    """How long the stages of the starts that are kept took, on average."""
    kept = [start for start in found.starts.kept if not start.failed]
    stages = list(dict.fromkeys(stage for start in kept for stage in start.stages))
    rows = []
    if kept:
        means = [
            sum(start.stages.get(stage, 0.0) for start in kept) / len(kept) for stage in stages
        ]
        seconds = [*means, found.starts.seconds.p50, found.starts.seconds.p95]
        told = (written(Unit.SECONDS, each) for each in seconds)
        rows = [[f"{found.starts.count:,}", f"{found.starts.failed:,}", *told]]
    header = ["starts", "failed", *(stage.lower() for stage in stages), "p50 in all", "p95 in all"]
    return Rows(header, rows, 0)


def _decisions(found: EnvironmentReport) -> Rows:
    kept = found.decisions.kept[-_DECISIONS:]
    rows = [
        [each.reason, f"{each.at:,.1f} s", f"{each.before}", f"{each.desired}"] for each in kept
    ]
    shown = f"the last {len(kept)} of {found.decisions.count:,} changes"
    title = shown if found.decisions.count > len(kept) else "changes of the number wanted"
    return Rows([title, "at", "from", "to"], rows, 1)

"""A report as one HTML file: needs no network, runs no script, follows the reader's theme."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.reports import markup, tables
from orchestrator.reports.course import course
from orchestrator.reports.plots import drawn
from orchestrator.reports.plots.theme import MOST_OVERLAID, MOST_ROWS, css
from orchestrator.reports.report import ReportError
from orchestrator.reports.summary import environments, groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reports.comparison import Comparison
    from orchestrator.reports.report import Report
    from orchestrator.reports.summary import Group

_STYLE: Final = Path(__file__).with_name("page.css")

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
"""Nothing may be loaded or run, whatever a label or a reason says."""

_FOLDED: Final = 6
"""Environments of which there are figures of their own; of more, those with most requests."""


def page(report: Report, comparisons: Sequence[Comparison] = ()) -> str:
    """The whole page, as HTML.

    Args:
        report: what it is about.
        comparisons: of its settings, told first.

    Raises:
        ReportError: the report has no runs.
    """
    found = groups(report)
    if not found:
        raise ReportError(f"{report.experiment or 'the report'} has no runs to show")
    sections = [
        *(_comparison(number, each) for number, each in enumerate(comparisons)),
        _summary(report, found),
        _latency(found),
        _costs(found),
        _over_time(found),
        _environments(report, found),
        course(found),
    ]
    return _document(report, found, [each for each in sections if each])


def save(report: Report, path: Path, comparisons: Sequence[Comparison] = ()) -> None:
    """Write the page to a file.

    Raises:
        ReportError: the report has no runs, or the file cannot be written.
    """
    text = page(report, comparisons)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path}: cannot be written: {error.strerror}") from error


def _document(report: Report, found: Sequence[Group], sections: Sequence[str]) -> str:
    title = escape(report.experiment or "report")
    themes = f":root{{{css(0)}}}@media (prefers-color-scheme: dark){{:root{{{css(1)}}}}}"
    about = f'<p class="about">{escape(report.description)}</p>' if report.description else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}{themes}\n</style>\n"
        f'</head>\n<body>\n<header><h1>{title}</h1>{about}<p class="facts">{_facts(found)}</p>'
        f"{_contents(sections)}</header>\n<main>\n{_notices(found)}{''.join(sections)}</main>\n"
        f"<footer>Made by orchestrator {escape(report.made_by)}.</footer>\n</body>\n</html>\n"
    )


def _facts(found: Sequence[Group]) -> str:
    """What was run, in a line."""
    runs = [run for group in found for run in group.runs]
    seeds = {run.seed for run in runs}
    kinds = " and ".join(dict.fromkeys(run.kind for run in runs))
    parts = [
        f"{_count(len(runs), kinds + ' run')} of {_count(len({g.label for g in found}), 'setting')}",
        _count(len(seeds), "seed"),
        f"{sum(run.whole.requests for run in runs):,} requests measured",
    ]
    events, cpu_s = sum(run.events for run in runs), sum(run.cpu_s for run in runs)
    if events:
        parts.append(f"{events:,} events in {cpu_s:,.1f} s of CPU time")
    return escape(" · ".join(parts))


def _contents(sections: Sequence[str]) -> str:
    links = []
    for each in sections:
        name = each.split('id="', 1)[1].split('"', 1)[0]
        title = each.split("<h2>", 1)[1].split("</h2>", 1)[0]
        links.append(f'<a href="#{name}">{title}</a>')
    return f"<nav>{''.join(links)}</nav>"


def _notices(found: Sequence[Group]) -> str:
    return markup.notice(
        "No fair measurement",
        [
            f"{group.name}, seed {run.seed}: {run.reason or 'no reason given'}"
            for group in found
            for run in group.runs
            if not run.valid
        ],
    )


def _comparison(number: int, comparison: Comparison) -> str:
    how = (
        "Differences are taken seed by seed, as both saw the same traffic."
        if comparison.paired
        else "Differences are those of the means over seeds."
    )
    title = " against ".join(comparison.names)
    return markup.section(
        f"comparison-{number}",
        title,
        f"{how} One is beyond the seeds' spread where its 95 % confidence interval leaves out 0;"
        " of twenty metrics that do not differ, one will seem to.",
        markup.notice("Mind", comparison.warnings),
        markup.table(tables.differences(comparison)),
    )


def _summary(report: Report, found: Sequence[Group]) -> str:
    several = any(len(group.runs) > 1 for group in found)
    return markup.section(
        "summary",
        "Summary",
        "Means over seeds, ± half of the 95 % confidence interval (Student's t)."
        if several
        else "One seed each: how far results spread is not known.",
        markup.table(tables.summary(report)),
    )


def _latency(found: Sequence[Group]) -> str:
    return markup.section(
        "latency",
        "Latency",
        "Of requests that were answered; those rejected, evicted or failed are in the summary.",
        markup.figure(
            drawn(found, "percentiles", name="percentiles"),
            _told("Bars: 95 % confidence intervals over seeds.", found, MOST_ROWS),
        ),
        markup.figure(
            drawn(found, "curves", name="curves"),
            _told(
                "Share of requests that took at most so long, in the first seed; each nine has"
                " the same room.",
                found,
                MOST_OVERLAID,
            ),
        ),
    )


def _costs(found: Sequence[Group]) -> str:
    return markup.section(
        "costs",
        "Cost",
        "GPUs are held from when a replica's process starts until it has stopped. Utilisation is"
        " the share of the time of all slots, of replicas that could run requests, for which a"
        " request held one.",
        markup.figure(drawn(found, "costs", name="costs"), _told("", found, MOST_ROWS)),
        markup.figure(
            drawn(found, "pareto", name="pareto"),
            "Settings on the line are beaten by none in both cost and p99 latency.",
        ),
    )


def _over_time(found: Sequence[Group]) -> str:
    return markup.section(
        "time",
        "Over time",
        "The first seed of each setting.",
        markup.figure(
            drawn(found, "over_time", name="time"), _told(_lines(found), found, MOST_OVERLAID)
        ),
        markup.figure(drawn(found, "replicas", name="replicas"), "Replicas by stage, and wanted."),
        markup.figure(drawn(found, "pool", name="pool"), "GPUs taken, by environment."),
    )


def _environments(report: Report, found: Sequence[Group]) -> str:
    names = environments(report)
    if len(names) < 2:
        return ""
    whole = {name: found[0].first.environments.get(name) for name in names}
    ranked = sorted(names, key=lambda name: -(each.requests if (each := whole[name]) else 0))
    folded = [
        markup.details(
            name,
            "",
            markup.figure(drawn(found, "percentiles", environment=name, name=f"p-{number}")),
            markup.figure(drawn(found, "over_time", environment=name, name=f"t-{number}")),
            markup.figure(drawn(found, "replicas", environment=name, name=f"r-{number}")),
        )
        for number, name in enumerate(names)
        if name in ranked[:_FOLDED]
    ]
    return markup.section(
        "environments",
        "By environment",
        f"Figures of the {_FOLDED} with most requests." if len(names) > _FOLDED else "",
        markup.table(tables.by_environment(report)),
        *folded,
    )


def _lines(found: Sequence[Group]) -> str:
    kinds = {group.kind for group in found}
    same = "A grey line is the same under all settings."
    return f"Solid lines are simulated, dashed ones live. {same}" if len(kinds) > 1 else same


def _told(caption: str, found: Sequence[Group], most: int) -> str:
    """A caption, with the settings for which there was no room."""
    out = [group.name for group in found[most:]]
    if not out:
        return caption
    return f"{caption} Left out, so that the others can be told apart: {', '.join(out)}.".strip()


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"

"""The page: one file that loads and runs nothing, and shows text as text."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from orchestrator.reports.comparison import compare, joined, pairs
from orchestrator.reports.page import page, save
from orchestrator.reports.report import LIVE, Report, ReportError, RunReport, assemble
from tests.unit.reports.made import a_report, a_run

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '"><script>alert(1)</script><img src=x onerror=y>&'


class Read(HTMLParser):
    """A page's tags, ids, references and text."""

    VOID = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.references: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids[value or ""] += 1
            if name.endswith(("href", "src")):
                self.references.add(value or "")
            if value and "url(" in value:
                self.references.add(value.split("url(", 1)[1].split(")", 1)[0])


@pytest.fixture(scope="module")
def report() -> Report:
    runs = [
        a_run(label, seed, replicas=replicas, environments=("a.p", "b.p"))
        for label, replicas in (("two", 2), ("three", 3))
        for seed in (1, 2)
    ]
    return assemble("pools", runs, "Who gets the GPUs.\nTwo lines.")


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return page(report)


def test_a_page_loads_nothing_runs_nothing_and_is_well_formed(text: str) -> None:
    found = Read(text)
    assert found.open == []
    assert "script" not in found.tags
    assert not any(name.startswith("on") for name in found.attributes)
    assert all(reference.startswith("#") for reference in found.references)
    assert {reference[1:] for reference in found.references} <= set(found.ids)
    assert max(found.ids.values()) == 1
    assert "default-src 'none'" in text
    assert len(text) < 2_000_000


def test_a_page_tells_all_parts_of_a_report(text: str) -> None:
    found = Read(text)
    for title in ("Summary", "Latency", "Cost", "Over time", "By environment", "What happened"):
        assert title in found.words
    assert "4 simulated runs of 2 settings · 2 seeds" in found.words
    assert "2 are <wanted>" in found.words
    assert found.tags["svg"] == found.tags["figure"] >= 10


def test_text_of_a_report_is_shown_as_text() -> None:
    run = a_run(HOSTILE, environments=(HOSTILE, "b"), valid=False, reason=HOSTILE)
    run.whole.outcomes[HOSTILE] = 1
    run.environments["b"].decisions.kept[0].reason = HOSTILE
    run.lag = {HOSTILE: 0.1}
    report = assemble(HOSTILE, [run, a_run("b")], HOSTILE)
    report.made_by = HOSTILE
    found = Read(page(report))
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert found.open == []
    assert found.words.count(HOSTILE) >= 8


def test_runs_that_are_no_fair_measurement_are_told_first() -> None:
    run = a_run("x", valid=False, reason="requests were sent 80 ms late")
    words = Read(page(assemble("e", [run, a_run("x", 2)]))).words
    assert words.index("x, seed 1: requests were sent 80 ms late") < words.index("Means over seeds")


def test_settings_for_which_there_was_no_room_are_named() -> None:
    runs = [RunReport(label=f"setting {number}") for number in range(10)]
    full = a_run("full")
    for run in runs:
        run.environments, run.span_s = full.environments, full.span_s
    words = Read(page(assemble("e", runs))).words
    assert "Left out, so that the others can be told apart: setting 8, setting 9." in words


def test_simulated_and_live_runs_are_laid_over_each_other() -> None:
    both = joined(
        assemble("e", [a_run("x", seed) for seed in (1, 2)]),
        assemble("e", [a_run("x", seed, kind=LIVE, lag={"p99": 0.002}) for seed in (1, 2)]),
    )
    [comparison] = [compare(*pair) for pair in pairs(both, both, "x (simulated)", "x (live)")]
    words = Read(page(both, [comparison])).words
    assert "x (simulated) against x (live)" in words
    assert "Solid lines are simulated, dashed ones live." in words
    assert "Requests were sent late by p99 2.00 ms." in words


def test_a_single_seed_says_that_the_spread_is_not_known() -> None:
    words = Read(page(a_report({"one": 1}, seeds=(1,)))).words
    assert "One seed each: how far results spread is not known." in words
    assert "±" not in words


def test_a_report_without_runs_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="e has no runs to show"):
        page(Report(experiment="e"))
    with pytest.raises(ReportError, match="cannot be written: No such file or directory"):
        save(a_report({"one": 1}, seeds=(1,)), tmp_path / "missing" / "page.html")


def test_the_same_report_gives_the_same_page(report: Report, text: str, tmp_path: Path) -> None:
    save(report, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == text

"""Figures: well-formed, in the reader's colours, with the settings that have room."""

from __future__ import annotations

import re
import warnings
from xml.etree import ElementTree as ET

import pytest

from orchestrator.reports.plots import KINDS, drawn, figure
from orchestrator.reports.plots.axes import duration
from orchestrator.reports.plots.marks import marks
from orchestrator.reports.plots.theme import COLOURS, MOST_OVERLAID
from orchestrator.reports.plots.tradeoffs import _Point, front
from orchestrator.reports.report import LIVE, EnvironmentReport, Report, ReportError, RunReport
from orchestrator.reports.summary import Estimate, Group, groups
from tests.unit.reports.made import a_report, a_run

TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def report() -> Report:
    made = a_report({"two": 2, "three": 3, "four <&> more": 4}, seeds=(1, 2))
    made.runs.append(a_run("two", 1, replicas=2, kind=LIVE, environments=("a.p", "b.p")))
    return made


def texts(svg: str) -> list[str]:
    return ["".join(found.itertext()) for found in ET.fromstring(svg).iter(TEXT)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_whole_and_takes_every_colour_from_the_theme(report: Report, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = figure(report, kind)
    root = ET.fromstring(svg)
    assert root.get("aria-label") == KINDS[kind].label
    drawing = svg.split("</style>", 1)[1]
    named = re.findall(r"var\(--plot-([\w-]+), (#\w+)\)", drawing)
    assert {(name, COLOURS[name][0]) for name, _ in named} == set(named)
    assert "#" not in re.sub(r"var\([^)]+\)|url\(#[^)]+\)|href=\"#[^\"]+\"", "", drawing)
    # No formulas where text is meant, no numbers longer than a picture is fine.
    assert "mathdefault" not in svg
    assert not re.search(r"\d\.\d{3}", drawing)


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_the_same_each_time(report: Report, kind: str) -> None:
    assert figure(report, kind) == figure(report, kind)


@pytest.mark.parametrize("kind", ["percentiles", "curves", "costs", "pareto", "over_time"])
def test_every_setting_is_named(report: Report, kind: str) -> None:
    named = texts(figure(report, kind))
    for name in ("two (simulated)", "two (live)", "three", "four <&> more"):
        assert name in named


def test_a_label_that_looks_like_a_formula_is_written_as_it_is() -> None:
    report = a_report({"cost $x^2$ \\frac": 2, "b": 3}, seeds=(1,))
    assert "cost $x^2$ \\frac" in texts(figure(report, "percentiles"))


def test_a_long_label_is_cut() -> None:
    report = a_report({"x" * 80: 2, "b": 3}, seeds=(1,))
    assert f"{'x' * 43}…" in texts(figure(report, "costs"))


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_was_measured_nothing_is_drawn(kind: str) -> None:
    empty = Report(experiment="e", runs=[RunReport(environments={"a.b": EnvironmentReport()})])
    if kind == "costs":  # that it took no GPU is something
        assert drawn(groups(empty), kind)
        return
    assert drawn(groups(empty), kind) is None
    with pytest.raises(ReportError, match=f"'e' has nothing to draw as '{kind}'"):
        figure(empty, kind)


def test_what_cannot_be_drawn_says_what_can(report: Report) -> None:
    with pytest.raises(ReportError, match="no figure 'pie'; there are percentiles, curves"):
        figure(report, "pie")
    with pytest.raises(ReportError, match=r"no run of 'made-up' has an environment 'x\.y'"):
        figure(report, "curves", environment="x.y")


def test_one_environment_can_be_drawn_alone(report: Report) -> None:
    svg = figure(report, "curves", environment="b.p")
    assert "First byte" in texts(svg)
    assert svg != figure(report, "curves")


def test_settings_are_overlaid_while_they_can_be_told_apart() -> None:
    report = Report(runs=[RunReport(label=f"{number}") for number in range(20)])
    found = marks(groups(report))
    assert len(found) == MOST_OVERLAID
    assert len({mark.colour for mark in found}) == MOST_OVERLAID


def test_live_runs_have_the_colour_of_the_simulated_ones_and_other_dashes() -> None:
    runs = [RunReport(label="a"), RunReport(label="b"), RunReport(label="a", kind=LIVE)]
    a, b, live = marks(groups(Report(runs=runs)))
    assert a.colour == live.colour != b.colour
    assert a.dashes == b.dashes != live.dashes


def test_the_front_are_those_that_none_beats_in_both() -> None:
    def point(x: float, y: float) -> _Point:
        return _Point(Group("", "", "", {}, []), Estimate(x), Estimate(y), x, y)

    points = [point(3, 3), point(1, 9), point(2, 9), point(4, 1), point(4, 2), point(9, 1)]
    assert [(best.x, best.y) for best in front(points)] == [(1, 9), (3, 3), (4, 1)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.005, "5 ms"),
        (1, "1 s"),
        (30, "30 s"),
        (60, "1 min"),
        (90, "90 s"),
        (7200, "2 h"),
    ],
)
def test_axes_name_round_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_their_ground(theme: int) -> None:
    ground = luminance(COLOURS["surface"][theme])
    for name, both in COLOURS.items():
        ink = luminance(both[theme])
        contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
        if name in ("text", "muted"):
            assert contrast >= 4.5, name
        elif name.startswith("tone-"):
            assert contrast >= 3.0, name


def test_each_colour_is_used_for_one_thing() -> None:
    lights = [light for light, _ in COLOURS.values()]
    assert len(set(lights)) == len(lights)

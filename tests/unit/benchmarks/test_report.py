"""Tables, Markdown, JSON and the picture."""

import json
from io import StringIO

import pytest
from rich.console import Console

from tests.benchmarks.plot import draw
from tests.benchmarks.report import (
    as_json,
    as_markdown,
    idle_median,
    latency_rows,
    markdown_table,
    print_report,
    put_between_markers,
    shown,
    throughput_rows,
)
from tests.benchmarks.suite import OURS
from tests.unit.benchmarks.figures import GOOD, report


def test_throughput_table_has_figures_and_our_multiple():
    header, rows = throughput_rows(report())

    assert header == ["requests/s at", "1", "16", "64", "ours ÷, 1", "ours ÷, 16", "ours ÷, 64"]
    assert rows == [
        ["orchestrator 0.1.0", "1,700", "3,000", "3,000", "1.00", "1.00", "1.00"],
        ["LitServe 0.2.19", "1,300", "1,500", "1,500", "1.31", "2.00", "2.00"],
    ]


def test_latency_table_has_ours_as_a_part_of_theirs():
    _, rows = latency_rows(report())

    assert rows[1] == ["LitServe 0.2.19", "0.70", "10.00", "42.00", "0.71", "0.50", "0.48"]


def test_what_was_not_measured_is_a_dash():
    assert shown(None) == "-"
    assert shown(1234.5, 0) == "1,234"


def test_markdown_table_is_a_github_table():
    assert markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_markdown_has_all_four_tables():
    text = as_markdown(report())

    assert text.count("| --- |") == 4
    assert "ours ÷" in text


def test_terminal_shows_a_missed_level():
    target = StringIO()
    seen = report()

    print_report(Console(file=target, width=200), seen)

    assert "holds" in target.getvalue()
    assert "ours" in target.getvalue()


def test_idle_share_is_the_median_of_the_rounds():
    assert idle_median(report(), OURS) == 12.0
    assert idle_median(report(), "litserve") is None


def test_readme_block_is_replaced_and_the_rest_kept():
    before = "# a\n<!-- benchmark:start -->\nold\n<!-- benchmark:end -->\nrest\n"

    after = put_between_markers(before, "new\n")

    assert after == "# a\n<!-- benchmark:start -->\nnew\n<!-- benchmark:end -->\nrest\n"
    assert put_between_markers(after, "new") == after


@pytest.mark.parametrize("text", ["", "<!-- benchmark:start -->", "<!-- benchmark:end -->"])
def test_readme_without_markers_is_refused(text):
    with pytest.raises(ValueError, match="are needed"):
        put_between_markers(text, "new")


def test_json_holds_every_run_and_can_be_written():
    found = json.loads(json.dumps(as_json(report())))

    assert len(found["runs"]) == len(GOOD)
    assert found["plan"]["systems"] == [OURS, "litserve"]
    assert all(level["holds"] in {True, None} for level in found["service_levels"])


def test_picture_is_drawn(tmp_path):
    draw(report(), tmp_path / "figures.png")

    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")

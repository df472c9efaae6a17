"""The growth benchmark's own parts: its tables, its page, and the queue that it turns."""

import itertools
from pathlib import Path

import pytest

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.settings import EnvironmentSettings
from tests.benchmarks.peers.base import PROJECT
from tests.benchmarks.scale import permits
from tests.benchmarks.scale.__main__ import PAGE, Part
from tests.benchmarks.scale.table import Section, as_markdown, put_into, shown

MACHINE = {
    "cores": 2,
    "processor": "one",
    "memory_gigabytes": 4.0,
    "system": "Linux 6",
    "python": "3.11",
    "busy_percent_before": 1.0,
}


def test_a_section_is_a_markdown_table_with_its_machine() -> None:
    section = Section("routers", "How.", ["routers", "requests/s"], [["1", "1,000"]])
    assert as_markdown(section, MACHINE).splitlines() == [
        "How. 2 cores (one), 4 GiB, Linux 6, Python 3.11; 1 % busy before.",
        "",
        "| routers | requests/s |",
        "| --- | ---: |",
        "| 1 | 1,000 |",
    ]


def test_a_section_replaces_its_own_block_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x:start -->\nold\n<!-- x:end -->\nb\n", encoding="utf-8")
    put_into(page, Section("x", "", [], []), "new\n")
    assert page.read_text(encoding="utf-8") == "a\n<!-- x:start -->\nnew\n<!-- x:end -->\nb\n"
    with pytest.raises(ValueError, match="y:start"):
        put_into(page, Section("y", "", [], []), "new\n")


@pytest.mark.parametrize("part", Part)
def test_the_shipped_page_has_a_block_for_each_section(part: Part) -> None:
    assert PAGE.relative_to(PROJECT) == Path("docs/scale.md")
    assert PAGE.read_text(encoding="utf-8").count(f"<!-- {part}:start -->") == 1


def test_figures_are_shown_with_separators_and_a_dash_for_none() -> None:
    assert (shown(12345.6), shown(0.123, 2), shown(None)) == ("12,346", "0.12", "-")


@pytest.mark.parametrize("holders", [1, 4])
def test_each_turn_of_a_holder_brings_it_one_permit(holders: int) -> None:
    queue, turns, now = permits.ready_queue(holders)
    for holder in turns:
        holder.turn(now)
    brought = [holder.turn(now + 0.001) for holder in itertools.islice(itertools.cycle(turns), 100)]
    assert brought == [1] * 100
    assert sum(each.in_use for each in [holder.message for holder in queue.holders]) == 0


def test_the_measured_queue_goes_by_what_the_config_compiles_to() -> None:
    settings = EnvironmentSettings.from_mapping(permits.settings())
    assert EnvironmentQueue(settings, "test", 0.0).settings.model == "echo"
    assert permits.bounds()["keep_s"] == 1

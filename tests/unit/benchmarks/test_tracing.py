"""What the benchmark of tracing makes of its runs."""

import pytest
from ruamel.yaml import YAML

from tests.benchmarks.peers.orchestrator import write_config
from tests.benchmarks.service_levels import missed
from tests.benchmarks.suite import ECHO, Case, Plan
from tests.benchmarks.tracing.report import as_json, as_markdown, lower_percent, make_report
from tests.benchmarks.tracing.variants import VARIANTS, Traced10
from tests.unit.benchmarks.figures import run


def rounds(*rates: dict[str, float]):
    """Each variant of each round, right after one run without tracing, as the suite has it."""
    return [
        run(Case(f"tracing-{name}", ECHO, 16), of_round[name], round_number=number)
        for number, of_round in enumerate(rates, 1)
        for variant in of_round
        if variant != "off"
        for name in ("off", variant)
        if name in of_round
    ]


STEADY = {"off": 1000.0, "1": 980.0, "10": 950.0, "100": 750.0}


def report(*rates: dict[str, float]):
    return make_report(Plan(VARIANTS, (16,), 1, 3, contended=False), {}, rounds(*rates))


def test_what_tracing_costs_is_seen_within_each_round():
    slower = {variant: rate / 2 for variant, rate in STEADY.items()}

    assert lower_percent(rounds(STEADY, slower, slower), "tracing-10") == pytest.approx(5.0)
    assert lower_percent(rounds({"10": 950}), "tracing-10") is None


def test_a_machine_that_becomes_slower_meanwhile_is_not_taken_for_the_cost_of_tracing():
    slowing = [
        run(Case(f"tracing-{name}", ECHO, 16), rate, round_number=1)
        for name, rate in (("off", 1000), ("10", 855), ("off", 800))
    ]

    assert lower_percent(slowing, "tracing-10") == pytest.approx(5.0)


def test_levels_hold_up_to_their_bounds_and_are_missed_above():
    assert missed(list(report(STEADY).levels)) == []
    assert [level.bound for level in missed(list(report({**STEADY, "1": 960}).levels))] == ["≤ 3"]
    assert [level.bound for level in missed(list(report({**STEADY, "100": 600}).levels))] == [
        "≤ 30"
    ]


def test_tables_name_each_share_and_what_it_costs():
    text = as_markdown(report(STEADY))

    assert "| off | 1,000 | 1.00 | - |" in text
    assert "| 10 % | 950 | 1.00 | 5.0 % |" in text
    assert "5.0 % (half of all: 5.0 to 5.0)" in as_markdown(report(STEADY, STEADY))
    assert as_json(report(STEADY))["lower_percent"]["tracing-100"] == pytest.approx(25.0)


def test_a_share_is_written_into_the_configuration(tmp_path):
    write_config(tmp_path / "bench.yaml", 12_345, Traced10(tmp_path).changes())

    written = YAML(typ="safe").load((tmp_path / "bench.yaml").read_text(encoding="utf-8"))
    assert written["telemetry"] == {"sampling_percent": 10}

"""The benchmark of ``predict`` from its plan to its files."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.plot import draw
from tests.benchmarks.report import Report, as_json
from tests.benchmarks.service_levels import verdicts
from tests.benchmarks.suite import Plan, Suite
from tests.benchmarks.summary import summarise
from tests.benchmarks.wrk import wrk_version


def measure(plan: Plan, wrk: str, output: Path, tell: Callable[[str], None]) -> Report:
    """Carry out ``plan``; raises ``PeerError`` or ``LoadGeneratorError``."""
    machine = describe_machine(wrk_version(wrk))
    suite = Suite(plan, wrk, output / "logs", tell)
    suite.prepare()
    suite.run()
    summary = summarise(suite.runs)
    return Report(
        plan=plan,
        machine=machine,
        versions=suite.versions(),
        runs=suite.runs,
        idle=suite.idle,
        summary=summary,
        levels=verdicts(summary),
    )


def write(report: Report, text: str, output: Path) -> None:
    """The three result files."""
    (output / "latest.json").write_text(
        json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (output / "latest.md").write_text(text, encoding="utf-8")
    draw(report, output / "latest.png")

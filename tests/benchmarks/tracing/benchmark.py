"""The benchmark of tracing from its plan to its files."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.suite import Plan
from tests.benchmarks.tracing.report import Report, as_json, make_report
from tests.benchmarks.tracing.suite import TracingSuite
from tests.benchmarks.wrk import wrk_version


def measure(plan: Plan, wrk: str, output: Path, tell: Callable[[str], None]) -> Report:
    """Carry out ``plan``; raises ``PeerError`` or ``LoadGeneratorError``."""
    machine = describe_machine(wrk_version(wrk))
    suite = TracingSuite(plan, wrk, output / "logs", tell)
    suite.run()
    return make_report(plan, machine, suite.runs)


def write(report: Report, text: str, output: Path) -> None:
    """The two result files."""
    (output / "tracing.json").write_text(
        json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (output / "tracing.md").write_text(text, encoding="utf-8")

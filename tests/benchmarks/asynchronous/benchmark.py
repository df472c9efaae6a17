"""The asynchronous benchmark from its plan to its files."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from orchestrator.store.embedded import find_program
from tests.benchmarks.asynchronous.report import Report, as_json
from tests.benchmarks.asynchronous.suite import OURS, Plan, Suite
from tests.benchmarks.asynchronous.summary import summarise, verdicts
from tests.benchmarks.asynchronous.systems.base import STORES
from tests.benchmarks.machine import describe_machine, sync_p50_ms
from tests.benchmarks.wrk import wrk_version


def measure(plan: Plan, wrk: str, output: Path, tell: Callable[[str], None]) -> Report:
    """Carry out ``plan``; raises ``PeerError`` or ``LoadGeneratorError``."""
    machine = {
        **describe_machine(wrk_version(wrk)),
        "store": store_version(),
        "sync_p50_ms": round(sync_p50_ms(STORES), 2),
    }
    suite = Suite(plan, output / "logs", tell)
    suite.prepare()
    suite.run()
    summary = summarise(suite.samples)
    return Report(
        plan=plan,
        machine=machine,
        versions=suite.versions(),
        samples=suite.samples,
        summary=summary,
        levels=verdicts(summary, OURS),
    )


def store_version() -> str:
    """What the stores run, such as ``Valkey 9.1.2``."""
    shown = subprocess.run(
        [find_program(), "--version"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    kind = "Valkey" if "valkey" in shown.lower() else "Redis"
    found = re.search(r"v=(\S+)", shown)
    return f"{kind} {found[1]}" if found else kind


def write(report: Report, text: str, output: Path) -> None:
    """The two result files."""
    (output / "async.json").write_text(
        json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (output / "async.md").write_text(text, encoding="utf-8")

"""Runs the shipped experiments anew: their tables and figures in docs/experiments.md.

    python -m tests.experiments.regenerate [--jobs N] [NAME ...]

What the numbers mean is written by hand beside them; look at it again where they changed.
The traces must be on this machine (see docs/traffic.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.reports.plots import figure
from orchestrator.reports.tables import markdown, summary
from orchestrator.simulator.loading import load
from orchestrator.simulator.running import run
from tests.benchmarks.report import put_between_markers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reports.report import Report

ROOT: Final = Path(__file__).parents[2]
CONFIGS: Final = ROOT / "configs" / "experiments"
PAGE: Final = ROOT / "docs" / "experiments.md"
FIGURES: Final = ROOT / "docs" / "experiments"


class Shown(NamedTuple):
    """How an experiment is shown.

    Attributes:
        kind: of its figure (see `orchestrator.reports.plots`).
        environment: of the figure; None: all together.
    """

    kind: str
    environment: str | None = None


EXPERIMENTS: Final = {
    "keep_alive": Shown("pareto"),
    "burst": Shown("over_time"),
    "packing": Shown("replicas"),
    "min_replica": Shown("percentiles"),
    "target_utilization": Shown("pareto"),
    "servegen_pool": Shown("pool"),
}
"""By the names of their files, in the order of the page."""


def main(arguments: Sequence[str]) -> None:
    """Runs those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.experiments")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    for name in asked.names or EXPERIMENTS:
        report = run(load(CONFIGS / f"{name}.yaml"), jobs=asked.jobs)
        write(name, report)
        print(f"{name}: {facts(report)}")


def write(name: str, report: Report) -> None:
    """Puts an experiment's table and figure into the documentation."""
    shown = EXPERIMENTS[name]
    FIGURES.mkdir(exist_ok=True)
    drawn = figure(report, shown.kind, environment=shown.environment)
    (FIGURES / f"{name}.svg").write_text(drawn, encoding="utf-8")
    block = f"{markdown(summary(report))}\n\n{facts(report)}"
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(put_between_markers(text, block, name), encoding="utf-8")


def facts(report: Report) -> str:
    """How much was simulated, and what that took."""
    requests = sum(each.whole.arrived for each in report.runs)
    hours = sum(each.span_s for each in report.runs) / 3600
    seconds = sum(each.cpu_s for each in report.runs)
    return (
        f"{len(report.runs)} runs, {requests:,} requests, {hours:,.1f} hours in "
        f"{seconds:,.0f} s of one core. Means over the seeds, with 95 % confidence intervals."
    )


if __name__ == "__main__":
    main(sys.argv[1:])

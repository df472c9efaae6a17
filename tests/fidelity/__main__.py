"""Replays recorded traffic against a cluster, simulates the same, and compares.

    python -m tests.fidelity [--seeds 1,2,3] [--set PATH=VALUE] [--out FOLDER] [--update-readme]

ends with status 1 where a number is not within its bound, or a replay was not valid. With
--out, the report goes to FOLDER/fidelity.json and a page of it to FOLDER/fidelity.html.
The trace is looked for as `tests.recorded` says.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from orchestrator.reports import page, report
from tests import recorded
from tests.fidelity.run import compare
from tests.fidelity.table import markdown, rows_of

if TYPE_CHECKING:
    from orchestrator.reports.report import Report
    from tests.fidelity.calibration import Calibration

ROOT = Path(__file__).parents[2]
_PLACE = re.compile(r"(<!-- fidelity -->\n).*?(<!-- /fidelity -->)", re.DOTALL)


def main() -> int:
    """Run, print, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("--seeds", default="1,2,3", help="one replay and one simulation each")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--out", type=Path, help="folder for the report")
    parser.add_argument("--update-readme", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("ORCHESTRATOR_TRACES", str(recorded.folder()))
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder:
        found = uvloop.run(compare(Path(folder), seeds, options.set, _say))
    rows = rows_of(found.report)
    done = about(found.report, found.calibration, len(seeds))
    text = f"{done}\n\n{markdown(rows)}\n"
    print(text)
    if options.out is not None:
        report.save(found.report, options.out / "fidelity.json")
        page.save(found.report, options.out / "fidelity.html")
    if options.update_readme:
        update(ROOT / "README.md", text)
    invalid = [run for run in found.report.runs if not run.valid]
    for run in invalid:
        print(f"not valid: seed {run.seed}: {run.reason}", file=sys.stderr)
    missed = any(row.holds is False for row in rows)
    return 1 if invalid or missed else 0


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def about(found: Report, calibrated: Calibration, seeds: int) -> str:
    """What was done, where, and on what measurements the simulations went."""
    slot_ms, outside_ms = (1000 * seconds for seconds in calibrated.overheads)
    span_s = found.runs[0].span_s
    late_ms = max(1000 * run.lag["p99"] for run in found.runs if run.lag)
    return (
        f"`make fidelity`, {seeds} seeds, {span_s:.0f} s each, {os.cpu_count()} cores. "
        f"Calibrated by a replay of its own: {len(calibrated.starts)} starts, "
        f"{slot_ms:.1f} ms added to a request in its slot and {outside_ms:.1f} ms outside of it. "
        f"Of each replay's requests, 99 % were sent at most {late_ms:.1f} ms late."
    )


def update(readme: Path, text: str) -> None:
    """Puts the text between the README's markers."""
    old = readme.read_text(encoding="utf-8")
    new, count = _PLACE.subn(lambda found: f"{found[1]}{text}{found[2]}", old)
    if not count:
        raise SystemExit(f"{readme}: there is no <!-- fidelity --> … <!-- /fidelity -->")
    readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

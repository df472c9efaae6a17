"""The whole chaos: each part killed in turn, the store away for a while, all killed at once.

    python -m tests.chaos [--requests N] [PART ...]

runs once for each part named (default: all of them), prints each ledger, and ends
with status 1 where one does not add up.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import OUTAGE, PARTS, chaos

KILLS_A_RUN = 3


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="requests per run")
    parser.add_argument("parts", nargs="*", default=[*PARTS, OUTAGE, "all"], help="what to kill")
    options = parser.parse_args()
    unknown = set(options.parts) - {*PARTS, OUTAGE, "all"}
    if unknown:
        parser.error(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}, {OUTAGE}, all"
        )
    faults = 0
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            times = KILLS_A_RUN if part in PARTS else 1
            ledger = asyncio.run(chaos(Path(folder), options.requests, [part] * times))
        print(f"{ledger}\n", flush=True)
        faults += len(ledger.faults())
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m orchestrator.telemetry.monitoring [FOLDER]`: writes the files below the folder."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.telemetry.monitoring.files import write

if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        print(path)  # noqa: T201  # a command's answer

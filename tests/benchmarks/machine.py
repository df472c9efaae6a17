"""What the figures were measured on."""

import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil


def describe_machine(wrk: str) -> dict[str, str | int | float]:
    """Processor, memory, system and what else keeps it busy, as a JSON-able dict."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_generator": f"{wrk}, 1 thread",
        # Other work on the machine makes every figure lower; this shows whether there was any.
        "load_average_before": round(os.getloadavg()[0], 2),
        "busy_percent_before": psutil.cpu_percent(interval=2.0),
    }


def sync_p50_ms(folder: Path, times: int = 100) -> float:
    """What it takes to add a little to a file in ``folder`` and sync it, median, in ms."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(times):
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 256)
            os.fdatasync(file.fileno())
            seen.append(time.perf_counter() - began)
    return 1000 * median(seen)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()

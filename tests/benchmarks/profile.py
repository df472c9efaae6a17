"""Where a system's time goes under load: one py-spy recording per Python process."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks.peers.base import Peer
from tests.benchmarks.processes import cpu_seconds, interrupts_ignored
from tests.benchmarks.wrk import LoadGeneratorError, measure

CONNECTIONS = 16
SECONDS = 10
# Processes that used less than this share of a core in the warm-up say nothing.
BUSY_SHARE = 0.05
WARM_UP_SECONDS = 3


def profile(system: type[Peer], wrk: str, output: Path, tell: Callable[[str], None]) -> None:
    """Record every busy process of ``system`` into ``output/profile-SYSTEM-PID.json``.

    The files open in speedscope.app. Raises ``LoadGeneratorError`` when py-spy is missing and
    ``PeerError`` when the system does not start.
    """
    spy = find_py_spy()
    peer = system(output / "logs")
    peer.prepare()
    try:
        peer.start()
        before = {process: cpu_seconds(process) for process in peer.processes.members()}
        measure(wrk, peer.url, peer.body, connections=CONNECTIONS, seconds=WARM_UP_SECONDS)
        busy = [
            process
            for process, used in before.items()
            if cpu_seconds(process) - used > BUSY_SHARE * WARM_UP_SECONDS
        ]
        recordings = [record(spy, process, output, peer.name) for process in busy]
        seen = measure(wrk, peer.url, peer.body, connections=CONNECTIONS, seconds=SECONDS)
        for process, path, recording in recordings:
            _, error = recording.communicate(timeout=60)
            done = path if recording.returncode == 0 else f"not recorded: {error.strip()[-200:]!r}"
            tell(f"{process}: {done}")
        tell(f"{seen.throughput:,.0f} requests/s while being recorded (slower than otherwise)")
    finally:
        with interrupts_ignored():
            peer.stop()


def find_py_spy() -> str:
    """Path of py-spy; raises ``LoadGeneratorError`` with the way to install it."""
    beside = Path(sys.executable).parent / "py-spy"
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise LoadGeneratorError("py-spy is missing; install it with: pip install py-spy")
    return found


def record(
    spy: str, process: psutil.Process, output: Path, name: str
) -> tuple[str, Path, subprocess.Popen[str]]:
    """Start recording one process; returns its title, the file and the recorder."""
    path = output / f"profile-{name}-{process.pid}.json"
    # fmt: off
    command = [
        spy, "record", "--pid", str(process.pid), "--duration", str(SECONDS - 1),
        "--format", "speedscope", "--output", str(path),
    ]
    # fmt: on
    recorder = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    return f"{process.name()} ({process.pid})", path, recorder

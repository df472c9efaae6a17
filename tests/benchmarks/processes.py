"""Child processes that are owned: started in a session of their own, ended by id to the last.

A system under test is a tree of processes. Some of them leave the tree (a daemon, a proxy
whose parent died) and some rewrite the memory behind ``/proc/PID/environ``, so no single sign
finds them all; three together do: the session that the first process leads, descent from a
known process, and a mark in the environment.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

MARK_VARIABLE = "ORCHESTRATOR_BENCHMARK_MARK"
# Killing is repeated, because a process may start another one while it is being killed.
KILL_ATTEMPTS = 10
# Grandchildren often end by themselves a moment after their leader.
GRACE_SECONDS = 2.0


class ProcessGroup:
    """All processes of one system under test. Start commands in it; ``end`` leaves none."""

    def __init__(self, name: str, log_path: Path, *, grace_s: float = GRACE_SECONDS) -> None:
        self.name = name
        self.log_path = log_path
        self._grace_s = grace_s
        self._mark = f"{name}-{uuid.uuid4().hex}"
        self._leaders: list[subprocess.Popen[bytes]] = []
        self._known: set[psutil.Process] = set()

    def environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        """This process's environment with ``changes`` and the mark of the group."""
        # The caller's settings of Ray (an address to join, a mode of Serve) are not meant for it.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**kept, **changes, MARK_VARIABLE: self._mark}

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in ``folder`` with its output added to the log, which begins anew here."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab" if self._leaders else "wb") as log:
            child = subprocess.Popen(
                list(command),
                env=self.environment(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._leaders.append(child)
        return child

    def members(self) -> set[psutil.Process]:
        """Every live process of the group."""
        leaders = {child.pid for child in self._leaders}
        roots = {process for process in psutil.process_iter() if self._is_root(process, leaders)}
        roots |= {process for process in self._known if process.is_running()}
        found = set(roots)
        for root in roots:
            with contextlib.suppress(psutil.Error):
                found.update(root.children(recursive=True))
        self._known |= found
        return {process for process in found if is_alive(process)}

    def cpu_seconds(self) -> float:
        """Processor time that the live processes of the group have used so far."""
        return sum(cpu_seconds(process) for process in self.members())

    def end(self, patience_s: float) -> list[int]:
        """Ask the leaders to end, then end what is left; returns the ids that had to be killed.

        Only the leaders are asked: they know in which order their children must go.
        """
        self.members()
        for child in self._leaders:
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + patience_s
        for child in self._leaders:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=max(0.1, deadline - time.monotonic()))
        wait_until_ended(self.members(), timeout_s=self._grace_s)
        killed: list[int] = []
        for _ in range(KILL_ATTEMPTS):
            left = self.members()
            if not left:
                break
            killed.extend(process.pid for process in left)
            kill(left)
        self._leaders.clear()
        return killed

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the system printed."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _is_root(self, process: psutil.Process, leaders: set[int]) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            if os.getsid(process.pid) in leaders:
                return True
            return bool(process.environ().get(MARK_VARIABLE) == self._mark)
        except (psutil.Error, OSError):
            return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and only awaits its parent does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of one process; 0 when it is gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL each one that is still the process it was, and wait a moment for them."""
    targets = list(processes)
    for process in targets:
        with contextlib.suppress(psutil.Error):
            process.kill()
    wait_until_ended(targets, timeout_s=GRACE_SECONDS)


def wait_until_ended(processes: Iterable[psutil.Process], *, timeout_s: float) -> None:
    """Return when all have ended, awaited by their parent or not, or when the time is over."""
    deadline = time.monotonic() + timeout_s
    for process in processes:
        try:
            handle = os.pidfd_open(process.pid)
        except OSError:
            continue
        try:
            select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(handle)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """A second Ctrl-C must not cut short the cleaning up after the first. Main thread only."""
    previous = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

"""Which processes belong to a cluster, and ending exactly those.

A process id alone says nothing: ids are used again. Everything here works on a
`ProcessId`, a pid together with the tick since boot at which it started, which
the kernel never gives twice while the machine is up.
"""

import ctypes
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_POLL_SECONDS = 0.02


class ProcessId(msgspec.Struct, frozen=True):
    """One process of this boot, for ever distinct from a later one with its pid."""

    pid: int
    started_ticks: int


def boot_id() -> str:
    """The kernel's id of the current boot; tick counts of another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start tick of a process, or None where there is none."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in parentheses and may hold anything, also ')'.
    fields = line[line.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def identify(pid: int) -> ProcessId | None:
    """The identity of a running process; None if there is none or only its zombie."""
    stat = _stat(pid)
    if stat is None or stat[0] in "ZX":
        return None
    return ProcessId(pid=pid, started_ticks=stat[1])


def alive(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    return identify(process.pid) == process


def descendants(pid: int) -> set[ProcessId]:
    """Every live process below `pid` in the process tree, `pid` itself left out."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    return {found for child in children if (found := identify(child.pid)) is not None}


def descendants_of(process: ProcessId) -> set[ProcessId]:
    """`descendants` of this very process; none when it is gone."""
    return descendants(process.pid) if alive(process) else set()


def marked(variable: str, value: str) -> set[ProcessId]:
    """Live processes of this user that were started with `variable=value` set.

    A process may overwrite its environment block (those that rename themselves
    do), so this finds what a process tree lost sight of, and does not replace it.
    """
    wanted = f"{variable}={value}".encode()
    found: set[ProcessId] = set()
    for pid in psutil.pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # gone, or somebody else's
            continue
        process = identify(pid) if wanted in environment.split(b"\0") else None
        if process is not None:
            found.add(process)
    return found


def with_argument_below(directory: Path) -> set[ProcessId]:
    """Live processes that were given a path inside `directory` on their command line."""
    prefix = f"{directory}/"
    found: set[ProcessId] = set()
    for process in psutil.process_iter(["cmdline"]):
        arguments: list[str] = process.info["cmdline"] or []
        if any(argument.startswith(prefix) for argument in arguments):
            identity = identify(process.pid)
            if identity is not None:
                found.add(identity)
    return found


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Signal this very process; False if it is gone. Never hits a later one with its pid."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor pins the process it was opened on, so a check made now
        # still holds when the signal is sent.
        if not alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(processes: Iterable[ProcessId], timeout_seconds: float) -> set[ProcessId]:
    """Wait until none of `processes` runs; those that still do after the time."""
    deadline = time.monotonic() + timeout_seconds
    left = {process for process in processes if alive(process)}
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = {process for process in left if alive(process)}
    return left


def end(processes: Iterable[ProcessId], *, grace_seconds: float) -> set[ProcessId]:
    """End processes: SIGTERM, `grace_seconds` to go by themselves, then SIGKILL.

    Returns those that could not be ended (a process in an uninterruptible call).
    """
    left = {process for process in processes if send(process, signal.SIGTERM)}
    left = wait_gone(left, grace_seconds)
    for process in left:
        send(process, signal.SIGKILL)
    return wait_gone(left, 5.0)


def adopt_orphans() -> None:
    """Make this process the new parent of any descendant whose own parent dies.

    Without it an orphan goes to init and falls out of the process tree by which
    a supervisor knows what it started.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent process, `parent` by id, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before the kernel was asked
        signal.raise_signal(signal.SIGTERM)


def reap_zombies() -> None:
    """Collect children that have ended, so that adopted ones do not pile up."""
    for child in psutil.Process().children():
        stat = _stat(child.pid)
        if stat is not None and stat[0] == "Z":
            try:
                os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:  # collected by whoever started it
                continue


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Runs one command and sees to it that nothing of it outlives the replica.

    python -I -S guardian.py <pid of the replica> [--remove <folder>] <command> [argument ...]

A replica does not fork its model server itself but starts this small process,
for two reasons. A replica is full of threads, where code between fork and exec
is unsafe and where Linux's parent-death signal is bound to the *thread* that
forked. And a killed replica cannot clean up: this process can, since it outlives
the replica by the moment that it needs.

* It adopts orphans (PR_SET_CHILD_SUBREAPER), so that every descendant of the
  command stays below it, whatever sessions they open.
* It watches the replica through a pidfd. When the replica is gone, however it
  died, every descendant is killed.
* When the command ends, what it left running is killed, and this process ends
  with the command's exit status (128 + n when signal n ended it).
* The folder, with nothing but files and sockets in it, is removed at the end.
* SIGTERM is passed on to the command; SIGUSR1 kills everything at once.
* The command itself dies with this process (PR_SET_PDEATHSIG).

It must be the leader of its own session. It is run by its path, without site
packages, and imports only the standard library: it is up in 10 ms.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_PROC = Path("/proc")

NOT_STARTED = 127
"""Exit status when the command cannot be executed, as shells have it."""


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _descendants(ancestor: int) -> list[int]:
    """Pids of all processes below `ancestor`, zombies too; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit():
            continue
        try:
            # `pid (name) state ppid ...`; the name may hold spaces and parentheses.
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has just ended
        children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    frontier = [ancestor]
    while frontier:
        below = children.get(frontier.pop(), [])
        found += below
        frontier += below
    return found


def _reap(command: int) -> int | None:
    """Collects ended children; the wait status of `command` if it was among them."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == command:
            status = ended


def _kill_descendants(command: int) -> int | None:
    """Kills until nothing is left; the wait status of `command` if it ended in here.

    Killing is repeated because a process may fork between being listed and dying;
    its children are then ours, and found in the next round.
    """
    status = None
    while victims := _descendants(os.getpid()):
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reaped = _reap(command)
        status = reaped if reaped is not None else status
        time.sleep(0.005)
    return status


def _execute(command: list[str]) -> None:
    """Becomes the command; in the forked child only, never returns."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Python ignores SIGPIPE, and ignored signals survive exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the deployment's own command
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(NOT_STARTED)


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # no such call here (then the parent's pid is polled), or just ended


def _supervise(parent: int, command: list[str]) -> int:
    """Runs `command` to its end, or to that of `parent`; a wait status."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # read from the pipe below

    child = os.fork()
    if child == 0:
        _execute(command)

    poll = select.poll()
    poll.register(woken, select.POLLIN)
    pidfd = _open_pidfd(parent)
    if pidfd is not None:
        poll.register(pidfd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(1000)}
        received = os.read(woken, 512) if woken in ready else b""
        status = _reap(child)
        if status is not None:
            _kill_descendants(child)
            return status
        if pidfd in ready or os.getppid() != parent or signal.SIGUSR1 in received:
            killed = _kill_descendants(child)
            return killed if killed is not None else signal.SIGKILL
        if signal.SIGTERM in received:
            os.kill(child, signal.SIGTERM)


def _remove(folder: Path) -> None:
    try:
        for entry in list(folder.iterdir()):
            entry.unlink()
        folder.rmdir()
    except OSError as error:
        os.write(2, f"{folder} could not be removed: {error.strerror}\n".encode())


def main() -> int:
    """Entry point; the exit status to leave with."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    folder = None
    if command[0] == "--remove":
        folder, command = Path(command[1]), command[2:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    status = _supervise(parent, command)
    if folder is not None:
        _remove(folder)
    if not _PROC.is_dir():  # descendants cannot be listed; they share our process group
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main())

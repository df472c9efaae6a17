"""A child process that a replica owns: started, listened to, and surely ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from replicas.capture import CHILD_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Below Serve's logger: what is said here lands in the replica's own log file.
logger = logging.getLogger(CHILD_LOGGER)

KEPT_LINES = 50
_LONGEST_LINE = 4096
_LAST_LINES_S = 2.0
_GUARDIAN = Path(__file__).with_name("guardian.py")
# Progress bars end their lines with a carriage return.
_LINE_END = re.compile(rb"\r\n|\n|\r")


class LogTail:
    """The last lines of an output, made from arbitrary pieces of it."""

    def __init__(self, kept_lines: int = KEPT_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=kept_lines)
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Takes the next piece; returns the lines that it completed, without line ends.

        Longer lines are cut at 4,096 bytes. Empty lines are dropped.
        """
        *complete, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > _LONGEST_LINE:
            complete.append(self._rest)
            self._rest = b""
        lines = [line[:_LONGEST_LINE].decode(errors="replace") for line in complete if line.strip()]
        self._lines.extend(lines)
        return lines

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first, with a line that has not ended yet."""
        if not self._rest.strip():
            return tuple(self._lines)
        last = self._rest[:_LONGEST_LINE].decode(errors="replace")
        return (*self._lines, last)[-(self._lines.maxlen or 0) :]


def describe_exit(status: int) -> str:
    """An exit status in words: `ended with exit status 3`, `was killed by SIGKILL`."""
    number = -status if status < 0 else status - 128
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(number).name}"
    return f"ended with exit status {status}"


class Child:
    """One running command, below a guardian process of its own (see `guardian`).

    Neither it nor anything it starts outlives this process, also when this
    process is killed. Make one with `start`.
    """

    def __init__(
        self, guardian: asyncio.subprocess.Process, heard: Callable[[str], None] | None = None
    ) -> None:
        self._guardian = guardian
        self._heard = heard
        self._tail = LogTail()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        command: list[str],
        *,
        environment: Mapping[str, str],
        directory: str | None = None,
        heard: Callable[[str], None] | None = None,
        inherited: Sequence[int] = (),
        scratch: Path | None = None,
    ) -> Child:
        """Starts `command` with exactly `environment`.

        Args:
            command: program and arguments.
            environment: all variables that it gets.
            directory: where it runs.
            heard: gets its lines.
            inherited: file descriptors that it gets, under the same numbers.
            scratch: a folder of files and sockets, which is removed when it has ended.

        Raises:
            OSError: the directory is missing, or no process can be had. A command
                that cannot be executed shows as exit status 127.
        """
        guardian = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_GUARDIAN), str(os.getpid())),
            *(() if scratch is None else ("--remove", str(scratch))),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=inherited,
        )
        return cls(guardian, heard)

    @property
    def guardian_pid(self) -> int:
        """Pid of the guardian, which is also its session and process group."""
        return self._guardian.pid

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines of the command's output, both streams, oldest first."""
        return self._tail.lines

    async def wait(self) -> int:
        """Waits for the end and for the last line; the command's exit status.

        128 + n if signal n ended it. Nothing that it started runs any more then.
        """
        status = await self._guardian.wait()
        if status < 0:  # the guardian was killed, so it could not clean up
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guardian.pid, signal.SIGKILL)
        await asyncio.wait({self._listening}, timeout=_LAST_LINES_S)
        return status

    async def stop(self, grace_s: float) -> int:
        """Ends it: SIGTERM, and after `grace_s` seconds SIGKILL to all that is left."""
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGUSR1, 2.0)):
            if patience_s <= 0:
                continue
            with contextlib.suppress(ProcessLookupError):
                self._guardian.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await self.wait()
        # The guardian itself does not answer; the command dies with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guardian.pid, signal.SIGKILL)
        return await self.wait()

    async def _listen(self) -> None:
        stream = self._guardian.stdout
        if stream is None:
            raise RuntimeError("the child was started without a pipe")
        while data := await stream.read(65536):
            for line in self._tail.feed(data):
                if self._heard is not None:
                    self._heard(line)
                logger.info("%s", line, extra={"log_to_stderr": False})

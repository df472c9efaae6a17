"""Runs any HTTP model server as a child process."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.lifecycle.replica import Stage
from replicas.children import Child, describe_exit
from replicas.errors import StartFailed, Unhealthy
from replicas.gate import LOOPBACK, Gate
from replicas.guardian import NOT_STARTED
from replicas.probes import listens, status_of
from replicas.runners import base_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator.cluster_secret import ClusterSecret
    from replicas.spec import CommandRunnerSpec

_PROBE_SECONDS = 0.05
_PROBE_TIMEOUT_SECONDS = 5.0


class CommandRunner:
    """A server that others wrote: vLLM, SGLang, TEI, Triton, or a plain application.

    STARTING until its process runs, LOADING until its port is open, WARMING until
    its health path answers 2xx. It is ready for good then: when it ends by itself,
    `ended` says so, and the replica is to be replaced.

    Where callers must send the cluster's secret, the server listens on loopback, behind a
    gate (see `replicas.gate`) that lives and dies with it.
    """

    def __init__(
        self,
        spec: CommandRunnerSpec,
        *,
        environment: Mapping[str, str],
        host: str,
        heard: Callable[[str], None] | None = None,
        secret: ClusterSecret | None = None,
    ) -> None:
        """A runner that has started nothing yet.

        Args:
            spec: what to run.
            environment: all variables that the command gets.
            host: where callers are to find it.
            heard: gets each line that it writes.
            secret: of the cluster, which callers must send; None: nothing is asked.
        """
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._spec = spec
        self._environment = environment
        self._public_host = host
        self._secret = secret
        self._gate: Gate | None = None
        self._host = host if secret is None else LOOPBACK
        self._heard = heard
        self._port = 0
        self._progress = "the process is being started"
        self._child: Child | None = None
        self._waiting: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Base URL of the child, or of the gate before it."""
        return self._gate.address if self._gate is not None else self._own_address

    @property
    def in_flight(self) -> int | None:
        """Not known: requests go to the child directly."""
        return None

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines that the child wrote, or the gate if that is what has ended."""
        if self._gate is not None and self._gate.ended.done():
            return self._gate.log_tail
        return self._child.log_tail if self._child is not None else ()

    @property
    def progress(self) -> str:
        """What the start is waiting for."""
        return self._progress

    @property
    def child(self) -> Child | None:
        """The running child, once it was started."""
        return self._child

    async def start(self, enter: Callable[[Stage], None]) -> None:
        """Starts the command and waits until its health path answers."""
        self._check_command()
        self._port = _free_port(self._host)
        if self._secret is not None:
            self._progress = "the gate before the command is being started"
            self._gate = Gate(self._public_host, self._port, self._secret)
            await self._gate.start()
            self._gate.ended.add_done_callback(lambda ended: self._end(ended.result()))
        filled = {"{port}": str(self._port), "{host}": self._host}
        command = [_fill(argument, filled) for argument in self._spec.command]
        try:
            self._child = await Child.start(
                command,
                environment=self._environment,
                directory=self._spec.working_directory,
                heard=self._heard,
            )
        except OSError as error:
            raise StartFailed(f"{command[0]} could not be started: {error}") from error
        enter(Stage.LOADING)
        self._waiting = asyncio.create_task(self._wait(self._child))
        await self._until(self._port_open)
        if self._gate is not None and await listens(self._public_host, self._port):
            raise StartFailed(
                f"the command listens on {self._public_host}:{self._port}, past the gate before "
                f"it; let it listen on {{host}} alone, which is {self._host} here"
            )
        enter(Stage.WARMING)
        await self._until(self._healthy)

    async def check(self) -> None:
        """GETs the health path once, and looks at the gate if there is one."""
        if self._gate is not None:
            await self._gate.check()
        try:
            status = await status_of(self._host, self._port, self._spec.health_path)
        except (OSError, ValueError) as error:  # ValueError: a line too long to be HTTP
            raise Unhealthy(f"GET {self._health_url} failed: {error}") from error
        if not 200 <= status < 300:
            raise Unhealthy(f"GET {self._health_url} answered {status}")

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`, to the child and all below it."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self._child is not None:
            await self._child.stop(grace_s)
        # Last: what runs in the child to its end answers through it.
        if self._gate is not None:
            await self._gate.stop()

    @property
    def _own_address(self) -> str:
        return base_url(self._host, self._port)

    @property
    def _health_url(self) -> str:
        return self._own_address + self._spec.health_path

    def _check_command(self) -> None:
        """Finds out about a wrong command before it costs a process."""
        directory, program = self._spec.working_directory, self._spec.command[0]
        if directory is not None and not Path(directory).is_dir():
            raise StartFailed(f"the working directory {directory} does not exist")
        if "/" in program:
            # Relative to the child's directory, as exec has it.
            found = shutil.which(str(Path(directory or ".") / program))
        else:
            found = shutil.which(program, path=self._environment.get("PATH"))
        if found is None:
            raise StartFailed(f"command not found, or not executable: {program}")

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Waits until `condition` holds; raises StartFailed if the child ends before."""
        while not await condition():
            await asyncio.wait({self.ended}, timeout=_PROBE_SECONDS)
            if self.ended.done():
                raise StartFailed(f"{self.ended.result()} before it was ready", self.log_tail)

    async def _port_open(self) -> bool:
        if await listens(self._host, self._port):
            return True
        self._progress = (
            f"nothing listens on {self._host}:{self._port}; the command has to listen on "
            "the port (and host) that {port} (and {host}) stand for"
        )
        return False

    async def _healthy(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_SECONDS):
                await self.check()
        except Unhealthy as failure:
            self._progress = str(failure)
            return False
        except TimeoutError:
            self._progress = f"GET {self._health_url} took longer than {_PROBE_TIMEOUT_SECONDS:g} s"
            return False
        return True

    async def _wait(self, child: Child) -> None:
        status = await child.wait()
        what = f"{self._spec.command[0]} {describe_exit(status)}"
        if status == NOT_STARTED:
            what += " (not found, or not executable)"
        self._end(what)

    def _end(self, what: str) -> None:
        if not self.ended.done():
            self.ended.set_result(what)


def _fill(argument: str, values: Mapping[str, str]) -> str:
    """Replaces the placeholders; other braces are the command's own, as in JSON."""
    for placeholder, value in values.items():
        argument = argument.replace(placeholder, value)
    return argument


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port

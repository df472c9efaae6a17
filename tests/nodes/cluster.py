"""A cluster of three nodes, each on a machine of its own, brought up through the command line."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp

from orchestrator.cluster import processes
from tests.integration.running_cluster import (
    Finished,
    RunningCluster,
    command_of,
    eventually,
    finished,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orchestrator.cluster.processes import ProcessId
    from tests.nodes.namespaces import Network

HEAD, EAST, WEST = "a", "b", "c"
JOINS = {
    EAST: ("--cpus", "1", "--label", "site=east", "--resource", "seat=1", "--resource", "bench=2"),
    WEST: (
        *("--cpus", "1", "--gpus", "1", "--label", "site=west"),
        *("--resource", "seat=1", "--resource", "bench=2"),
    ),
}
"""What each node that joins offers."""

SETTLE_S = 60.0


@dataclass
class NodesCluster(RunningCluster):
    """The cluster and its callers, who are on the root namespace's machine.

    Processes are looked for on all machines.

    Attributes:
        network: its machines.
    """

    network: Network = field(kw_only=True)

    @classmethod
    def on(cls, network: Network, template: Path, folder: Path, gates: str) -> Self:
        """The cluster that `template` declares; nothing is started."""
        plain = RunningCluster.prepare(template, folder, gates)
        plain.config["cluster"]["port"] = 8000
        url = f"http://{network.machines[HEAD].address}:8000"
        return cls(folder, plain.config, gates, url=url, keys=plain.keys, network=network)

    # The command line

    async def command(self, *arguments: str) -> Finished:
        """Runs `orchestrator` on the head."""
        return await self.command_at(HEAD, *arguments)

    async def command_at(self, name: str, *arguments: str) -> Finished:
        """Runs `orchestrator` on a machine."""
        command = (sys.executable, "-m", "orchestrator.cli", *arguments)
        environment = self._environment() | {"ORCHESTRATOR_STATE_DIR": str(self.state(name))}
        return await finished(self.network.machines[name].command(*command), environment)

    async def up(self) -> None:
        """Brings up the head and leaves it running; callers can call."""
        address = self.network.machines[HEAD].address
        await self._told_at(HEAD, "up", self._write(self.config), "--node-ip", address, "--detach")
        self._session = aiohttp.ClientSession(
            self.url,
            headers={"authorization": f"Bearer {self.key('dev')}"},
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=120),
        )

    async def join(self, name: str) -> None:
        """Lets a machine join, and leaves its node running."""
        ticket = str(self.state(HEAD) / self.name / "join.json")
        options = ("--node-ip", self.network.machines[name].address, *JOINS[name], "--detach")
        await self._told_at(name, "join", ticket, *options)

    async def leave(self, name: str) -> None:
        """Ends what `join` started on a machine, or what is left of it."""
        await self._told_at(name, "down")

    async def down(self) -> list[str]:
        """Ends all nodes, and says what still runs on their machines."""
        if self._session is not None:
            await self._session.close()
        await self._told_at(HEAD, "down")
        await asyncio.gather(*(self._told_at(name, "down") for name in (EAST, WEST)))
        left = {each for m in self.network.machines.values() for each in m.processes()}
        return [command_of(process) for process in processes.wait_gone(left, 5)]

    async def _told_at(self, name: str, *arguments: str) -> None:
        done = await self.command_at(name, *arguments)
        said = f"{name}: orchestrator {' '.join(arguments)}: {done.output}\n{done.errors}"
        assert done.status == 0, f"{said}\n{self.log_at(name)}"

    async def _told(self, *arguments: str) -> None:
        await self._told_at(HEAD, *arguments)

    def state(self, name: str) -> Path:
        """The state directory of a machine."""
        return self.folder / ("state" if name == HEAD else f"state-{name}")

    def log_at(self, name: str) -> str:
        """The ends of the logs of a machine's supervisors."""
        logs = sorted(self.state(name).glob("*/supervisor.log"))
        return "\n".join(f"{log}:\n{log.read_text()[-3000:]}" for log in logs) or "(no log)"

    # Its processes

    def below(self, fits: Callable[[str], bool]) -> list[ProcessId]:
        """Processes on any of its machines whose command line fits, by pid."""
        found = [each for m in self.network.machines.values() for each in m.processes()]
        return [p for p in sorted(found, key=lambda p: p.pid) if fits(command_of(p))]

    def own(self, pid: int) -> ProcessId:
        """A process of it, by its pid."""
        return next(process for process in self.below(lambda _: True) if process.pid == pid)

    def where(self, found: list[ProcessId]) -> list[str]:
        """Names of the machines that processes run on, in order."""
        return sorted(self.network.where(process.pid) for process in found)

    def at(self, name: str, found: list[ProcessId]) -> list[ProcessId]:
        """Those of the processes that run on a machine."""
        return [process for process in found if self.network.machines[name].has(process.pid)]

    def raylet(self, name: str) -> ProcessId:
        """The process by which Ray knows a node."""
        (found,) = self.at(name, self.below(_is_raylet))
        return found

    async def lose(self, name: str) -> None:
        """kill -9 of the raylet of a node: all of Ray's processes there end with it."""
        lost = self.at(name, self.below(lambda command: command.startswith("ray::")))
        processes.send(self.raylet(name), signal.SIGKILL)

        async def ended() -> bool:
            return not any(processes.alive(process) for process in lost)

        await eventually(ended, f"what Ray ran on {name} ends with its raylet")

    # Its state

    async def whole(self) -> None:
        """Waits until all nodes are there and every model has the replicas that it should."""
        for model, count in (("seated", 2), ("roaming", 2), ("western", 1), ("plain", 1)):
            await self.until_ready(model, count)
        title = "seated.production"

        async def seated() -> bool:
            return self.where(self.replicas(title)) == [EAST, WEST]

        await eventually(seated, f"replicas of seated on {EAST} and {WEST}")

    async def until_ready(self, model: str, count: int, *, seconds: float = SETTLE_S) -> None:
        """Waits until a model has exactly so many replicas, all of them ready."""
        ready = ["READY"] * count
        await self.until(
            model,
            lambda live: [replica["stage"] for replica in live["replicas"]] == ready,
            f"{count} replicas that are ready",
            seconds=seconds,
        )

    async def settle(self, find: Callable[[], list[ProcessId]], *wanted: str) -> None:
        """Sees to it that the processes of a part are on the machines `wanted`.

        Those that are elsewhere are ended until their successors are where they should be.
        """

        async def there() -> bool:
            open_, found = list(wanted), find()
            for process in found:
                with suppress(StopIteration, AssertionError):  # it may have gone by itself
                    name = self.network.where(process.pid)
                    if name in open_:
                        open_.remove(name)
                    else:
                        self.kill(process)
            return not open_ and len(found) == len(wanted)

        try:
            await eventually(there, f"processes on {wanted}", seconds=2 * SETTLE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; they are on {self.where(find())}") from None

    async def gather(self, name: str) -> None:
        """Sees to it that a router, all dispatchers and the queue of `seated` are on a machine."""
        await self.settle(self.routers, HEAD, name)
        await self.settle(self.dispatchers, name)
        await self.settle(lambda: self.queues("seated.production"), name)
        await self.whole()
        await eventually(self._answers, "routers that are ready")

    @asynccontextmanager
    async def losing(self, name: str) -> AsyncIterator[None]:
        """Afterwards the machine joins again, whatever happened to its node; all is there then."""
        try:
            yield
        finally:
            await self.leave(name)
            await self.join(name)
        await self.whole()

    async def _answers(self) -> bool:
        replies = [await self.ask("GET", "/readyz") for _ in range(4)]
        return all(reply.status == 200 for reply in replies)

    async def address_of(self, model: str) -> tuple[str, int]:
        """Where a replica of a model listens."""
        live: dict[str, Any] = (await self.environment(model))["live"]
        parts = urlsplit(live["replicas"][0]["address"])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port


def _is_raylet(command: str) -> bool:
    return command.split(" ", 1)[0].endswith("/raylet")

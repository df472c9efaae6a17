"""A cluster that was brought up through the command line, and how tests look at it."""

import asyncio
import copy
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import psutil
from ruamel.yaml import YAML

from orchestrator.cluster import processes
from orchestrator.cluster.processes import ProcessId
from tests.ports import free_port

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
COMMAND_LIMIT_S = 150.0


async def eventually(
    probe: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = PATIENCE_S
) -> T:
    """Asks again and again until the answer is true, and gives it.

    Args:
        probe: asks.
        what: what is waited for, for the failure's message.
        seconds: how long to ask.
    """
    deadline = time.monotonic() + seconds
    while not (found := await probe()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)
    return found


@dataclass(frozen=True)
class Reply:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    status: int
    output: str
    errors: str


@dataclass
class RunningCluster:
    """The cluster and its callers.

    Attributes:
        folder: for the config and the state.
        config: the file as it was last brought up or deployed.
        url: where it listens.
        keys: API keys by prefix.
        gates: `host:port` of the test's gates.
        variables: further environment variables of the cluster's processes.
    """

    folder: Path
    config: dict[str, Any]
    gates: str
    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    @classmethod
    def prepare(cls, template: Path, folder: Path, gates: str) -> Self:
        """A cluster as `template` declares it, on a free port; nothing is started."""
        config = YAML(typ="safe").load(template)
        port = config["cluster"]["port"] = free_port()
        cluster = cls(folder, config, gates, url=f"http://127.0.0.1:{port}")
        cluster.keys = {prefix: secrets.token_hex(16) for prefix in config["auth"]["keys"]}
        return cluster

    @property
    def name(self) -> str:
        return str(self.config["cluster"]["name"])

    # The command line

    async def command(self, *arguments: str) -> Finished:
        """Runs `orchestrator` with this cluster's state and secrets."""
        command = (sys.executable, "-m", "orchestrator.cli", *arguments)
        return await finished(command, self._environment())

    async def up(self) -> None:
        """Brings it up and leaves it running."""
        await self._told("up", self._write(self.config), "--detach")
        self._session = aiohttp.ClientSession(
            self.url,
            headers={"authorization": f"Bearer {self.key('dev')}"},
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=120),
        )

    async def deploy(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Deploys the config with a change to it."""
        config = copy.deepcopy(self.config)
        change(config)
        await self._told("deploy", self._write(config))
        self.config = config

    async def down(self) -> list[str]:
        """Ends it, and says which of its processes are left."""
        if self._session is not None:
            await self._session.close()
        record = self._record()
        if record is None:
            return []
        supervisor = ProcessId(**record["supervisor"])
        had = {supervisor, *processes.descendants_of(supervisor)}
        await self._told("down", "--name", self.name)
        left = {process for process in had if processes.alive(process)}
        left |= processes.marked("ORCHESTRATOR_CLUSTER_TOKEN", record["token"])
        left |= processes.with_argument_below(Path(record["run_directory"]))
        return [command_of(process) for process in left]

    def key(self, prefix: str) -> str:
        """A whole API key."""
        return f"{prefix}.{self.keys[prefix]}"

    async def _told(self, *arguments: str) -> None:
        done = await self.command(*arguments)
        assert done.status == 0, f"orchestrator {' '.join(arguments)}: {done.errors}\n{self.log}"

    @property
    def log(self) -> str:
        """The end of the supervisor's log."""
        path = self.folder / "state" / self.name / "supervisor.log"
        return path.read_text()[-3000:] if path.exists() else "(no log)"

    def _write(self, config: dict[str, Any]) -> str:
        path = self.folder / "cluster.yaml"
        with path.open("w") as file:
            YAML(typ="safe").dump(config, file)
        return str(path)

    def _record(self) -> dict[str, Any] | None:
        path = self.folder / "state" / self.name / "cluster.json"
        found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
        return found

    def _environment(self) -> dict[str, str]:
        # `python` in a command is the interpreter of the tests.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        secrets_ = {f"{p.upper()}_KEY_SECRET": secret for p, secret in self.keys.items()}
        return {
            **os.environ,
            **secrets_,
            **self.variables,
            "PATH": path,
            "COLUMNS": "250",  # no terminal here to fit a table into
            "ORCHESTRATOR_STATE_DIR": str(self.folder / "state"),
            "ORCHESTRATOR_API_KEY": self.key("dev"),
            "SCENARIO_GATES": self.gates,
        }

    # Callers

    @asynccontextmanager
    async def request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request on a connection of its own; `options` are aiohttp's."""
        assert self._session is not None
        async with self._session.request(method, path, **options) as response:
            yield response

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        """The whole answer to a request."""
        async with self.request(method, path, **options) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, headers, await response.read())

    async def predict(self, model: str, body: Any = None, **options: Any) -> Reply:
        """Runs `model` or `model/environment`."""
        return await self.ask("POST", predict_path(model), json=body or {}, **options)

    def send(self, model: str, body: Any = None, **options: Any) -> asyncio.Task[Reply]:
        """The same, under way; the caller goes on."""
        return asyncio.create_task(self.predict(model, body, **options))

    # What it says of itself

    async def environment(self, model: str) -> dict[str, Any]:
        """What the management API says of `model` or `model/environment`."""
        reply = await self._described(model)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json
        return found

    async def until(
        self,
        model: str,
        condition: Callable[[dict[str, Any]], object],
        what: str,
        *,
        seconds: float = PATIENCE_S,
    ) -> dict[str, Any]:
        """Waits until `condition` holds of what an environment's queue says; gives that.

        That nobody can say for a moment, because a part of the cluster was killed,
        is waited for too.
        """
        last: list[Reply] = []

        async def probe() -> dict[str, Any] | None:
            reply = await self._described(model)
            last[:] = [reply]
            if reply.status >= 500:
                return None
            live: dict[str, Any] = reply.json["live"]
            return live if condition(live) else None

        try:
            return await eventually(probe, f"{model}: {what}", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {last}") from None

    async def _described(self, model: str) -> Reply:
        name, _, environment = model.partition("/")
        path = f"/api/v1/models/{name}/environments/{environment or 'production'}"
        return await self.ask("GET", path)

    async def until_zero(self, model: str) -> None:
        """Waits until no replica is there or wanted."""
        await self.until(
            model, lambda live: not live["replicas"] and not live["desired"], "no replica"
        )
        title = model.replace("/", ".") if "/" in model else f"{model}.production"

        async def gone() -> bool:
            return not self.replicas(title)

        await eventually(gone, f"{model}: no replica's process")

    # Its processes

    def replicas(self, application: str) -> list[ProcessId]:
        """Processes of the replicas of an application."""
        return self._titled(f"{application}:Replica")

    def queues(self, application: str) -> list[ProcessId]:
        """Processes of an application's queue: one, or none while it is replaced."""
        return self._titled(f"{application}:Queue")

    def routers(self) -> list[ProcessId]:
        """Processes of the routers."""
        return self._titled("router:Router")

    def dispatchers(self) -> list[ProcessId]:
        """Processes of the dispatchers."""
        return self._titled("dispatcher:Dispatcher")

    def _titled(self, deployment: str) -> list[ProcessId]:
        title = f"ray::ServeReplica:{deployment}"
        return self.below(lambda command: command.startswith(title))

    def below(self, fits: Callable[[str], bool]) -> list[ProcessId]:
        """Processes below the supervisor whose command line fits, by pid."""
        record = self._record()
        assert record is not None
        below = processes.descendants_of(ProcessId(**record["supervisor"]))
        return [p for p in sorted(below, key=lambda p: p.pid) if fits(command_of(p))]

    @property
    def store_url(self) -> str:
        """Where its store listens."""
        record = self._record()
        assert record is not None
        return str(record["settings"]["ORCHESTRATOR_STORE_URL"])

    def listener(self, address: str) -> ProcessId:
        """The process below the supervisor that listens at a URL."""
        port = urlsplit(address).port
        record = self._record()
        assert record is not None
        below = processes.descendants_of(ProcessId(**record["supervisor"]))
        return next(process for process in below if port in _listening(process))

    def own(self, pid: int) -> ProcessId:
        """A process below the supervisor, by its pid."""
        record = self._record()
        assert record is not None
        below = processes.descendants_of(ProcessId(**record["supervisor"]))
        return next(process for process in below if process.pid == pid)

    def kill(self, process: ProcessId) -> None:
        """kill -9, of a process of this cluster only."""
        assert processes.send(self.own(process.pid), signal.SIGKILL)


async def finished(command: Sequence[str], environment: Mapping[str, str]) -> Finished:
    """Runs a command to its end, which is to come within `COMMAND_LIMIT_S`."""
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_LIMIT_S):
            output, errors = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise
    return Finished(child.returncode or 0, output.decode(), errors.decode())


def predict_path(model: str) -> str:
    """Where `model` or `model/environment` is run."""
    name, _, environment = model.partition("/")
    return f"/models/{name}/environments/{environment or 'production'}/predict"


def stages(live: dict[str, Any]) -> list[str]:
    """Stages of an environment's replicas."""
    return [replica["stage"] for replica in live["replicas"]]


def _listening(process: ProcessId) -> set[int]:
    """Ports that a process listens on."""
    try:
        found = psutil.Process(process.pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return set()
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


def command_of(process: ProcessId) -> str:
    try:
        return " ".join(psutil.Process(process.pid).cmdline())
    except psutil.NoSuchProcess:
        return ""

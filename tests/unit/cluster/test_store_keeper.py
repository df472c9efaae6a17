"""The embedded store of a cluster, kept running by the supervisor: a real server, real kills."""

import logging
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from orchestrator.cluster import processes
from orchestrator.cluster.records import ClusterError
from orchestrator.cluster.storage import embedded_server, require_store, store_settings
from orchestrator.cluster.store_keeper import StoreKeeper
from orchestrator.store.embedded import EmbeddedServer, EmbeddedServerError

PATIENCE_S = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has a longest length
        yield EmbeddedServer(tmp_path / "store", Path(short) / "s")


@pytest.fixture
def keeper(server: EmbeddedServer) -> Iterator[StoreKeeper]:
    keeper = StoreKeeper(server)
    keeper.start()
    yield keeper
    keeper.end()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def client_of(server: EmbeddedServer) -> "redis.Redis":
    return redis.Redis.from_url(server.url, driver_info=None)


def answers(server: EmbeddedServer) -> bool:
    try:
        with client_of(server) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def server_process(server: EmbeddedServer) -> int:
    with client_of(server) as client:
        return int(client.info("server")["process_id"])


def kill(server: EmbeddedServer) -> None:
    """Kills the server itself, and waits for another one to answer in its place."""
    killed = server_process(server)
    os.kill(killed, signal.SIGKILL)
    until(lambda: answers(server) and server_process(server) != killed, "no server came back")


def test_a_server_that_is_killed_is_started_again_with_all_that_it_had_accepted(
    keeper: StoreKeeper, server: EmbeddedServer
) -> None:
    with client_of(server) as client:
        client.set("accepted", "yes")
    kill(server)
    with client_of(server) as client:
        assert client.get("accepted") == b"yes"


def test_it_is_started_again_however_often_it_dies(
    keeper: StoreKeeper, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    for _ in range(3):
        kill(server)
    pauses = re.findall(r"again in (.*) s", caplog.text)
    assert pauses == ["0.0", "0.2", "0.4"], "it does not wait longer each time"
    assert str(server.log) in caplog.text


def test_ended_on_purpose_it_stays_ended_and_nothing_is_left(server: EmbeddedServer) -> None:
    before = processes.descendants(os.getpid())
    keeper = StoreKeeper(server)
    keeper.start()
    started = processes.descendants(os.getpid()) - before
    assert server_process(server) in {process.pid for process in started}
    keeper.end()
    assert not processes.wait_gone(started, PATIENCE_S)
    assert not any(thread.name == "store keeper" for thread in threading.enumerate())
    assert not server.alive()


def test_data_that_another_server_uses_is_refused(
    keeper: StoreKeeper, server: EmbeddedServer, tmp_path: Path
) -> None:
    second = StoreKeeper(EmbeddedServer(tmp_path / "store", tmp_path / "t"))
    with pytest.raises(EmbeddedServerError, match="another store server uses"):
        second.start()
    second.end()
    assert answers(server)


def test_a_server_that_may_lose_what_it_accepted_is_named_at_the_start(
    keeper: StoreKeeper, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    require_store(server.url, {})
    assert not caplog.records
    with client_of(server) as client:
        client.config_set("appendonly", "no")
    require_store(server.url, {})
    assert "its append-only file is off" in caplog.text


def test_a_store_of_ones_own_is_asked_before_a_start(
    keeper: StoreKeeper, server: EmbeddedServer, tmp_path: Path
) -> None:
    require_store(server.url, {})
    require_store("${STORE}", {"STORE": server.url})
    with pytest.raises(ClusterError, match="environment variable STORE"):
        require_store("${STORE}", {"STORE": f"unix://{tmp_path}/absent"})


def test_every_process_of_a_cluster_finds_it_by_one_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(tmp_path))
    url = embedded_server("alpha", Path("/tmp/orch-0/run")).url
    settings = store_settings("embedded", "alpha", Path("/tmp/orch-0/run"))
    assert settings == {"ORCHESTRATOR_STORE_URL": url}
    assert store_settings("${STORE}", "alpha", Path("/tmp/orch-0/run")) == {}

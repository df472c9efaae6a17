"""The production overlay's store: its scripts, run as its pods run them, lose nothing."""

from __future__ import annotations

import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis

from orchestrator.store import Store
from tests.kubernetes.manifests import K8S
from tests.kubernetes.valkey_pods import PASSWORD, Pods

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 40.0


def until(holds: Callable[[], bool], what: str) -> None:
    """Waits for a condition; fails with its name."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"it never came to this: {what}"
        time.sleep(0.05)


def start(pods: Pods, *names: str) -> None:
    """Starts pods, and waits for their Sentinels."""
    for name in names:
        pods.start(name)
    for name in names:
        until(partial(pods.hurry, name), f"the Sentinel of {name} answers")


def write(pods: Pods, name: str, value: str, *, copies: int) -> None:
    """Writes, and waits until so many replicas have it: one connection, as WAIT is about its own."""
    with pods.server(name) as server:
        assert server.set("accepted", value)
        assert server.wait(copies, 5000) == copies


@pytest.fixture
def pods(tmp_path):
    """Three pods that know of each other; the first is the primary."""
    pods = Pods(tmp_path)
    try:
        start(pods, *pods.names)
        until(lambda: pods.followers(pods.names[0]) == 2, "two replicas follow the first")
        for name in pods.names:
            until(partial(pods.knows_all, name), f"{name} knows all")
        yield pods
    finally:
        pods.end()


async def test_the_address_of_the_overlay_reaches_the_primary(pods):
    store = Store.open(pods.address)
    try:
        await store.ping()
    finally:
        await store.close()
    assert pods.role(pods.names[0]) == "master"


def test_a_primary_that_dies_is_replaced_and_comes_back_as_a_replica(pods):
    first, *others = pods.names
    write(pods, first, "before", copies=2)
    pods.kill(first)
    until(lambda: any(pods.role(name) == "master" for name in others), "another is primary")
    (second,) = (name for name in others if pods.role(name) == "master")
    until(lambda: pods.followers(second) == 1, "the third follows the second")
    assert pods.server(second).get("accepted") == "before"
    write(pods, second, "after", copies=1)

    start(pods, first)
    until(lambda: pods.followers(second) == 2, "the first follows the second")
    assert pods.role(first) == "slave"
    until(lambda: pods.server(first).get("accepted") == "after", "the first has caught up")


def test_after_all_were_gone_the_one_that_was_primary_last_is_it_again(pods):
    first, *others = pods.names
    write(pods, first, "before", copies=2)
    pods.kill(first)
    until(lambda: any(pods.role(name) == "master" for name in others), "another is primary")
    (second,) = (name for name in others if pods.role(name) == "master")
    until(lambda: pods.followers(second) == 1, "the third follows the second")
    for name in others:
        until(partial(pods.knows, name, second), f"{name} knows of it")
    write(pods, second, "after", copies=1)
    pods.end()

    # The first was gone before the others: it is back first, and takes itself for the primary.
    start(pods, first)
    until(lambda: pods.role(first) in {"master", "slave"}, "the first answers")
    with pytest.raises(redis.ResponseError, match=r"NOREPLICAS|READONLY"):
        pods.server(first).set("accepted", "behind the others' back")
    start(pods, *others)
    until(lambda: pods.role(first) == "slave", "the first has learnt better")
    until(lambda: pods.followers(second) == 2, "both follow the second")
    assert pods.server(second).get("accepted") == "after"


def test_the_base_s_server_starts_with_its_password(tmp_path):
    folders = {name: tmp_path / name for name in ("config", "data", "run", "secret")}
    for folder in folders.values():
        folder.mkdir()
    (folders["secret"] / "password").write_text(PASSWORD)
    pods = Pods(tmp_path / "pods")
    address = pods.names[0]
    text = (K8S / "base" / "valkey" / "store.conf").read_text()
    (folders["config"] / "valkey.conf").write_text(f"{text}bind {address}\nport {pods.port}\n")
    environment = {f"VALKEY_{name.upper()}": str(path) for name, path in folders.items()}
    environment["PATH"] = f"{tmp_path / 'pods' / 'bin'}:/usr/bin:/bin"
    start = str(K8S / "base" / "valkey" / "start.sh")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["sh", start], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: pods.role(address) == "master", "the server answers with its password")
        assert pods.server(address).config_get("appendfsync") == {"appendfsync": "always"}
        assert pods.server(address).config_get("dir") == {"dir": str(folders["data"])}
        assert PASSWORD not in str(process.args)
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(host=address, port=pods.port, socket_timeout=2).ping()
    finally:
        process.terminate()
        process.wait(10)

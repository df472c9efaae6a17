"""What an address of a store may look like."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection

from orchestrator.lost_links import KEEP_ALIVE
from orchestrator.store import Store
from orchestrator.store.address import client_of


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("redis://h:7000/3", {"host": "h", "port": 7000, "db": 3}),
        ("redis://u:p%40ss@h", {"host": "h", "username": "u", "password": "p@ss"}),
        ("rediss://h", {"host": "h"}),
        ("unix:///run/store.sock", {"path": "/run/store.sock"}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
    ],
)
def test_an_address_says_where_and_as_whom(url: str, settings: dict[str, object]):
    known = client_of(url).connection_pool.connection_kwargs

    assert {name: known[name] for name in settings} == settings


def test_an_address_of_sentinels_says_whom_to_ask_for_what():
    pool: Any = client_of("redis+sentinel://u:p@h1:1,h2/main/2").connection_pool

    asked = [
        (sentinel.connection_pool.connection_kwargs["host"], port)
        for sentinel, port in zip(pool.sentinel_manager.sentinels, (1, 26379), strict=True)
    ]
    assert asked == [("h1", 1), ("h2", 26379)]
    assert pool.service_name == "main"
    assert pool.connection_kwargs["password"] == "p"
    assert pool.connection_kwargs["db"] == 2


def test_with_tls_sentinels_and_master_are_trusted_alike():
    url = "rediss+sentinel://:p@h1:1/main?ssl_ca_certs=/ca.pem&ssl_cert_reqs=optional"
    pool: Any = client_of(url).connection_pool
    (sentinel,) = pool.sentinel_manager.sentinels
    assert pool.connection_class is SentinelManagedSSLConnection
    assert sentinel.connection_pool.connection_class is SSLConnection
    for each in (pool, sentinel.connection_pool):
        assert each.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
        assert each.connection_kwargs["ssl_cert_reqs"] == "optional"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@host",
        "host:6379",
        "",
        "redis://user:secret@host:port",
        "redis+sentinel://user:secret@host:26379",
        "redis+sentinel:///main",
        "redis+sentinel://user:secret@host/main/zero",
        "redis+sentinel://user:secret@host/main?ssl_ca_certs=/ca.pem",
        "rediss+sentinel://user:secret@host/main?socket_timeout=0",
        "rediss+sentinel://user:secret@host/main?ssl=",
        "redis://user:secret@host?socket_timeout=0",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(url: str):
    with pytest.raises(ValueError, match="the store's address must be") as refused:
        Store.open(url)

    assert "secret" not in repr(refused.value)


def test_no_address_takes_the_bounds_away():
    for url in ("redis://h", "unix:///s", "redis+sentinel://h/main"):
        known = client_of(url).connection_pool.connection_kwargs
        assert known["socket_connect_timeout"] == 1.0
        assert known["socket_timeout"] == 5.0


def test_a_server_that_vanishes_is_noticed_on_idle_connections():
    def options(pool: Any) -> dict[str, Any]:
        known: dict[str, Any] = pool.connection_kwargs
        return {name: known.get(name) for name in ("socket_keepalive", "socket_keepalive_options")}

    watched = {"socket_keepalive": True, "socket_keepalive_options": KEEP_ALIVE}
    for url in ("redis://h", "rediss://h"):
        assert options(client_of(url).connection_pool) == watched
    pool: Any = client_of("redis+sentinel://h1,h2/main").connection_pool
    assert options(pool) == watched
    for sentinel in pool.sentinel_manager.sentinels:
        assert options(sentinel.connection_pool) == watched


def test_a_socket_file_takes_no_settings_of_tcp():
    known = client_of("unix:///run/store.sock").connection_pool.connection_kwargs

    assert not [name for name in known if "keepalive" in name]

"""What a config says that works on one machine and not on several.

The file alone cannot know where it will run: whoever deploys it to several nodes asks.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.config.cluster import is_loopback
from orchestrator.config.problems import Problem, shown
from orchestrator.config.store_address import (
    EMBEDDED,
    EMBEDDED_VARIABLE,
    resolved,
    variable_of,
    without_password,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.config.problems import Broken
    from orchestrator.config.schema import Config

_NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})


def unfit_for_several_nodes(
    config: Config, env: Mapping[str, str] = _NO_VARIABLES
) -> list[Problem]:
    """Why this config cannot run on several nodes; empty where it can.

    Args:
        config: a loaded config.
        env: environment variables that its processes will have on every node, for
            the store's address; one that is not among them is taken to be right,
            but for that of an embedded store.

    Returns:
        Problems in the order of the file's sections; `file` is the cluster's name.
    """
    broken = [*_listener(config), *_store(config, env), *_results(config)]
    return [Problem(config.cluster.name, None, ".".join(map(str, p)), r, g) for p, r, g in broken]


def _listener(config: Config) -> Iterator[Broken]:
    host = config.cluster.host
    if is_loopback(host):
        rule = "must be an address that callers and other nodes reach, such as 0.0.0.0"
        yield ("cluster", "host"), rule, shown(host)
    if not config.auth.enabled:
        rule = "must be true on several nodes, where others than this machine can call"
        yield ("auth", "enabled"), rule, "false"


def _store(config: Config, env: Mapping[str, str]) -> Iterator[Broken]:
    try:
        address = resolved(config.store, env)
    except KeyError:
        if config.store == EMBEDDED:
            rule = (
                "must be the address of a server that every node reaches, here or in the "
                f"environment variable {EMBEDDED_VARIABLE} of every node"
            )
            yield ("store",), rule, shown(EMBEDDED)
        return
    parts = urlsplit(address)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if parts.scheme == "unix" or any(is_loopback(_name(host)) for host in hosts):
        variable = EMBEDDED_VARIABLE if config.store == EMBEDDED else variable_of(config.store)
        source = f" (from the environment variable {variable})" if variable else ""
        rule = f"must be the address of a server that every node reaches{source}"
        yield ("store",), rule, shown(without_password(address))


def _name(place: str) -> str:
    """The host of `host:port` or `[v6]:port`."""
    return place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]


def _results(config: Config) -> Iterator[Broken]:
    url = config.results.url
    if url and urlsplit(url).scheme in ("", "file", "local"):
        rule = (
            "must be a place that every node reaches, such as s3://bucket/folder; or leave it "
            "out, and results are kept in the store"
        )
        yield ("results", "url"), rule, shown(url)

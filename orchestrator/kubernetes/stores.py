"""Servers of Redis that are somebody else's: how pods reach them, and what is then left out."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from orchestrator.config.store_address import EMBEDDED_VARIABLE, resolved, variable_of
from orchestrator.kubernetes.documents import (
    CONTROL,
    named,
    ray_cluster,
    ray_container,
    worker_group,
)
from orchestrator.kubernetes.variables import SECRET, from_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.config.schema import Config
    from orchestrator.kubernetes.documents import Document

GCS_PASSWORD: Final = "GCS_STORE_PASSWORD"  # noqa: S105  # the name of a key
_GCS_STORE: Final = "gcs-store"
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_DEFAULT_PORTS: Final = {"redis": 6379, "rediss": 6379}
_SENTINEL_PORT: Final = 26379


def use_external_store(documents: list[Document], config: Config, env: Mapping[str, str]) -> None:
    """Let control pods reach the config's store; the component external-redis took ours out."""
    container = ray_container(worker_group(documents, CONTROL))
    others = [each for each in container["env"] if each["name"] != EMBEDDED_VARIABLE]
    variable = variable_of(config.store)
    container["env"] = [*others, *([from_secret(variable)] if variable else [])]
    _set_egress(documents, "durable-from-control", resolved(config.store, env))


def use_external_gcs_store(
    documents: list[Document], config: Config, env: Mapping[str, str]
) -> None:
    """Let Ray keep its tables in the config's server, and leave ours out.

    KubeRay takes the address as plain text and the password out of a Secret, so a
    reference is taken apart: its password is asked for under a key of its own.
    """
    given = config.cluster.gcs_store or ""
    variable = variable_of(given)
    address = env[variable] if variable else given
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    options: dict[str, Any] = {"redisAddress": f"{parts.scheme}://{host}:{parts.port}"}
    if parts.username:
        options["redisUsername"] = {"value": parts.username}
    if parts.password:
        reference = {"name": SECRET, "key": GCS_PASSWORD}
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": reference}}
    ray_cluster(documents)["gcsFaultToleranceOptions"] = options
    documents[:] = [each for each in documents if not _of_gcs_store(each)]
    _set_egress(documents, "durable-from-head", address)


def _of_gcs_store(document: Document) -> bool:
    name = document["metadata"]["name"]
    return name in {_GCS_STORE, f"durable-to-{_GCS_STORE}"} or (
        document["kind"] == "ConfigMap" and name.startswith(f"{_GCS_STORE}-")
    )


def _set_egress(documents: list[Document], name: str, address: str) -> None:
    """Let a policy out to where an address may be: to itself, or, of a name, to private ranges."""
    policy = named(documents, "NetworkPolicy", name)
    if policy is None:
        return
    ranges, ports = _places(address)
    policy["spec"]["egress"] = [
        {
            "to": [{"ipBlock": {"cidr": each}} for each in ranges],
            "ports": [{"protocol": "TCP", "port": port} for port in ports],
        }
    ]


def _places(address: str) -> tuple[list[str], list[int]]:
    parts = urlsplit(address)
    ranges: dict[str, None] = {}
    ports: dict[int, None] = {}
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place}")
        ports[one.port or _DEFAULT_PORTS.get(parts.scheme, _SENTINEL_PORT)] = None
        ranges |= dict.fromkeys(_ranges(one.hostname or ""))
    if parts.scheme not in _DEFAULT_PORTS:  # Sentinels name the master, which has Redis' port
        ports[6379] = None
    return list(ranges), sorted(ports)


def _ranges(host: str) -> tuple[str, ...]:
    try:
        return (str(ipaddress.ip_network(host)),)
    except ValueError:
        return _PRIVATE

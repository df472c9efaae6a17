"""The sections about the cluster as a whole: cluster, router, auth."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from orchestrator.config.section import (
    Host,
    KeyPrefix,
    LabelKey,
    LabelSelector,
    Name,
    SecretReference,
    Section,
)
from orchestrator.config.store_address import gcs_address

NodeLabels = dict[LabelKey, LabelSelector]
"""What a node's labels must be, each given as Ray's label selectors are."""

Scope = Literal["inference", "manage"]


class Cluster(Section):
    """The cluster: where it listens, and what a local one offers its replicas."""

    name: Name = Field(description="Name of the cluster; one machine can run several.")
    host: Host = Field(
        default="127.0.0.1",
        description=(
            "Address to listen on. Anything but a loopback address needs auth.enabled: true."
        ),
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPUs that a local cluster may use; null: as many as the machine has.",
    )
    gpus: int | None = Field(
        default=None,
        ge=0,
        description=(
            "GPUs that a local cluster may use; null: as many as the machine has. On a "
            "machine without GPUs a number gives logical ones: placement and waiting for "
            "a free GPU are real, the devices are not."
        ),
    )
    max_connections: int = Field(
        default=4096,
        ge=16,
        le=1_000_000,
        description="Client connections open at once; also bounds the requests that can wait.",
    )
    gcs_store: Annotated[str, AfterValidator(gcs_address)] | None = Field(
        default=None,
        description=(
            "Redis or Valkey server in which Ray keeps its own tables, so that a cluster that "
            "`orchestrator up` started outlives its control service: redis://host:6379, "
            "rediss://host:6379, or ${NAME}, an environment variable that holds such an address, "
            "as one with a password must be. null: they are in memory only."
        ),
    )


class Placement(Section):
    """Which nodes of a cluster of several run its parts, by the nodes' labels.

    A part goes to nodes that have all labels named here; where none is named, to
    any. A value is Ray's: `a`, `!a`, `in(a, b)`, `!in(a, b)`.
    """

    router: NodeLabels = Field(
        default_factory=dict,
        description="Labels of nodes for routers. A change replaces them one by one.",
    )
    dispatcher: NodeLabels = Field(
        default_factory=dict,
        description="Labels of nodes for dispatchers. A change replaces them one by one.",
    )
    queue: NodeLabels = Field(
        default_factory=dict,
        description=(
            "Labels of nodes for the queues of all environments. A change moves each queue; "
            "requests wait and run on meanwhile."
        ),
    )
    observatory: NodeLabels = Field(
        default_factory=dict,
        description=(
            "Labels of nodes for the observatory. A change restarts it, and counters with it."
        ),
    )


class Router(Section):
    """The front door: authenticates, matches, waits for a slot, passes bytes on."""

    replicas: int = Field(
        default=1, ge=1, le=64, description="Router processes. A change restarts no model."
    )
    max_body_megabytes: float = Field(
        default=100,
        gt=0,
        le=10_000,
        description="Largest request body (1 MB = 1,000,000 bytes); over it: 413.",
    )
    drain_seconds: float = Field(
        default=2,
        ge=0,
        le=600,
        description=(
            "How long a router that is being removed goes on accepting, until the load "
            "balancer has stopped sending to it."
        ),
    )


class ApiKey(Section):
    """One API key. Callers send `<prefix>.<secret>`."""

    secret: SecretReference = Field(
        description=(
            "Environment variable that holds the secret part of the key, as ${NAME}: at "
            "least 16 characters, no blanks. Only its SHA-256 leaves the loading process."
        )
    )
    scopes: list[Scope] = Field(
        default=["inference"],
        min_length=1,
        description="What the key may do: inference (run models), manage (/api/v1).",
    )
    models: list[Name] | None = Field(
        default=None, description="Models the key is limited to; null: all."
    )
    environments: list[Name] | None = Field(
        default=None, description="Environments the key is limited to; null: all."
    )


class Auth(Section):
    """Who may call."""

    enabled: bool = Field(
        default=False,
        description=(
            "Whether callers need an API key. Can be off only where cluster.host is loopback."
        ),
    )
    keys: dict[KeyPrefix, ApiKey] = Field(
        default_factory=dict, description="API keys by their public prefix."
    )


def is_loopback(host: str) -> bool:
    """Whether nothing outside this machine can reach a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

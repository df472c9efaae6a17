"""The routing table: what the router is configured with, as it comes from Serve.

The compiled config hands it over as `user_config`, so it changes without a
restart. Fields that are not listed here are ignored, so that a router and the
config that was compiled for its successor get along.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds each; None: not bounded on its own."""

    park_s: float = 1200.0
    predict_s: float = 1200.0
    first_byte_s: float | None = None
    chunk_gap_s: float | None = None


class Retry(msgspec.Struct, frozen=True):
    """See `orchestrator.lifecycle.retry.RetryRules`."""

    initial_s: float = 0.5
    factor: float = 1.5
    max_s: float = 60.0
    total_s: float = 900.0
    connection_attempts: int = 16
    budget_ratio: float = 0.2
    budget_window_s: float = 10.0


class Environment(msgspec.Struct, frozen=True):
    """One environment of a model.

    Attributes:
        application: name of its Serve application.
        deployment: the deployment that it points at.
        runner: `python` or `command`.
        predict_path: where `predict` goes on the replica's own server.
        queue: settings of its queue, handed on to the permit client as they are.
        autoscaling: its autoscaling settings, shown by the management reads.
    """

    application: str
    deployment: str
    runner: str = "python"
    predict_path: str = "/predict"
    queue: dict[str, Any] = {}
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    autoscaling: dict[str, Any] | None = None


class Model(msgspec.Struct, frozen=True):
    """A model: its environments by name."""

    environments: dict[str, Environment] = {}
    description: str | None = None


class Key(msgspec.Struct, frozen=True):
    """An API key.

    Attributes:
        sha256: of its secret part, in hexadecimal.
        scopes: of `inference`, `manage`.
        models: names that it reaches; None: all.
        environments: names that it reaches, in any of those models; None: all.
    """

    sha256: str
    scopes: list[str]
    models: list[str] | None = None
    environments: list[str] | None = None


class Auth(msgspec.Struct, frozen=True):
    """The keys by prefix."""

    keys: dict[str, Key] = {}


class RoutingTable(msgspec.Struct, frozen=True):
    """All that the router goes by; `auth` None: authentication is off."""

    models: dict[str, Model] = {}
    max_body_bytes: int = 100 * 1024 * 1024
    auth: Auth | None = None


def decode(user_config: dict[str, Any]) -> RoutingTable:
    """Reads a routing table.

    Raises:
        ValueError: it has not the shape of one; names the place.
    """
    try:
        return msgspec.convert(user_config, RoutingTable)
    except msgspec.ValidationError as error:
        raise ValueError(f"the routing table is not valid: {error}") from None

"""The routing table: what routers and dispatchers are configured with, as it comes from Serve.

The compiled config hands it over as `user_config`, so it changes without a
restart. Fields that are not listed here are ignored, so that a router and the
config that was compiled for its successor get along.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.retry import RetryRules
from orchestrator.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds each; None: not bounded on its own."""

    park_s: float = 1200.0
    predict_s: float = 1200.0
    first_byte_s: float | None = None
    chunk_gap_s: float | None = None


class Asynchronous(msgspec.Struct, frozen=True):
    """What an environment accepts to run later, and how it runs it.

    Attributes:
        max_requests: accepted and not yet ended, at most.
        max_bytes: of their inputs.
        max_requests_per_key: of one API key; None: no such bound.
        max_body_bytes: of one submission.
        run_s: seconds that one attempt may take.
        aging_s: seconds of waiting that one level of priority is worth.
    """

    max_requests: int = 100_000
    max_bytes: int = 1 << 30
    max_requests_per_key: int | None = None
    max_body_bytes: int = 256 * 1024
    run_s: float = 3600.0
    aging_s: float = 60.0


class Environment(msgspec.Struct, frozen=True):
    """One environment of a model.

    Attributes:
        application: name of its Serve application.
        deployment: the deployment that it points at.
        runner: `python` or `command`.
        predict_path: where `predict` goes on the replica's own server.
        queue: settings of its queue, handed on to the permit client as they are.
        autoscaling: its autoscaling settings, shown by the management reads.
        asynchronous: of its asynchronous requests.
        slots: requests that one replica runs at a time.
        max_replica: replicas at most; with `slots`, what can run at a time.
    """

    application: str
    deployment: str
    runner: str = "python"
    predict_path: str = "/predict"
    queue: dict[str, Any] = {}
    timeouts: Timeouts = Timeouts()
    retry: RetryRules = RetryRules()
    autoscaling: dict[str, Any] | None = None
    asynchronous: Asynchronous = Asynchronous()
    slots: int = 1
    max_replica: int = 1


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


class Results(msgspec.Struct, frozen=True):
    """Where results of asynchronous requests are kept.

    Attributes:
        url: fsspec's, of the folder for those that are too large for the store;
            empty: there is none, and all are kept in the store.
        keep_s: seconds that a request and its result are kept after its end.
        inline_bytes: larger ones go to `url`.
        max_bytes: larger ones are refused.
    """

    url: str = ""
    keep_s: float = 86_400.0
    inline_bytes: int = 1 << 20
    max_bytes: int = 100_000_000


class Webhooks(msgspec.Struct, frozen=True):
    """How webhooks are delivered, and whereto.

    Attributes:
        allow_http: whether receivers may be asked without TLS.
        allowed_networks: CIDR ranges that are not public and may be reached all the same.
        timeout_s: seconds for a receiver's answer.
        per_host: deliveries to one host at a time.
        schedule_s: pauses between tries; after the last one it is given up.
        dead_letter_s: seconds that one that was given up is kept.
    """

    allow_http: bool = False
    allowed_networks: tuple[str, ...] = ()
    timeout_s: float = 10.0
    per_host: int = 16
    schedule_s: tuple[float, ...] = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
    dead_letter_s: float = 30 * 86_400.0


class RoutingTable(msgspec.Struct, frozen=True):
    """All that the router and the dispatcher go by.

    Attributes:
        models: by name.
        max_body_bytes: of a synchronous request.
        auth: the API keys; None: authentication is off.
        store: address of the store, or `${NAME}`: the environment variable that holds
            it; None: there are no asynchronous requests.
        results: where their results are kept.
        webhooks: how they are reported.
        lease_s: seconds for which a dispatcher claims a request at a time.
        telemetry: what is told about requests.
    """

    models: dict[str, Model] = {}
    max_body_bytes: int = 100 * 1024 * 1024
    auth: Auth | None = None
    store: str | None = None
    results: Results = Results()
    webhooks: Webhooks = Webhooks()
    lease_s: float = 30.0
    telemetry: TelemetrySettings = TelemetrySettings()


def decode(user_config: dict[str, Any]) -> RoutingTable:
    """Reads a routing table.

    Raises:
        ValueError: it has not the shape of one; names the place.
    """
    try:
        return msgspec.convert(user_config, RoutingTable)
    except msgspec.ValidationError as error:
        raise ValueError(f"the routing table is not valid: {error}") from None


def store_address(table: RoutingTable, env: Mapping[str, str]) -> str | None:
    """The store's address, taken from the environment where the table refers to it.

    Returns:
        It may have a password in it and is not for logs. None: there is no store.

    Raises:
        ValueError: the variable that is referred to is not set; names it.
    """
    if table.store is None:
        return None
    reference = _REFERENCE.fullmatch(table.store)
    if reference is None:
        return table.store
    address = env.get(reference[1])
    if not address:
        raise ValueError(f"the environment variable {reference[1]} is not set")
    return address

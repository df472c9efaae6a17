"""The sections about asynchronous requests: who runs them, their results, their webhooks."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final
from urllib.parse import urlsplit

import annotated_types
from pydantic import AfterValidator, Field

from orchestrator.config.section import Section
from orchestrator.lifecycle.async_request import LONGEST_RUN_S

_WEEK_SECONDS: Final = 7 * 86_400

_NOT_WRITABLE: Final = frozenset({"", "data", "http", "https", "memory"})
"""Schemes that fsspec knows and that no result could be read from by another process."""


def network(value: str) -> str:
    """`value`, if it is a range of addresses.

    Raises:
        ValueError: it is not; the message says what would be right.
    """
    try:
        ipaddress.ip_network(value)
    except ValueError:
        try:
            close = f"; did you mean {ipaddress.ip_network(value, strict=False)}?"
        except ValueError:
            close = ""
        raise ValueError(
            f"must be a range of IP addresses such as 10.0.0.0/8 or fd00::/8{close}"
        ) from None
    return value


def results_url(value: str) -> str:
    """`value`, if results can be written to and read from it.

    Raises:
        ValueError: they cannot; the message says what would be right.
    """
    right = "such as s3://bucket/folder or file:///shared/folder"
    parts = urlsplit(value)
    if parts.scheme in _NOT_WRITABLE or "://" not in value:
        raise ValueError(f"must be the URL of a folder that results can be written to, {right}")
    if "@" in parts.netloc:
        raise ValueError(
            "must have no credentials in it; the storage's own library takes them from the "
            "environment (of S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )
    local = parts.scheme in {"file", "local"}
    if local and parts.netloc:
        raise ValueError("must have a whole path, with three slashes: file:///shared/folder")
    if not (parts.path.strip("/") if local else parts.netloc):
        raise ValueError(f"must name a folder or a bucket, {right}")
    return value


Network = Annotated[str, AfterValidator(network)]
ResultsUrl = Annotated[str, AfterValidator(results_url)]
Pause = Annotated[float, annotated_types.Ge(0), annotated_types.Le(_WEEK_SECONDS)]


class AsyncRequests(Section):
    """What an environment accepts to run later, and how long it may run it."""

    max_requests: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Most requests accepted and not yet ended; over it: 429.",
    )
    max_megabytes: float = Field(
        default=1024,
        gt=0,
        le=1_000_000,
        description="Most bytes of their inputs (1 MB = 1,000,000 bytes); over it: 429.",
    )
    max_requests_per_key: int | None = Field(
        default=None,
        ge=1,
        description="The same as max_requests for each API key; null: no such bound.",
    )
    max_body_kilobytes: float = Field(
        default=256,
        gt=0,
        le=100_000,
        description="Largest body of one submission (1 kB = 1,024 bytes); over it: 413.",
    )
    run_seconds: float = Field(
        default=LONGEST_RUN_S,
        gt=0,
        le=LONGEST_RUN_S,
        description="Time for the model to answer one attempt in full.",
    )


class Dispatcher(Section):
    """What runs asynchronous requests and delivers their webhooks."""

    replicas: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Dispatcher processes; they share the work. A change restarts no model.",
    )
    lease_seconds: float = Field(
        default=30,
        ge=5,
        le=600,
        description=(
            "What a dispatcher runs is run by another one after it was silent for this long."
        ),
    )
    drain_seconds: float = Field(
        default=10,
        ge=0,
        le=3600,
        description=(
            "How long runs go on when a dispatcher is replaced or ended; what has not ended by "
            "then is put back, and run by another one from its beginning."
        ),
    )


class Results(Section):
    """How long and where results of asynchronous requests are kept."""

    url: ResultsUrl | None = Field(
        default=None,
        description=(
            "Folder for large results, as fsspec names it: s3://bucket/folder (needs the extra "
            "`s3`), file:///shared/folder. null: of a local cluster with an embedded store a "
            "folder in its state directory; else results of every size are kept in the store."
        ),
    )
    keep_hours: float = Field(
        default=24,
        gt=0,
        le=30 * 24,
        description="How long a request can be asked for after its end, with its result.",
    )
    inline_kilobytes: float = Field(
        default=1024,
        ge=0,
        le=100_000,
        description="Larger results go to the folder, others into the store (1 kB = 1,024 bytes).",
    )
    max_megabytes: float = Field(
        default=100,
        gt=0,
        le=10_000,
        description=(
            "Largest result (1 MB = 1,000,000 bytes); a request with a larger one has FAILED."
        ),
    )


class Webhooks(Section):
    """Which receivers are called, and how often."""

    allow_http: bool = Field(
        default=False,
        description="Whether receivers may be called without TLS: for trying it out.",
    )
    allowed_networks: list[Network] = Field(
        default_factory=list,
        max_length=100,
        description=(
            "Ranges such as 10.1.0.0/16 that receivers may be in although they are not public: "
            "whoever may submit can make the cluster call what is there."
        ),
    )
    timeout_seconds: float = Field(
        default=10, gt=0, le=20, description="Time for a receiver to answer."
    )
    concurrency_per_host: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Most deliveries to one host at once, of each dispatcher.",
    )
    retry_seconds: list[Pause] = Field(
        default=[5, 300, 1800, 7200, 18_000, 36_000, 36_000],
        min_length=1,
        max_length=50,
        description=(
            "Pauses between tries, each made a little longer or shorter by chance. After the "
            "last one the webhook goes to the dead letters."
        ),
    )
    dead_letter_days: float = Field(
        default=30, gt=0, le=365, description="How long dead letters are kept."
    )

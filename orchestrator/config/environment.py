"""An environment: a stable name with its own queue, autoscaling and limits.

Everything here but `deployment` changes without a restart of any replica.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from orchestrator.config.asynchronous import AsyncRequests
from orchestrator.config.scaling_policy import ScalingPolicy
from orchestrator.config.section import Name, Section

LONGEST_TIMEOUT_SECONDS: Final = 3600
"""No part of a request may take longer than an hour."""

SHORTEST_STABLE_WINDOW_SECONDS: Final = 10


class Autoscaling(Section):
    """How many replicas run, by default `ceil(avg in flight / (target * utilization))`."""

    min_replica: int = Field(
        default=0, ge=0, le=1000, description="Replicas kept without any load; 0: scale to zero."
    )
    max_replica: int = Field(default=1, ge=1, le=1000, description="Most replicas at once.")
    concurrency_target: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Requests in flight per replica to aim at; at most the deployment's "
            "concurrency, which null stands for."
        ),
    )
    target_utilization_percentage: int = Field(
        default=70, ge=1, le=100, description="Share of the target to fill, in percent."
    )
    autoscaling_window: float = Field(
        default=60,
        ge=1,
        le=3600,
        description=(
            "Seconds over which the load is averaged; below 10 only with experimental: true."
        ),
    )
    scale_down_delay: float = Field(
        default=900, ge=0, le=3600, description="Seconds of lower load before scaling down."
    )
    max_scale_down_rate: int = Field(
        default=50, ge=1, le=100, description="Most replicas removed per step, in percent."
    )
    experimental: bool = Field(
        default=False, description="Allows an autoscaling_window down to 1 second."
    )
    policy: ScalingPolicy = Field(
        default="concurrency",
        description=(
            "How the number of replicas is computed: the name of a policy, or module:Class of "
            "your own; a mapping with its name and settings; or a list of these, of which "
            "the one that asks for most replicas has them."
        ),
    )


class Queue(Section):
    """What happens to requests while no replica has a free slot."""

    policy: Literal["queue_on_full", "reject_on_full"] = Field(
        default="queue_on_full",
        description=(
            "queue_on_full: wait for a slot, 429 over the bounds below; "
            "reject_on_full: 529 at once when no slot is free."
        ),
    )
    max_requests: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Most requests waiting at once."
    )
    max_megabytes: float = Field(
        default=1024,
        gt=0,
        le=1_000_000,
        description="Most bytes of waiting request bodies (1 MB = 1,000,000 bytes).",
    )
    aging_seconds: float = Field(
        default=60, gt=0, le=86_400, description="Waiting time that is worth one priority."
    )
    async_share_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="Slots that async requests get even if sync ones could use them all.",
    )
    handover_milliseconds: float = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Longest time that a router may give a freed slot to its own waiters on "
        "what it last heard of the others.",
    )
    keep_seconds: float = Field(
        default=1,
        ge=0,
        le=60,
        description="How long a router keeps a freed slot for its next request.",
    )
    lease_seconds: float = Field(
        default=5,
        ge=1,
        le=600,
        description="Slots of a router that is silent for this long are free again.",
    )


class Timeouts(Section):
    """How long each part of a request may take. Callers may ask for less."""

    park_seconds: float = Field(
        default=1200,
        gt=0,
        le=LONGEST_TIMEOUT_SECONDS,
        description="Time to wait for a slot; then 503.",
    )
    predict_seconds: float = Field(
        default=1200,
        gt=0,
        le=LONGEST_TIMEOUT_SECONDS,
        description="Time for the model to answer in full; then 504.",
    )
    first_byte_seconds: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST_TIMEOUT_SECONDS,
        description="Time until the first byte of the answer; null: predict_seconds alone.",
    )
    chunk_gap_seconds: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST_TIMEOUT_SECONDS,
        description="Time between two chunks of a stream; null: predict_seconds alone.",
    )


class Retry(Section):
    """Retries of 502, 503, 504 and of failed connections, before the first byte."""

    initial_milliseconds: float = Field(
        default=500, ge=0, le=60_000, description="Pause before the first retry."
    )
    factor: float = Field(
        default=1.5, ge=1, le=10, description="What each pause is multiplied by for the next."
    )
    max_seconds: float = Field(default=60, ge=0, le=3600, description="Longest pause.")
    total_seconds: float = Field(
        default=900, ge=0, le=3600, description="No retry starts later than this."
    )
    connection_attempts: int = Field(
        default=16, ge=1, le=1000, description="Most attempts that fail to connect."
    )
    budget_percent: int = Field(
        default=20,
        ge=0,
        le=100,
        description="Most retries, in percent of the requests of budget_window_seconds.",
    )
    budget_window_seconds: float = Field(
        default=10, gt=0, le=600, description="Time over which the retry budget is counted."
    )


class Environment(Section):
    """A stable name for callers: points at a deployment, has its own queue and limits."""

    deployment: Name = Field(description="Name of the model's deployment that runs here.")
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="How many replicas run."
    )
    queue: Queue = Field(default_factory=Queue, description="Waiting, its order and bounds.")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="Time limits.")
    retry: Retry = Field(default_factory=Retry, description="Retries on another replica.")
    async_requests: AsyncRequests = Field(
        default_factory=AsyncRequests, description="Requests that are accepted to run later."
    )

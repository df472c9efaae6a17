"""The section about what is told about requests. Where traces go is not in it: OTEL_* say that."""

from __future__ import annotations

from pydantic import Field

from orchestrator.config.section import Section


class Telemetry(Section):
    """Which requests are traced, and what is remembered of all of them."""

    sampling_percent: float = Field(
        default=1,
        ge=0,
        le=100,
        description=(
            "Share of the traces that begin here and are exported. A caller's own decision, in "
            "its traceparent, comes first, and OTEL_TRACES_SAMPLER before both. Failed, retried "
            "and cold-started requests and the slowest ones are exported in any case."
        ),
    )
    keep_slowest_percent: float = Field(
        default=1,
        ge=0,
        le=50,
        description=(
            "Share of each environment's requests whose timelines are kept, and whose traces "
            "exported, for being slower than the others of late."
        ),
    )
    keep_hours: float = Field(
        default=24,
        gt=0,
        le=30 * 24,
        description=(
            "How long the store keeps timelines of requests that failed, were retried, waited "
            "for a replica to start, or were among the slowest."
        ),
    )
    kept_requests: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most timelines that the store keeps of each environment; the oldest go first.",
    )
    recent_requests: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="How many of the last requests each router remembers, about 1 kB each.",
    )
    forward_baggage: bool = Field(
        default=False,
        description=(
            "Whether models get the caller's baggage header. It can hold anything that some "
            "service before the caller put there."
        ),
    )

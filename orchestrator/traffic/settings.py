"""What an experiment says of its requests: where they come from, and how they are scaled.

A source is a recorded trace or a generator. What is done to it, in this order: its part
from `start_seconds` to `duration_seconds` is cut out, its rate is scaled, then its times;
then requests are given what the source does not say of them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import annotated_types
from pydantic import Field, model_validator

from orchestrator.config.section import NonEmpty, Section
from orchestrator.traffic.distribution import Distribution

Format = Literal["auto", "azure_llm", "mooncake", "servegen", "table", "request_log"]
Unit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "iso"]

SOURCES: Final = ("trace", "poisson", "gamma", "diurnal", "step", "spike")
"""Fields of `Arrivals` of which there must be exactly one."""

MOST_RATE_SCALE: Final = 1000
"""Above 1 each whole part of it is a copy of the trace, of which the last minute is held."""

LEAST_RATE: Final = 1e-9
"""Requests per second: one in thirty years."""

MOST_RATE: Final = 1e6

Rate = Annotated[float, annotated_types.Ge(LEAST_RATE), annotated_types.Le(MOST_RATE)]
RateOrNone = Annotated[float, annotated_types.Ge(0), annotated_types.Le(MOST_RATE)]
Variation = Annotated[
    float,
    Field(
        ge=0,
        le=1000,
        description="Coefficient of variation of the gaps; 1: Poisson, 0: equal gaps.",
    ),
]


class Columns(Section):
    """The columns of a table, by what they mean; null: there is none."""

    at: NonEmpty = Field(description="When the request came, in `unit`.")
    prompt_tokens: NonEmpty | None = Field(default=None, description="Tokens of the prompt.")
    output_tokens: NonEmpty | None = Field(default=None, description="Tokens of the answer.")
    service_seconds: NonEmpty | None = Field(default=None, description="How long it ran.")
    deadline_seconds: NonEmpty | None = Field(
        default=None, description="When its caller gave up, from when it came."
    )
    asynchronous: NonEmpty | None = Field(
        default=None, description="Whether it was for later: true or false, 1 or 0, yes or no."
    )
    environment: NonEmpty | None = Field(default=None, description="Which it was for.")


class Trace(Section):
    """Requests as they were recorded."""

    file: NonEmpty = Field(
        description=(
            "A path (from the experiment's folder), a URL, or dataset:NAME; .gz, .zst, .bz2 and "
            ".xz are unpacked."
        )
    )
    format: Format = Field(
        default="auto", description="What the file is; auto: told from its columns."
    )
    columns: Columns | None = Field(
        default=None, description="Of the format table: what its columns mean."
    )
    unit: Unit | None = Field(
        default=None,
        description="Of the times in a table; null: seconds, or iso where they are dates.",
    )
    environment: NonEmpty | None = Field(
        default=None, description="Only the requests for it; null: all."
    )
    client: Annotated[int, annotated_types.Ge(0)] | None = Field(
        default=None, description="Of the format servegen: only this client; null: all of them."
    )
    sort: bool = Field(
        default=False, description="Whether to sort it in memory, where it is not in order."
    )

    @model_validator(mode="after")
    def _columns_belong_to_tables(self) -> Trace:
        if self.format == "table" and self.columns is None:
            raise ValueError("needs columns that say at least which one has the times: {at: ...}")
        if self.columns is not None and self.format not in {"auto", "table"}:
            raise ValueError(f"columns are for the format table; {self.format} has its own")
        return self


class Poisson(Section):
    """Requests that know nothing of each other, at a constant rate."""

    rate: Rate = Field(description="Requests per second.")


class Gamma(Section):
    """A constant rate with gaps that vary more, or less, than by chance."""

    rate: Rate = Field(description="Requests per second.")
    cv: Variation


class Diurnal(Section):
    """A rate that goes up and down as a sine."""

    mean_rate: Rate = Field(description="Requests per second, over a period.")
    peak_rate: Rate = Field(description="Requests per second at the peak; at most twice the mean.")
    period_seconds: float = Field(default=86_400, gt=0, description="From peak to peak.")
    peak_at_seconds: float = Field(default=0, ge=0, description="When the first peak is.")
    cv: Variation = 1

    @model_validator(mode="after")
    def _is_a_sine(self) -> Diurnal:
        if not self.mean_rate <= self.peak_rate <= 2 * self.mean_rate:
            raise ValueError(
                f"peak_rate must be between mean_rate ({self.mean_rate:g}) and twice that: "
                "the valley lies as far below the mean as the peak above it"
            )
        return self


class Stage(Section):
    """A rate that holds for a while."""

    rate: RateOrNone = Field(description="Requests per second; 0: none.")
    seconds: float = Field(gt=0, description="For how long.")


class Step(Section):
    """One rate after the other; then no more requests come."""

    steps: list[Stage] = Field(min_length=1, description="Rates and how long each holds.")
    cv: Variation = 1

    @model_validator(mode="after")
    def _has_requests(self) -> Step:
        if not any(step.rate for step in self.steps):
            raise ValueError("at least one of steps must have a rate above 0")
        return self


class Spike(Section):
    """A constant rate with one burst."""

    rate: RateOrNone = Field(description="Requests per second before and after it; may be 0.")
    peak_rate: Rate = Field(description="Requests per second in it.")
    at_seconds: float = Field(ge=0, description="When it begins.")
    seconds: float = Field(gt=0, description="How long it is.")
    cv: Variation = 1


class Tokens(Section):
    """Lengths for requests of which the source says none; rounded, at least 1."""

    prompt: Distribution | None = Field(default=None, description="Tokens of the prompt.")
    output: Distribution | None = Field(default=None, description="Tokens of the answer.")


class Arrivals(Section):
    """Where requests come from: exactly one source, and its scaling."""

    trace: Trace | None = Field(default=None, description="Requests as they were recorded.")
    poisson: Poisson | None = Field(default=None, description="A constant rate, by chance.")
    gamma: Gamma | None = Field(default=None, description="A constant rate, in bursts or even.")
    diurnal: Diurnal | None = Field(default=None, description="A rate like that of a day.")
    step: Step | None = Field(default=None, description="One rate after the other.")
    spike: Spike | None = Field(default=None, description="A constant rate with one burst.")

    start_seconds: float = Field(
        default=0, ge=0, description="Where to begin in the source, in its own time."
    )
    duration_seconds: float | None = Field(
        default=None, gt=0, description="How much of it to take, in its own time; null: all."
    )
    rate_scale: float = Field(
        default=1,
        gt=0,
        le=MOST_RATE_SCALE,
        description=(
            "Times as many requests in the same time. A generator's rates, and those of "
            "servegen, are multiplied. A recorded trace is thinned by chance below 1; above 1, "
            "shifted copies of it are laid over it (see copy_shift_seconds)."
        ),
    )
    copy_shift_seconds: float = Field(
        default=60,
        ge=0,
        le=3600,
        description=(
            "Copies that rate_scale makes of a trace begin up to so much later, each by chance, "
            "so that its ups and downs stay but no two requests are one."
        ),
    )
    time_scale: float = Field(
        default=1,
        gt=0,
        description=(
            "Multiplies the times at which requests come: 0.05 is 20 times as fast. Service "
            "times and deadlines stay."
        ),
    )

    asynchronous_percent: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Share of requests that are for later, by chance; null: as the trace says.",
    )
    deadline_seconds: float | None = Field(
        default=None, gt=0, description="When callers give up; null: as the trace says, or never."
    )
    tokens: Tokens | None = Field(
        default=None, description="Lengths of prompts and answers where the source has none."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Arrivals:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            has = " and ".join(given) if given else "none"
            raise ValueError(f"must have exactly one of {', '.join(SOURCES)}; it has {has}")
        return self

    @property
    def source(self) -> Trace | Poisson | Gamma | Diurnal | Step | Spike:
        """The one that is given."""
        found = (getattr(self, name) for name in SOURCES)
        source: Trace | Poisson | Gamma | Diurnal | Step | Spike = next(filter(None, found))
        return source

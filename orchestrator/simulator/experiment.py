"""The file of an experiment: traffic, environments, a pool of GPUs, and what is tried.

Its settings of autoscaling, queue, retries and time-outs are those of a cluster's file.
A simulation and a replay against a running cluster read the same file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import annotated_types
from pydantic import AfterValidator, Field, JsonValue

from orchestrator.config.environment import Autoscaling, Queue, Retry, Timeouts
from orchestrator.config.section import Name, NonEmpty, Section
from orchestrator.simulator.service import Service
from orchestrator.simulator.starts import ColdStart
from orchestrator.simulator.sweep import ENVIRONMENTS, EVERY
from orchestrator.traffic.distribution import Distribution
from orchestrator.traffic.settings import Arrivals

MONDAY: Final = "2024-01-01T00:00:00Z"
"""Where an experiment begins unless it says so: midnight before a Monday."""


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'must be a date and a time as in "{MONDAY}"; without a zone it is UTC'
        ) from None
    return text


def _each_once(seeds: list[int]) -> list[int]:
    twice = next((seed for at, seed in enumerate(seeds) if seed in seeds[:at]), None)
    if twice is not None:
        raise ValueError(f"must have each seed once; {twice} is there twice")
    return seeds


class Pool(Section):
    """The GPUs that all environments share."""

    gpus: float | None = Field(
        default=None, gt=0, description="How many there are; null: as many as are wanted."
    )
    price_per_gpu_hour: float | None = Field(
        default=None,
        ge=0,
        description="What one costs for an hour, in any currency; null: costs are not told.",
    )


class Callers(Section):
    """What callers do while they wait, and after they were turned away."""

    deadline_seconds: Distribution | None = Field(
        default=None,
        description="Seconds after which a caller gives up; null: as its arrival says, or never.",
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How often a caller comes back after a 429, 503 or 529.",
    )
    retry_after_seconds: Distribution = Field(
        default=Distribution(fixed=1.0), description="Seconds until it comes back."
    )


class ExperimentEnvironment(Section):
    """One environment: who calls it, what it runs on, and how it is queued and scaled."""

    arrivals: Arrivals = Field(description="Its requests: a recorded trace or a generator.")
    service: Service = Field(description="How long a request runs.")
    concurrency: int = Field(
        default=1, ge=1, le=10_000, description="Slots: requests that one replica runs at once."
    )
    gpus: float = Field(
        default=1,
        ge=0,
        description="GPUs of a replica: a whole number, or a fraction below 1 to share one.",
    )
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="How many replicas run."
    )
    queue: Queue = Field(default_factory=Queue, description="Waiting, its order and bounds.")
    retry: Retry = Field(default_factory=Retry, description="Retries on another replica.")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="Time limits.")
    cold_start: ColdStart = Field(
        default_factory=ColdStart, description="How long a replica takes to start."
    )
    lifetime: Distribution | None = Field(
        default=None, description="Seconds from READY until a replica dies; null: none dies."
    )
    callers: Callers = Field(default_factory=Callers, description="What callers do.")
    routers: int = Field(
        default=1, ge=1, le=1000, description="Routers that share its synchronous requests."
    )
    overhead_milliseconds: float = Field(
        default=0,
        ge=0,
        description="What router and network add to a request outside of its slot.",
    )
    slot_overhead_milliseconds: float = Field(
        default=0, ge=0, description="What they add to the time for which it holds its slot."
    )
    target: dict[NonEmpty, JsonValue] = Field(
        default_factory=dict, description="Where a replay sends its requests, and what it sends."
    )


class Experiment(Section):
    """An experiment: the file, and also each of its points, for which `sweep` is put in."""

    name: Name = Field(description="Name of the experiment, for reports.")
    description: NonEmpty | None = Field(default=None, description="What it is to show.")
    seeds: Annotated[list[Annotated[int, annotated_types.Ge(0)]], AfterValidator(_each_once)] = (
        Field(
            default=[1],
            min_length=1,
            max_length=1000,
            description="Each point is run once with each; the same ones draw the same requests.",
        )
    )
    duration_seconds: float | None = Field(
        default=None, gt=0, description="No request arrives later; null: until arrivals end."
    )
    measure_from_seconds: float = Field(
        default=0, ge=0, description="Requests that arrive earlier are not measured."
    )
    start_time: Annotated[str, AfterValidator(_moment)] = Field(
        default=MONDAY, description="Time of day at which it begins, for schedules."
    )
    pool: Pool = Field(default_factory=Pool, description="The GPUs.")
    defaults: dict[str, JsonValue] = Field(
        default_factory=dict, description="Settings of all environments that have none of theirs."
    )
    environments: dict[Name, ExperimentEnvironment] = Field(
        min_length=1, description="The environments, by name."
    )
    sweep: dict[NonEmpty, Annotated[list[JsonValue], annotated_types.MinLen(1)]] = Field(
        default_factory=dict, description="Values to try, by path; every combination is a point."
    )
    variants: dict[NonEmpty, dict[NonEmpty, JsonValue]] = Field(
        default_factory=dict, description="Sets of values to try, by name; each is a point."
    )

    @property
    def starts_at(self) -> float:
        """The time of day at which it begins, in seconds since 1970."""
        moment = datetime.fromisoformat(self.start_time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_NOT_SET = frozenset({"name", "description", "defaults", "sweep", "variants", ENVIRONMENTS})


def settable() -> list[str]:
    """Paths that a sweep or the command line may set, for suggestions: one level into sections."""
    found = []
    for prefix, section in (("", Experiment), (f"{ENVIRONMENTS}.{EVERY}.", ExperimentEnvironment)):
        for name, info in section.model_fields.items():
            if not prefix and name in _NOT_SET:
                continue
            found.append(f"{prefix}{name}")
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                found += [f"{prefix}{name}.{inner}" for inner in kind.model_fields]
    return found

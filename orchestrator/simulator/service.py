"""How long requests run: drawn, as recorded, or by their tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from orchestrator.config.section import Section
from orchestrator.simulator.batch import TokenBatches, TokenPace
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.distribution import LARGEST, Distribution, Draw, draw
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from numpy.random import Generator

    from orchestrator.simulator.scenario import BatchModel, ServiceModel

SecondsOf = Callable[[Arrival], float]
"""How long a request runs; called once each, in the order of arrival."""


class FirstToken(Section):
    """Seconds from when a request starts until its first token."""

    base: float = Field(default=0, ge=0, le=LARGEST, description="Whatever the request is.")
    per_prompt_token: float = Field(
        default=0, ge=0, le=LARGEST, description="For each token of its prompt."
    )
    per_running: float = Field(
        default=0, ge=0, le=LARGEST, description="For each other request that runs when it starts."
    )


class PerToken(Section):
    """Seconds from a request's token to its next."""

    base: float = Field(ge=0, le=LARGEST, description="With the replica to itself.")
    per_running: float = Field(
        default=0, ge=0, le=LARGEST, description="For each other request that runs at the time."
    )


class Tokens(Section):
    """By tokens: requests that run together in a replica slow each other down."""

    first_token: FirstToken = Field(
        default_factory=FirstToken, description="Seconds until the first token."
    )
    per_token: PerToken = Field(description="Seconds for each token after the first.")

    @property
    def pace(self) -> TokenPace:
        """The same for the simulator."""
        return TokenPace(
            first_s=self.first_token.base,
            first_per_prompt_s=self.first_token.per_prompt_token,
            first_per_running_s=self.first_token.per_running,
            token_s=self.per_token.base,
            token_per_running_s=self.per_token.per_running,
        )


class Service(Distribution):
    """How long requests run, in seconds: a distribution, or as recorded, or by tokens."""

    recorded: bool | None = Field(
        default=None, description="true: each as long as its trace says (service_seconds)."
    )
    fallback: Distribution | None = Field(
        default=None, description="Beside recorded: for requests of which the trace does not say."
    )
    tokens: Tokens | None = Field(default=None, description="By the tokens of each request.")

    KINDS: ClassVar[tuple[str, ...]] = (*Distribution.KINDS, "recorded", "tokens")

    @model_validator(mode="after")
    def _recorded_or_not(self) -> Self:
        if self.recorded is False:
            raise ValueError("must have recorded: true, or not have it at all")
        if self.fallback is not None and not self.recorded:
            raise ValueError("must have fallback only beside recorded: true")
        return self


class Seconds:
    """Service times that do not depend on what else runs (`scenario.ServiceModel`).

    The first byte is the whole answer.
    """

    __slots__ = ("_next",)

    def __init__(self, numbers: Draw) -> None:
        self._next = numbers

    def draw(self, _arrival: Arrival) -> tuple[float, float]:
        """Seconds until the request is answered, and until its first byte."""
        seconds = self._next()
        return seconds, seconds


class Recorded:
    """Service times of a trace (`scenario.ServiceModel`). The first byte is the whole answer."""

    __slots__ = ("_fallback",)

    def __init__(self, fallback: Draw | None) -> None:
        self._fallback = fallback

    def draw(self, arrival: Arrival) -> tuple[float, float]:
        """Seconds until the request is answered, and until its first byte.

        Raises:
            TrafficError: the trace does not say, and there is no fallback.
        """
        seconds = arrival.service_s
        if seconds is None:
            seconds = self._missing(arrival)
        return seconds, seconds

    def _missing(self, arrival: Arrival) -> float:
        if self._fallback is not None:
            return self._fallback()
        raise TrafficError(
            "arrivals",
            None,
            f"the request at {arrival.at:g} s does not say how long it ran",
            "a trace with service_seconds, or service.fallback",
        )


def service_model(
    spec: Service, rng: Generator, *, folder: Path = Path()
) -> ServiceModel | BatchModel:
    """The model of a simulated environment's service times.

    Args:
        spec: what the file says.
        rng: where randomness comes from; nothing else should draw from it.
        folder: what files of the spec are relative to.

    Raises:
        TrafficError: a file of the spec cannot be used.
    """
    if spec.tokens is not None:
        return TokenBatches(spec.tokens.pace)
    return _drawn(spec, rng, folder)


def service_seconds(spec: Service, rng: Generator, *, folder: Path = Path()) -> SecondsOf:
    """How long each request runs in a replica of its own, for those that replay it.

    With the same spec and a generator of the same seed, the same times as those of
    `service_model`; by tokens, those of a request that runs alone.

    Raises:
        TrafficError: a file of the spec cannot be used; or, when it is called, an
            arrival lacks what the spec goes by.
    """
    if spec.tokens is not None:
        return spec.tokens.pace.alone
    model = _drawn(spec, rng, folder)
    return lambda arrival: model.draw(arrival)[0]


def _drawn(spec: Service, rng: Generator, folder: Path) -> Seconds | Recorded:
    if not spec.recorded:
        return Seconds(draw(spec, rng, folder=folder))
    fallback = spec.fallback
    return Recorded(draw(fallback, rng, folder=folder) if fallback is not None else None)

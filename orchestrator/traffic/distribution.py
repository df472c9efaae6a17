"""Numbers drawn at random: durations, tokens, deadlines. Never negative, never infinite.

In a file a distribution is a number (always the same), or a mapping with one key,
the kind: `{lognormal: {mean: 2, cv: 1.5}}`. `cv` is the coefficient of variation,
the standard deviation divided by the mean. The unit is that of the field that has
the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

import annotated_types
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from orchestrator.config.problems import listed
from orchestrator.config.section import NonEmpty, Section
from orchestrator.traffic.column import read_column

if TYPE_CHECKING:
    from numpy.random import Generator
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Draw = Callable[[], float]
"""Gives the next number of a random sequence of its own."""

Sample = Callable[[int], NDArray[np.float64]]
"""Gives so many numbers at once."""

BATCH: Final = 4096
"""Numbers that are drawn at once: one call of numpy costs as much as a few hundred of them."""

LARGEST: Final = 10**12
"""Largest parameter: beyond what anybody means, and far from where floats overflow."""

LEAST_CV: Final = 0.001
"""For less of it, the number is as good as fixed."""

LARGEST_CV: Final = 1000

P95_DEVIATIONS: Final = NormalDist().inv_cdf(0.95)
"""Standard deviations from the mean of a normal distribution to its 95th percentile."""


class Exponential(Section):
    """Memoryless: the time between calls that have nothing to do with each other."""

    mean: float = Field(gt=0, le=LARGEST, description="The mean.")

    def sample(self, rng: Generator) -> Sample:
        """Numbers of this distribution."""
        return lambda count: rng.exponential(self.mean, count)


class Lognormal(Section):
    """The exponential of a normal distribution: durations with a long tail.

    With `mean` and `cv`: sigma² = ln(1 + cv²), mu = ln(mean) - sigma² / 2. With
    `median` and `p95`: mu = ln(median), sigma = ln(p95 / median) / 1.645.
    """

    mean: float | None = Field(default=None, gt=0, le=LARGEST, description="The mean; beside cv.")
    cv: float | None = Field(
        default=None, ge=LEAST_CV, le=LARGEST_CV, description="Coefficient of variation."
    )
    median: float | None = Field(
        default=None, gt=0, le=LARGEST, description="The median; beside p95."
    )
    p95: float | None = Field(default=None, gt=0, le=LARGEST, description="The 95th percentile.")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if given not in ({"mean", "cv"}, {"median", "p95"}):
            raise ValueError(
                f"must have either mean and cv, or median and p95; it has {listed(sorted(given))}"
            )
        if self.median is not None and self.p95 is not None and self.p95 <= self.median:
            raise ValueError(f"must have a p95 above its median ({self.median:g})")
        return self

    @property
    def mu_and_sigma(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm."""
        if self.median is not None and self.p95 is not None:
            return math.log(self.median), math.log(self.p95 / self.median) / P95_DEVIATIONS
        if self.mean is None or self.cv is None:
            raise AssertionError("validation lets no other form through")
        variance = math.log1p(self.cv**2)
        return math.log(self.mean) - variance / 2, math.sqrt(variance)

    def sample(self, rng: Generator) -> Sample:
        """Numbers of this distribution."""
        mu, sigma = self.mu_and_sigma
        return lambda count: rng.lognormal(mu, sigma, count)


class Gamma(Section):
    """A sum of exponentials, in effect: shape 1 / cv², scale mean · cv²."""

    mean: float = Field(gt=0, le=LARGEST, description="The mean.")
    cv: float = Field(
        ge=LEAST_CV, le=LARGEST_CV, description="Coefficient of variation; 1: as exponential."
    )

    def sample(self, rng: Generator) -> Sample:
        """Numbers of this distribution."""
        shape, scale = self.cv**-2, self.mean * self.cv**2
        return lambda count: rng.gamma(shape, scale, count)


class Uniform(Section):
    """Every number between two is as likely as any other."""

    low: float = Field(ge=0, le=LARGEST, description="The least.")
    high: float = Field(ge=0, le=LARGEST, description="The largest; not below low.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"must have a high of at least low ({self.low:g})")
        return self

    def sample(self, rng: Generator) -> Sample:
        """Numbers of this distribution."""
        return lambda count: rng.uniform(self.low, self.high, count)


class Empirical(Section):
    """Numbers that were measured, drawn again and again, each as likely as any other."""

    values: list[Annotated[float, annotated_types.Ge(0), annotated_types.Le(LARGEST)]] | None = (
        Field(default=None, min_length=1, description="The numbers.")
    )
    file: NonEmpty | None = Field(
        default=None,
        description="A CSV file with a header, or JSON lines; compressed where its suffix says so.",
    )
    column: NonEmpty | None = Field(default=None, description="The column of the file.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.values is None) == (self.file is None):
            raise ValueError("must have either values, or file and column")
        if (self.file is None) != (self.column is None):
            raise ValueError("must have file and column together")
        return self

    def sample(self, rng: Generator, folder: Path) -> Sample:
        """Numbers of this distribution.

        Raises:
            TrafficError: the file cannot be read, has no such column, or a value in it
                is no number of at least 0.
        """
        if self.file is None or self.column is None:
            values = np.array(self.values)
        else:
            values = read_column(self.file, self.column, folder=folder)
        return lambda count: rng.choice(values, count)


class Distribution(Section):
    """A number, or one of the kinds below."""

    fixed: float | None = Field(default=None, ge=0, le=LARGEST, description="Always this number.")
    exponential: Exponential | None = Field(default=None, description="By its mean.")
    lognormal: Lognormal | None = Field(
        default=None, description="By mean and cv, or by median and p95."
    )
    gamma: Gamma | None = Field(default=None, description="By mean and cv.")
    uniform: Uniform | None = Field(default=None, description="Between low and high.")
    empirical: Empirical | None = Field(default=None, description="Measured numbers.")

    KINDS: ClassVar[tuple[str, ...]] = (
        "fixed",
        "exponential",
        "lognormal",
        "gamma",
        "uniform",
        "empirical",
    )
    """The fields of which exactly one is given."""

    @model_validator(mode="before")
    @classmethod
    def _number_is_fixed(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            if not 0 <= data <= LARGEST:
                raise ValueError(f"must be a number from 0 to {LARGEST:g}")
            return {"fixed": data}
        if not isinstance(data, dict | cls):
            raise ValueError(  # noqa: TRY004 - pydantic reports a ValueError at its place
                f"must be a number, or a mapping with one of {listed(cls.KINDS)}"
            )
        return data

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in self.KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must be a number, or have exactly one of {listed(self.KINDS)}; "
                f"it has {listed(given)}"
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The mapping, or a number."""
        return {"anyOf": [{"type": "number", "minimum": 0}, handler(core_schema)]}


def draw(spec: Distribution, rng: Generator, *, folder: Path = Path()) -> Draw:
    """A sequence of numbers as `spec` has them.

    Args:
        spec: the distribution.
        rng: where the randomness comes from. Numbers are drawn 4,096 at a time, so a
            sequence that must not change with others needs a generator of its own.
        folder: what the file of an empirical distribution is relative to.

    Raises:
        TrafficError: that file cannot be used.
    """
    if spec.fixed is not None:
        return repeat(float(spec.fixed)).__next__
    if spec.empirical is not None:
        sample = spec.empirical.sample(rng, folder)
    else:
        drawn = spec.exponential or spec.lognormal or spec.gamma or spec.uniform
        if drawn is None:
            raise AssertionError("validation lets no other kind through")
        sample = drawn.sample(rng)
    batches = (sample(BATCH).tolist() for _ in repeat(None))
    return chain.from_iterable(batches).__next__

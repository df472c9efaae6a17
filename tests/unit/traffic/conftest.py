"""Traces in a folder of their own, and the requests that come of settings."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from orchestrator.traffic.arrival import Arrival


class Reading(Protocol):
    """All requests (or the first `most`) of settings, with paths from the test's folder."""

    def __call__(
        self, settings: dict[str, Any], seed: int = 1, *, most: int | None = None
    ) -> list[Arrival]: ...


class Refusing(Protocol):
    """The error that reading a trace must end with."""

    def __call__(self, settings: dict[str, Any]) -> TrafficError: ...


class Writing(Protocol):
    """Puts a file with that text into the test's folder."""

    def __call__(self, name: str, text: str | bytes) -> Path: ...


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    def read(settings: dict[str, Any], seed: int = 1, *, most: int | None = None) -> list[Arrival]:
        found = arrivals(Arrivals.model_validate(settings), seed, folder=tmp_path)
        return list(islice(found, most))

    return read


@pytest.fixture
def refusing(reading: Reading) -> Refusing:
    def refuse(settings: dict[str, Any]) -> TrafficError:
        with pytest.raises(TrafficError) as caught:
            reading(settings)
        return caught.value

    return refuse


@pytest.fixture
def write(tmp_path: Path) -> Writing:
    def put(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return put


def times(found: list[Arrival]) -> NDArray[np.float64]:
    """When they come."""
    return np.array([arrival.at for arrival in found])


def cv(values: NDArray[np.float64]) -> float:
    """Coefficient of variation."""
    return float(values.std() / values.mean())

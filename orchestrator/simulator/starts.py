"""How replicas start: stage by stage at random, or as starts of a cluster were recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from pydantic import Field, model_validator

from orchestrator.config.problems import shown
from orchestrator.config.section import NonEmpty, Section
from orchestrator.lifecycle.replica import STARTUP_STAGES, Stage
from orchestrator.simulator.scenario import Starts
from orchestrator.traffic.distribution import LARGEST, Distribution, Draw, Empirical, Uniform, draw
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import opened_text, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

EXPECTED: Final = 'a start as an environment\'s "starts" has them: {"stages": {"LOADING": 2.5}}'
READY: Final = "ready"


class ColdStart(Section):
    """How long the stages of a replica's start take, and how often one fails.

    A stage that is not named takes no time.
    """

    provisioning: Distribution | None = Field(
        default=None, description="Seconds until its process starts, beyond the wait for a GPU."
    )
    starting: Distribution | None = Field(
        default=None, description="Seconds until its process begins to load."
    )
    loading: Distribution | None = Field(default=None, description="Seconds to load the model.")
    warming: Distribution | None = Field(default=None, description="Seconds to warm it up.")
    fails_percent: float = Field(
        default=0, ge=0, le=100, description="Starts that fail, at the end of loading, in percent."
    )
    recorded: NonEmpty | None = Field(
        default=None,
        description=(
            "Instead of the stages: a JSON file of starts, as the API has them for an "
            "environment (a list, an answer with starts in it, or one start a line). Those "
            "that became ready are drawn again and again, each as likely as any other."
        ),
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [stage.value.lower() for stage in STARTUP_STAGES if self._of(stage) is not None]
        if self.recorded is not None and given:
            raise ValueError(f"must have either recorded, or stages; it has {', '.join(given)} too")
        return self

    def stages(self) -> dict[Stage, Distribution]:
        """The stages that take time."""
        named = ((stage, self._of(stage)) for stage in STARTUP_STAGES)
        return {stage: seconds for stage, seconds in named if seconds is not None}

    def _of(self, stage: Stage) -> Distribution | None:
        found: Distribution | None = getattr(self, stage.value.lower())
        return found


def starts(spec: ColdStart, rng: Generator, *, folder: Path = Path()) -> Starts:
    """How the replicas of a simulated environment start.

    Each stage's sequence is one number for each start. Those of recorded starts go
    together: the n-th numbers of all stages are of one start.

    Args:
        spec: what the file says.
        rng: where randomness comes from; nothing else should draw from it.
        folder: what files of the spec are relative to.

    Raises:
        TrafficError: a file of the spec cannot be used.
    """
    of_failures, *of_stages = rng.spawn(1 + len(STARTUP_STAGES))
    if spec.recorded is not None:
        rows = read_starts(spec.recorded, folder=folder)
        seed = int(of_stages[0].integers(2**63))
        stages = {
            stage: _resampled(rows[:, column], seed) for column, stage in enumerate(STARTUP_STAGES)
        }
    else:
        streams = dict(zip(STARTUP_STAGES, of_stages, strict=True))
        stages = {
            stage: draw(seconds, streams[stage], folder=folder)
            for stage, seconds in spec.stages().items()
        }
    return Starts(stages=stages, fails=_fails(spec.fails_percent, of_failures))


def read_starts(file: str, *, folder: Path) -> NDArray[np.float64]:
    """Seconds of each start that became ready, by stage: a row for each, `STARTUP_STAGES` across.

    Args:
        file: see `ColdStart.recorded`.
        folder: what it is relative to.

    Raises:
        TrafficError: the file cannot be read, or has no such start.
    """
    with opened_text(place(file, folder)) as text:
        found = _entries(text.read(), file)
    rows = [_row(entry, file, at) for at, entry in enumerate(found, start=1) if _ready(entry)]
    if not rows:
        raise TrafficError(file, None, "has no start that became ready", EXPECTED)
    return np.array(rows)


def _resampled(values: NDArray[np.float64], seed: int) -> Draw:
    """Values drawn with replacement: with one seed, the same rows."""
    return draw(
        Distribution(empirical=Empirical(values=values.tolist())), np.random.default_rng(seed)
    )


def _fails(percent: float, rng: Generator) -> Callable[[], bool]:
    number = draw(Distribution(uniform=Uniform(low=0, high=100)), rng)
    return lambda: number() < percent


def _entries(text: str, file: str) -> list[Any]:
    """The starts of a JSON document, or of one document a line."""
    try:
        found = json.loads(text)
    except ValueError:
        return list(_lines(text, file))
    if isinstance(found, dict):
        live = found.get("live")
        holder = live if isinstance(live, dict) and "starts" in live else found
        found = holder.get("starts", [found])
    if not isinstance(found, list):
        raise TrafficError(file, None, f"is {shown(found)}", f"a list; each entry {EXPECTED}")
    return found


def _lines(text: str, file: str) -> Iterator[Any]:
    for at, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip():
                yield json.loads(line)
        except ValueError:
            raise TrafficError(file, at, f"is {shown(line)}", "JSON") from None


def _ready(entry: Any) -> bool:
    """Whether it became ready; what is no start at all is looked at more closely later."""
    return not isinstance(entry, dict) or entry.get("result", READY) == READY


def _row(entry: Any, file: str, at: int) -> list[float]:
    stages = entry.get("stages") if isinstance(entry, dict) else None
    if not isinstance(stages, dict):
        raise TrafficError(file, at, f"is {shown(entry)}", EXPECTED)
    return [_seconds(stages, stage, file, at) for stage in STARTUP_STAGES]


def _seconds(stages: Mapping[str, Any], stage: Stage, file: str, at: int) -> float:
    value = stages.get(stage.value, 0.0)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= LARGEST:
        raise TrafficError(file, at, f"{stage.value} is {shown(value)}", "seconds, at least 0")
    return float(value)

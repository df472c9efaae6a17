"""How long replicas were in each stage, out of what is seen of them a few times a second.

A replica tells how long each stage was that has ended, and how old it is. So the
stages of its start are exact, and only its end is uncertain, by half the time
between two samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.replica import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Told = Callable[[Stage, float], None]

_NOT_OF_ITS_PROCESS: Final = Stage.PROVISIONING


@dataclass(slots=True)
class _Stay:
    """A replica as it was last seen.

    Attributes:
        born: reading of the clock when its process began.
        seen: reading of the clock when it was last there.
        stage: that it was in then.
        stages: seconds of each stage that had ended.
    """

    born: float
    seen: float
    stage: Stage
    stages: dict[Stage, float]


class Stays:
    """The replicas of one environment, from one sample to the next.

    Args:
        told: is told of a stage of a replica that is gone, and its seconds.
        began: reading of the clock when the run began; what was before is not told.
    """

    def __init__(self, told: Told, began: float = 0.0) -> None:
        self._told = told
        self._began = began
        self._here: dict[str, _Stay] = {}

    def see(self, now: float, replicas: Iterable[Mapping[str, Any]]) -> None:
        """The replicas that are there now, as the API describes them."""
        here: dict[str, _Stay] = {}
        for replica in replicas:
            name = replica["id"]
            stages = {Stage(stage): float(s) for stage, s in replica["stages"].items()}
            before = self._here.pop(name, None)
            # An age that was long on its way makes a replica look younger, never older.
            born = now - float(replica["age_s"])
            if before is not None:
                born = min(born, before.born)
            here[name] = _Stay(born, now, Stage(replica["stage"]), stages)
        for gone in self._here.values():
            self._tell(gone, (gone.seen + now) / 2)
        self._here = here

    def close(self, now: float) -> None:
        """The run ends: those that are there are cut off."""
        for stay in self._here.values():
            self._tell(stay, now)
        self._here = {}

    def _tell(self, stay: _Stay, ended: float) -> None:
        """The stages of a replica that ended, or is cut off; in the order of its life."""
        stages = dict(stay.stages)
        began = stay.born - stages.get(_NOT_OF_ITS_PROCESS, 0.0)
        last = ended - began - sum(stages.values())
        stages[stay.stage] = stages.get(stay.stage, 0.0) + max(last, 0.0)
        at = began
        for stage, seconds in stages.items():
            within = min(at + seconds, ended) - max(at, self._began)
            at += seconds
            if within > 0:
                self._told(stage, within)

"""What an environment of a live cluster is like over time: asked a few times a second.

Levels hold from one sample to the next. Decisions and starts come with each sample as
the last hundred, with their ages, so that none is missed between two.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from orchestrator.http_connection import CallError
from orchestrator.lifecycle.replica import Stage
from orchestrator.replay.stays import Stays

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.reports.measures import EnvironmentMeasures

    Live = dict[str, Any]
    Decision = tuple[int, int, str]

PERIOD_S: Final = 0.25
"""From one sample to the next."""

MOST_A_SECOND: Final = 20.0
"""Samples of all environments together: beyond that, the period is longer."""

PATIENCE_S: Final = 5.0
"""After so long without an answer, a sample is missed."""


def period_s(environments: int) -> float:
    """Seconds between two samples of an environment where there are so many."""
    return max(PERIOD_S, environments / MOST_A_SECOND)


class LiveLevels:
    """Tells the measures of one environment what is seen of it.

    Args:
        measures: of the environment.
        gpus: of a replica.

    Attributes:
        gpus_taken: by its replicas, at the last sample.
        load_s: integral of the requests that waited or ran, request-seconds.
    """

    def __init__(self, measures: EnvironmentMeasures, gpus: float) -> None:
        self._measures = measures
        self._gpus = gpus
        self._stays = Stays(measures.replica_seconds)
        self._decisions: list[Decision] = []
        self._starts: set[tuple[str, str]] = set()
        self._at = 0.0
        self._present = 0.0
        self.gpus_taken = 0.0
        self.load_s = 0.0

    def begin(self, live: Live) -> None:
        """What is there before the first request: its decisions and starts are not the run's."""
        self._decisions = [_decision(each) for each in live["decisions"]]
        self._starts = {_start_key(start) for start in live["starts"]}
        self.see(0.0, live)

    def see(self, now: float, live: Live) -> None:
        """A sample.

        Args:
            now: seconds since the beginning, in the middle of the question.
            live: as the API has it.
        """
        replicas = live["replicas"]
        stages = Counter(Stage(replica["stage"]) for replica in replicas)
        self.gpus_taken = self._gpus * stages.total()
        stages[Stage.PROVISIONING] += int(live["provisioning"]["count"])
        waiting, running = int(live["waiting"]), int(live["in_use"])
        self._measures.sample(now, waiting, running, int(live["desired"]), stages)
        self._stays.see(now, replicas)
        self.load_s += self._present * (now - self._at)
        self._at, self._present = now, float(waiting + running)
        self._tell_decisions(now, live["decisions"])
        self._tell_starts(live["starts"])

    def close(self, now: float) -> None:
        """The run ends."""
        self._stays.close(now)
        self._measures.load(self.load_s + self._present * (now - self._at), now)

    def _tell_decisions(self, now: float, decisions: list[dict[str, Any]]) -> None:
        """Those that are new; by their order, as their ages are told a little later each time."""
        found = [_decision(each) for each in decisions]
        for new in range(_known(self._decisions, found), len(found)):
            at = max(now - float(decisions[new]["age_s"]), 0.0)
            self._measures.decided(at, *found[new])
        self._decisions = found

    def _tell_starts(self, starts: list[dict[str, Any]]) -> None:
        """Those that are new; only the ids that may come again are remembered."""
        for start in starts:
            if _start_key(start) not in self._starts:
                stages = {Stage(stage): float(s) for stage, s in start["stages"].items()}
                self._measures.started(stages, start["result"] == "failed")
        self._starts = {_start_key(start) for start in starts}


def _decision(told: dict[str, Any]) -> Decision:
    return int(told["before"]), int(told["desired"]), str(told["reason"])


def _known(before: list[Decision], found: list[Decision]) -> int:
    """How many of `found` were there before; the oldest may have been dropped since."""
    for dropped in range(len(before)):
        left = before[dropped:]
        if left == found[: len(left)]:
            return len(left)
    return 0


def _start_key(start: dict[str, Any]) -> tuple[str, str]:
    """A replica starts once, and ends at most once after that."""
    return start["replica"], start["result"]


class Sampler:
    """Samples one environment until it is closed.

    Args:
        ask: gives the environment's live state; raises `CallError` where it cannot.
        levels: is told of it.
        clock: seconds since the beginning.
        period: seconds between two samples.
        seen: is called after each sample.

    Attributes:
        missed: questions that got no answer, out of `asked`.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Live]],
        levels: LiveLevels,
        clock: Callable[[], float],
        period: float,
        seen: Callable[[], None] = lambda: None,
    ) -> None:
        self._ask = ask
        self._levels = levels
        self._clock = clock
        self._period = period
        self._seen = seen
        self.missed = 0
        self.asked = 0

    async def run(self) -> None:
        """Samples until it is cancelled; a question that takes long makes the next one late."""
        due = 0.0
        while True:
            due = max(due + self._period, self._clock())
            await asyncio.sleep(due - self._clock())
            await self.once()

    async def once(self) -> None:
        """Takes one sample."""
        began = self._clock()
        self.asked += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                live = await self._ask()
        except (CallError, TimeoutError):
            self.missed += 1
            return
        self._levels.see((began + self._clock()) / 2, live)
        self._seen()

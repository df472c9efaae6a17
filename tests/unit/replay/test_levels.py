"""What is made of an environment's description, seen a few times a second."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.http_connection import CallError
from orchestrator.replay.levels import PERIOD_S, LiveLevels, Sampler, period_s
from orchestrator.replay.stays import Stays
from orchestrator.reports.measures import EnvironmentMeasures
from tests.unit.replay.virtual import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.lifecycle.replica import Stage

START = {"PROVISIONING": 1.0, "STARTING": 0.1, "LOADING": 2.0, "WARMING": 0.1}


def replica(age_s: float, stage: str = "READY", name: str = "r", /, **stages: float) -> Any:
    return {"id": name, "stage": stage, "age_s": age_s, "stages": stages}


def live(
    replicas: Sequence[Any] = (),
    *,
    waiting: int = 0,
    in_use: int = 0,
    desired: int = 0,
    missing: int = 0,
    decisions: Sequence[Any] = (),
    starts: Sequence[Any] = (),
) -> dict[str, Any]:
    return {
        "replicas": list(replicas),
        "provisioning": {"count": missing},
        "waiting": waiting,
        "in_use": in_use,
        "desired": desired,
        "decisions": list(decisions),
        "starts": list(starts),
    }


class Spent:
    """Seconds by stage, as the measures would add them up."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def __call__(self, stage: Stage, seconds: float) -> None:
        self._seconds[stage.value] += seconds

    def is_about(self, **expected: float) -> bool:
        return dict(self._seconds) == pytest.approx(expected)


def test_a_replica_that_starts_drains_and_ends_within_the_run():
    spent = Spent()
    stays = Stays(spent)
    stays.see(9.0, [])
    # Seen while it loads: its process is 0.6 s old, and was wanted 1 s before that.
    stays.see(10.0, [replica(0.6, "LOADING", PROVISIONING=1.0, STARTING=0.1)])
    stays.see(20.0, [replica(10.6, "READY", **START)])
    stays.see(30.0, [replica(20.6, "DRAINING", **START, READY=18.0)])
    stays.see(30.5, [])
    # It ended between 30 and 30.5: at 30.25 it was 20.85 s old.
    assert spent.is_about(**START, READY=18.0, DRAINING=20.85 - 2.2 - 18.0)


def test_one_that_dies_between_two_samples_was_ready_until_the_middle():
    spent = Spent()
    stays = Stays(spent)
    stays.see(10.0, [replica(4.2, **START)])
    stays.see(10.5, [])
    assert spent.is_about(**START, READY=4.2 + 0.25 - 2.2)


def test_what_was_before_the_run_is_not_told():
    spent = Spent()
    stays = Stays(spent)
    stays.see(0.0, [replica(100.0, **START)])
    stays.close(7.0)
    assert spent.is_about(READY=7.0)


def test_a_start_that_goes_on_as_the_run_begins_is_told_from_there():
    spent = Spent()
    stays = Stays(spent)
    stays.see(0.0, [replica(1.1, "LOADING", PROVISIONING=1.0, STARTING=0.1)])
    stays.see(2.0, [replica(3.1, "READY", **START)])
    stays.close(3.0)
    assert spent.is_about(LOADING=1.0, WARMING=0.1, READY=1.9)


def test_a_run_that_ends_cuts_off_what_goes_on():
    spent = Spent()
    stays = Stays(spent)
    stays.see(5.0, [replica(0.5, "LOADING", STARTING=0.1)])
    stays.close(6.0)
    assert spent.is_about(STARTING=0.1, LOADING=1.4)


class Measures(EnvironmentMeasures):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(gpus_per_replica=1, slots=1, measure_from_s=0)
        self.samples: list[Any] = []
        self.decisions: list[Any] = []
        self.starts: list[Any] = []
        self.loads: list[Any] = []
        self.spent = Spent()

    def sample(
        self,
        now: float,
        waiting: float,
        running: float,
        desired: float,
        stages: Mapping[Stage, int],
    ) -> None:
        counts = {stage.value: count for stage, count in stages.items()}
        self.samples.append((now, waiting, running, desired, counts))

    def replica_seconds(self, stage: Stage, seconds: float) -> None:
        self.spent(stage, seconds)

    def started(self, stages: Mapping[Stage, float], failed: bool) -> None:
        self.starts.append((sum(stages.values()), failed))

    def decided(self, at: float, before: int, desired: int, reason: str) -> None:
        self.decisions.append((round(at, 2), before, desired, reason))

    def load(self, load_s: float, span_s: float) -> None:
        self.loads.append((load_s, span_s))


def decision(age_s: float, before: int, desired: int) -> dict[str, Any]:
    return {"age_s": age_s, "before": before, "desired": desired, "reason": "load"}


def start(name: str, seconds: float = 2.0, result: str = "ready") -> dict[str, Any]:
    return {"replica": name, "result": result, "stages": {"LOADING": seconds}}


def test_levels_hold_from_sample_to_sample_and_add_up_to_the_load():
    measures = Measures()
    levels = LiveLevels(measures, gpus=0.5)
    levels.begin(live())
    levels.see(1.0, live(waiting=3, desired=2, missing=1, replicas=[replica(0.1, "STARTING")]))
    levels.see(
        2.0,
        live(
            in_use=2, desired=2, replicas=[replica(9.0, "READY", "a"), replica(9.0, "READY", "b")]
        ),
    )
    assert levels.gpus_taken == 1.0
    levels.close(4.0)
    assert measures.samples == [
        (0.0, 0, 0, 0, {"PROVISIONING": 0}),
        (1.0, 3, 0, 2, {"STARTING": 1, "PROVISIONING": 1}),
        (2.0, 0, 2, 2, {"READY": 2, "PROVISIONING": 0}),
    ]
    assert measures.loads == [(3.0 * 1 + 2.0 * 2, 4.0)]


def test_each_decision_and_each_start_of_the_run_is_told_once():
    measures = Measures()
    levels = LiveLevels(measures, gpus=1)
    levels.begin(live(decisions=[decision(30, 0, 1)], starts=[start("old")]))
    first = [decision(31.0, 0, 1), decision(0.4, 1, 2)]
    levels.see(1.0, live(decisions=first, starts=[start("old"), start("new", 3.0)]))
    # An answer that was long on its way: what is known looks as if it were newer.
    second = [decision(31.0, 0, 1), decision(0.4, 1, 2), decision(0.1, 2, 1)]
    starts = [start("old"), start("new", 3.0), start("bad", 1.0, "failed")]
    levels.see(1.5, live(decisions=second, starts=starts))
    assert measures.decisions == [(0.6, 1, 2, "load"), (1.4, 2, 1, "load")]
    assert measures.starts == [(3.0, False), (1.0, True)]


def test_decisions_of_which_the_oldest_were_dropped_are_told_once():
    measures = Measures()
    levels = LiveLevels(measures, gpus=1)
    levels.begin(live())
    course = [decision(10 - at, at, at + 1) for at in range(10)]
    levels.see(10.0, live(decisions=course[:5]))
    levels.see(10.0, live(decisions=course[2:8]))
    levels.see(10.0, live(decisions=course[4:]))
    assert [before for _, before, *_ in measures.decisions] == list(range(10))


def test_a_queue_that_was_restarted_begins_anew():
    measures = Measures()
    levels = LiveLevels(measures, gpus=1)
    levels.begin(live(decisions=[decision(9, 0, 1), decision(8, 1, 2)]))
    levels.see(1.0, live(decisions=[decision(0.5, 0, 2)]))
    assert measures.decisions == [(0.5, 0, 2, "load")]


def test_a_sampler_goes_on_through_questions_without_an_answer():
    async def sampled() -> tuple[Sampler, Measures]:
        loop = asyncio.get_running_loop()
        measures = Measures()
        asked = 0

        async def ask() -> dict[str, Any]:
            nonlocal asked
            asked += 1
            if asked == 2:
                raise CallError("503: the queue does not answer", status=503)
            if asked == 3:
                await asyncio.sleep(1000)
            return live(waiting=asked)

        sampler = Sampler(ask, LiveLevels(measures, 1), loop.time, PERIOD_S)
        task = asyncio.create_task(sampler.run())
        await asyncio.sleep(6.1)
        task.cancel()
        return sampler, measures

    sampler, measures = run(sampled())
    # The third is given up after 5 s, and those after it do not hurry to catch up.
    assert [now for now, *_ in measures.samples] == pytest.approx([0.25, 5.75, 6.0])
    assert [waiting for _, waiting, *_ in measures.samples] == [1, 4, 5]
    assert (sampler.missed, sampler.asked) == (2, 5)


@pytest.mark.parametrize(("environments", "seconds"), [(1, 0.25), (5, 0.25), (10, 0.5), (100, 5.0)])
def test_many_environments_are_asked_less_often_each(environments, seconds):
    assert period_s(environments) == seconds

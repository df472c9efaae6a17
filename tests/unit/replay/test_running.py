"""Whole replays against a real router; all waits are for what happens, none for a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.replay.errors import ReplayError
from orchestrator.replay.planned import Traffic
from orchestrator.replay.running import Replay
from orchestrator.replay.target import Target, place_of
from orchestrator.replay.targets import Live
from orchestrator.replay.template import DEFAULT, Template
from orchestrator.reports.report import LIVE
from orchestrator.simulator.compiling import scenario
from orchestrator.simulator.experiment import Experiment
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.errors import TrafficError
from tests.unit.replay.conftest import KEY, WATCHES_NOT, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.replay.planned import Planned
    from orchestrator.reports.measures import Ended
    from orchestrator.reports.report import EnvironmentReport
    from tests.unit.replay.conftest import Cluster

NEVER, BREAKS_OFF = -1.0, -2.0


def live(
    arrivals: Iterable[Arrival], seconds: float = 0.0, *, model: str = "echo", **given: Any
) -> Live:
    """An environment to be replayed; `given` are further settings of it."""
    settings = {
        "name": "a-test",
        "environments": {
            "echo": {
                "arrivals": {"step": {"steps": [{"rate": 1, "seconds": 1}]}},
                "service": {"fixed": 1},
                "concurrency": 4,
                **given,
            }
        },
    }
    experiment = Experiment.model_validate(settings)
    [simulated] = scenario(experiment, 1, folder=Path()).environments
    traffic = Traffic(
        iter(arrivals), lambda _: seconds, simulated.callers.deadline, Template(DEFAULT)
    )
    place = place_of(model, Target())
    return Live(place, traffic, simulated, experiment.environments["echo"])


class Kept:
    """Each request that ended, with what was planned."""

    def __init__(self) -> None:
        self.ended: list[tuple[Planned, Ended]] = []

    def __call__(self, planned: Planned, ended: Ended) -> None:
        self.ended.append((planned, ended))


def replay_of(cluster: Cluster, target: Live, **options: Any) -> Replay:
    return Replay([target], cluster.url, options.pop("key", KEY), **options)


async def replayed(cluster: Cluster, target: Live, **options: Any) -> EnvironmentReport:
    report = await replay_of(cluster, target, **options).run()
    assert report.kind == LIVE
    return report.environments["echo"]


async def test_every_request_is_answered_and_told_of(cluster: Cluster):
    cluster.start_replica()
    kept = Kept()
    times = [0.0, 0.01, 0.01, 0.05]
    found = await replayed(cluster, live(map(Arrival, times), 0.02), on_ended=kept)
    assert found.outcomes == {"answered": 4}
    assert (found.arrived, found.cold, found.retried) == (4, 0, 0)
    assert found.latency.min >= 0.02
    assert found.little is not None
    for planned, ended in kept.ended:
        assert ended.latency_s == pytest.approx(ended.at - planned.at)
        assert 0.02 <= ended.service_s <= ended.latency_s
        assert ended.first_byte_s <= ended.latency_s
        assert (ended.wait_s, ended.attempts) == (0.0, 1)
    assert cluster.bodies == [{"service_seconds": 0.02}] * 4


async def test_those_who_wait_for_a_start_are_cold_and_know_how_long_they_waited(cluster: Cluster):
    kept = Kept()
    target = live(map(Arrival, [0.0, 0.0]), 0.0)
    replaying = asyncio.create_task(replayed(cluster, target, on_ended=kept))
    await cluster.line.until(lambda: cluster.line.waiters == 2)
    await asyncio.sleep(0.01)  # the header tells whole milliseconds
    cluster.start_replica()
    found = await replaying
    assert (found.outcomes, found.cold) == ({"answered": 2}, 2)
    assert all(0.01 <= ended.wait_s <= ended.latency_s for _, ended in kept.ended)


async def test_replicas_and_gpus_are_watched_meanwhile(cluster: Cluster):
    cluster.start_replica()
    report = await replay_of(cluster, live([Arrival(0.0)], 0.05)).run(gpus=2.0)
    found = report.environments["echo"]
    assert found.replica_seconds == pytest.approx({"READY": report.span_s})
    assert found.gpu_seconds == pytest.approx(report.span_s)
    assert report.pool.peak == 1.0
    assert report.pool.gpus == 2.0


async def test_a_run_lasts_as_long_as_the_experiment(cluster: Cluster):
    cluster.start_replica()
    target = live([Arrival(0.0), Arrival(0.2), Arrival(0.4), Arrival(0.5)])
    report = await replay_of(cluster, target, duration_s=0.3).run()
    assert report.whole.arrived == 2
    assert report.span_s >= 0.3


@pytest.mark.parametrize(("slots", "outcome"), [(0, "evicted_deadline"), (4, "failed_deadline")])
async def test_a_caller_gives_up_at_its_deadline(cluster: Cluster, slots: int, outcome: str):
    cluster.start_replica(slots)
    arrivals = [Arrival(0.0, deadline_s=0.5)]
    found = await replayed(cluster, live(arrivals, NEVER))
    assert found.outcomes == {outcome: 1}


async def test_a_caller_comes_back_after_it_was_turned_away(cluster: Cluster):
    cluster.line.rejects_on_full = True
    kept = Kept()
    target = live([Arrival(0.0)], callers={"retries": 2, "retry_after_seconds": {"fixed": 0.02}})
    found = await replayed(cluster, target, on_ended=kept)
    assert found.outcomes == {"rejected_no_free_slot": 1}
    assert len(cluster.line.asked) == 3
    [(_, ended)] = kept.ended
    assert ended.latency_s >= 0.04
    assert ended.service_s == 0.0


async def test_an_answer_that_breaks_off_is_none(cluster: Cluster):
    cluster.start_replica()
    found = await replayed(cluster, live([Arrival(0.0)], BREAKS_OFF))
    assert found.outcomes == {"failed_replica_lost": 1}


async def test_a_router_that_goes_away_is_told_as_such(cluster: Cluster):
    cluster.start_replica(slots=0)
    kept = Kept()
    target = live([Arrival(0.0)])
    replaying = asyncio.create_task(replayed(cluster, target, on_ended=kept))
    await cluster.line.until(lambda: cluster.line.waiters == 1)
    await cluster.line.close()
    found = await replaying
    assert found.outcomes == {"rejected_draining": 1}


async def test_requests_for_later_are_followed_to_their_ends(cluster: Cluster):
    kept = Kept()
    arrivals = [Arrival(0.0, asynchronous=True), Arrival(0.001, asynchronous=True)]
    replaying = asyncio.create_task(replayed(cluster, live(arrivals), on_ended=kept))
    first = await cluster.claim()
    await cluster.succeed(first, run_of(first))
    second = await cluster.claim()
    await cluster.fail(second, ErrorCode.MODEL_PREDICT_TIMEOUT)
    found = await replaying
    assert found.outcomes == {"answered": 1, "failed_timeout": 1}
    assert (found.asynchronous, found.cold) == (2, 1)
    by_outcome = {ended.outcome: ended for _, ended in kept.ended}
    told = by_outcome["answered"]
    assert (told.wait_s, told.service_s, told.attempts) == (3.0, 0.5, 1)
    untold = by_outcome["failed_timeout"]  # of its run nothing is kept
    assert (untold.wait_s, untold.service_s) == (untold.latency_s, 0.0)


async def test_a_request_for_later_is_cancelled_at_its_deadline(cluster: Cluster):
    arrivals = [Arrival(0.0, asynchronous=True, deadline_s=0.05)]
    found = await replayed(cluster, live(arrivals))
    assert found.outcomes == {"evicted_deadline": 1}


async def test_stopped_it_says_so_and_reports_what_was(cluster: Cluster):
    cluster.start_replica(slots=1)
    target = live([Arrival(0.0), Arrival(0.001), Arrival(1000.0)], NEVER)
    replay = replay_of(cluster, target)
    running = asyncio.create_task(replay.run())
    await cluster.line.until(lambda: cluster.line.waiters == 1)
    replay.stop()
    report = await running
    assert not report.valid
    assert "stopped after 2 requests, 2 of which had not ended" in report.reason
    assert (report.whole.arrived, report.whole.requests) == (2, 0)


async def test_a_trace_that_breaks_ends_the_replay_and_leaves_nothing_behind(cluster: Cluster):
    cluster.start_replica()

    def broken() -> Iterable[Arrival]:
        yield Arrival(0.0)
        raise TrafficError("trace.csv", 2, "is nonsense", "a number")

    with pytest.raises(TrafficError, match="nonsense"):
        await replayed(cluster, live(broken(), NEVER))


def _wrong_key(cluster: Cluster) -> Replay:
    return replay_of(cluster, live([]), key="all.wrong")


def _no_key(cluster: Cluster) -> Replay:
    return replay_of(cluster, live([]), key=None)


def _no_url(_cluster: Cluster) -> Replay:
    return Replay([live([])], "127.0.0.1:8000", None)


def _somebody_else(cluster: Cluster) -> Replay:
    """The replica's own address: it answers, and knows no environments."""
    return Replay([live([])], cluster.replica_url, None)


def _key_that_watches_not(cluster: Cluster) -> Replay:
    return replay_of(cluster, live([]), key=WATCHES_NOT, key_from="A_KEY")


def _unknown_model(cluster: Cluster) -> Replay:
    return replay_of(cluster, live([], model="ecco"))


def _nobody_there(_cluster: Cluster) -> Replay:
    return Replay([live([])], "http://127.0.0.1:1", None)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_wrong_key, "takes no key that is in ORCHESTRATOR_API_KEY, or there is none"),
        (_no_key, "takes no key that is in ORCHESTRATOR_API_KEY, or there is none"),
        (_no_url, "--target must be a URL as http://127.0.0.1:8000"),
        (_somebody_else, "what answers at --target is no such cluster"),
        (_key_that_watches_not, "the key out of A_KEY does not reach echo/production: .*manage"),
        (_unknown_model, r"ecco/production is not there: .*known: echo.*`target` names its model"),
        (_nobody_there, "cannot reach http://127.0.0.1:1.*is the cluster up"),
    ],
)
async def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(
    cluster: Cluster, make: Callable[[Cluster], Replay], words: str
):
    with pytest.raises(ReplayError, match=words):
        await make(cluster).check()


async def test_what_the_cluster_does_otherwise_is_noted(cluster: Cluster):
    cluster.start_replica()
    target = live([], concurrency=8, queue={"max_requests": 5})
    assert await replay_of(cluster, target).check() == [
        "echo/production: queue.max_requests is 10000 there and 5 here",
        "echo/production: concurrency is 4 there and 8 here",
    ]

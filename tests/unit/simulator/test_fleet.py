"""Replicas: when they start, drain, fail and die, and the GPUs that they share."""

from __future__ import annotations

import pytest

from orchestrator.lifecycle.replica import Stage
from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator.scenes import Fixed, each, environment, play, starting

NOW_AND_THEN = {"min_replica": 0, "window_s": 1.0, "scale_down_delay_s": 5.0}


def test_the_last_replica_goes_after_the_window_and_the_delay():
    recorder = play(
        environment([10.0], service=Fixed(1.0), max_replica=1, **NOW_AND_THEN), duration_s=60.0
    )
    (up, down) = recorder.only.decisions
    assert up == (10.0, 0, 1)
    # It ends at 11.05, which the queue hears within 0.2 s. What it hears is an average over the
    # second since the last exchange, and holds for as long. Then come the window and the delay.
    assert down[1:] == (1, 0)
    assert 17.05 + 1.0 <= down[0] <= 17.05 + 1.0 + 0.2 + 0.1
    assert recorder.only.seconds(Stage.READY) == pytest.approx(down[0] + 0.05 - 10.05)
    freed_at, in_use = recorder.gpus[-1]
    assert freed_at == pytest.approx(down[0] + 0.05)
    assert in_use == 0.0


def test_draining_never_cuts_a_request():
    # Two come at once and start two replicas; one of them runs for long.
    recorder = play(
        environment(
            [Arrival(10.0, service_s=1.0), Arrival(10.0, service_s=30.0)],
            max_replica=2,
            max_scale_down_rate=1.0,
            **NOW_AND_THEN,
        ),
        duration_s=60.0,
    )
    assert [request.outcome for request in recorder.ended] == ["answered"] * 2
    assert recorder.ended[-1].service_s == pytest.approx(30.0)
    # The newest has the long one, and is the one to go.
    drained = recorder.only.seconds(Stage.DRAINING)
    fewer = next(at for at, before, desired in recorder.only.decisions if desired < before)
    needed = recorder.ended[-1].at - (fewer + 0.05)
    assert needed > 20.0
    assert needed - 1e-9 <= drained <= needed + 0.1 + 1e-9


@pytest.mark.parametrize("loading", [each(1000.0, 0.0), each(0.0, 1000.0)], ids=["old", "new"])
def test_a_replica_that_starts_up_is_called_off_before_one_that_is_ready(loading):
    starts = starting()
    starts.stages = dict(starts.stages) | {Stage.LOADING: loading}
    recorder = play(
        environment(
            [Arrival(10.0, service_s=2.0), Arrival(10.0, service_s=2.0)],
            max_replica=2,
            max_scale_down_rate=1.0,
            starts=starts,
            **NOW_AND_THEN,
        ),
        duration_s=100.0,
    )
    assert [request.outcome for request in recorder.ended] == ["answered"] * 2
    fewer = next(
        at for at, before, desired in recorder.only.decisions if (before, desired) == (2, 1)
    )
    stages = next(stages for now, *_, stages in recorder.only.levels if now > fewer)
    assert stages == {Stage.READY: 1}
    assert recorder.only.seconds(Stage.DRAINING) == 0.0
    assert recorder.gpus[-1][1] == 0.0


def test_one_that_waits_for_a_gpu_is_called_off_without_a_trace():
    recorder = play(
        environment([10.0], max_replica=1, name="a.b", service=Fixed(200.0), **NOW_AND_THEN),
        environment([Arrival(20.0, deadline_s=3.0)], max_replica=1, name="c.d", **NOW_AND_THEN),
        gpus=1,
        duration_s=100.0,
    )
    waiting = recorder.of["c.d"]
    (request,) = waiting.all
    assert (request.outcome, request.cold) == ("evicted_deadline", True)
    assert [stage for stage, _ in waiting.stage_seconds] == [Stage.PROVISIONING]
    assert not waiting.starts
    assert recorder.gpus[:1] == [(10.05, 1.0)]


def test_an_environment_waits_for_the_gpu_of_another():
    recorder = play(
        environment([10.0], name="a.b", max_replica=1, **NOW_AND_THEN),
        environment(
            [12.0], name="c.d", max_replica=1, starts=starting(loading=2.0), **NOW_AND_THEN
        ),
        gpus=1,
        duration_s=60.0,
    )
    freed = next(at for at, in_use in recorder.gpus if in_use == 0.0)
    (late,) = recorder.of["c.d"].all
    assert late.cold
    assert late.at == pytest.approx(freed + 2.0 + 1.0)
    assert recorder.of["c.d"].seconds(Stage.PROVISIONING) == pytest.approx(freed - 12.05)
    assert max(in_use for _, in_use in recorder.gpus) == 1.0


def test_a_start_that_fails_is_tried_again_after_its_backoff():
    recorder = play(
        environment(
            [10.0],
            max_replica=1,
            starts=starting(loading=1.0, warming=0.5, fails=[True]),
            backoff_initial_s=3.0,
            **NOW_AND_THEN,
        )
    )
    (request,) = recorder.ended
    # Failed at 11.05, gone at 14.05, and the next is started by the controller's loop.
    assert request.outcome == "answered"
    assert 15.55 <= request.at - 1.0 <= 15.65 + 1e-9
    assert [failed for _, failed in recorder.only.starts] == [True, False]
    assert recorder.only.seconds(Stage.FAILED) == pytest.approx(3.0)


def test_an_environment_whose_starts_all_fail_turns_its_callers_away():
    recorder = play(
        environment(
            [10.0, 20.0],
            max_replica=1,
            starts=starting(loading=1.0, fails=[True] * 20),
            attempts=2,
            backoff_initial_s=0.5,
            backoff_max_s=60.0,
            **NOW_AND_THEN,
        )
    )
    assert [request.outcome for request in recorder.ended] == ["evicted_unhealthy"] * 2
    waited, at_once = recorder.ended
    assert waited.latency_s > 2.0
    assert at_once.latency_s == 0.0
    assert len(recorder.only.starts) == 2


def test_a_replica_that_dies_is_replaced():
    recorder = play(
        environment([], lifetime=each(5.0, 5.0), starts=starting(loading=1.0)), duration_s=10.0
    )
    assert [failed for _, failed in recorder.only.starts] == [False, False]
    ready = recorder.only.seconds(Stage.READY)
    assert ready == pytest.approx(10.0 - 1.05 - 1.0, abs=0.1 + 1e-9)


def test_a_replica_that_dies_while_it_drains_is_not_replaced():
    recorder = play(
        environment(
            [Arrival(10.0, service_s=50.0), Arrival(10.0, service_s=1.0)],
            max_replica=2,
            max_scale_down_rate=1.0,
            lifetime=each(1e9, 15.0),
            **NOW_AND_THEN,
        ),
        duration_s=100.0,
    )
    assert len(recorder.only.starts) == 2


def test_replicas_that_stay_are_never_suspected():
    # A day and a half of nothing, then a request that finds its replica at once.
    recorder = play(environment([5000.0], min_replica=2, max_replica=2))
    (request,) = recorder.ended
    assert (request.wait_s, request.cold) == (0.0, False)
    assert recorder.only.seconds(Stage.READY) == pytest.approx(2 * (5001.0 - 0.05))


def test_the_load_starts_as_many_replicas_as_it_fills():
    arrivals = [10.0 + n / 5 for n in range(600)]
    recorder = play(
        environment(
            arrivals,
            service=Fixed(0.95),
            min_replica=0,
            max_replica=20,
            window_s=5.0,
            scale_down_delay_s=5.0,
        )
    )
    # Five a second for not quite a second each, once the first line is gone.
    assert recorder.only.levels[-1][3] == 5

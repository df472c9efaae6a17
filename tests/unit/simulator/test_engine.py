"""Timelines that were worked out by hand, and what holds for every simulation.

A decision reaches the replicas halfway between two ticks, at 0.05 s, 0.15 s, …: a
replica that takes no time to start and is wanted from the beginning is ready at 0.05 s.
"""

from __future__ import annotations

import random

import pytest

from orchestrator.lifecycle.replica import Stage
from orchestrator.simulator.environment import Environment
from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator.scenes import Fixed, Recorder, each, environment, play, starting


def test_requests_are_served_in_the_order_in_which_they_came():
    ended = play(environment([10.0, 10.2, 10.4], service=Fixed(1.0))).ended
    assert [request.at for request in ended] == [11.0, 12.0, 13.0]
    assert [request.wait_s for request in ended] == pytest.approx([0.0, 0.8, 1.6])
    assert [request.latency_s for request in ended] == pytest.approx([1.0, 1.8, 2.6])
    assert [request.service_s for request in ended] == [1.0, 1.0, 1.0]
    assert {request.outcome for request in ended} == {"answered"}
    assert not any(request.cold for request in ended)


def test_as_many_run_at_once_as_there_are_slots():
    ended = play(environment([10.0, 10.1, 10.2, 10.3], slots=2, service=Fixed(1.0))).ended
    assert [request.at for request in ended] == pytest.approx([11.0, 11.1, 12.0, 12.1])


def test_an_end_at_the_moment_of_an_arrival_makes_room_for_it():
    recorder = play(environment([10.0, 11.0, 12.0], service=Fixed(1.0)))
    assert [request.wait_s for request in recorder.ended] == [0.0, 0.0, 0.0]


def test_requests_of_several_routers_are_served_in_order_too():
    arrivals = [10.0 + n / 100 for n in range(100)]
    ended = play(environment(arrivals, routers=3, service=Fixed(0.5))).ended
    assert [request.at for request in ended] == sorted(request.at for request in ended)
    came = [request.at - request.latency_s for request in ended]
    assert came == pytest.approx(arrivals)
    assert ended[-1].at == pytest.approx(60.0)


def test_a_permit_that_lies_idle_at_one_router_goes_to_another_at_once():
    ended = play(environment([10.0, 11.03], routers=2, service=Fixed(1.0))).ended
    assert [request.wait_s for request in ended] == [0.0, 0.0]


def test_a_cold_start_goes_through_its_stages_to_the_millisecond():
    starts = starting(provisioning=1.0, starting=0.5, loading=2.25, warming=0.25)
    recorder = play(environment([10.012], min_replica=0, max_replica=1, starts=starts))
    (request,) = recorder.ended
    assert request.cold
    # Wanted at once, seen by the controller at 10.05, ready 4 s later.
    assert request.wait_s == pytest.approx(14.05 - 10.012, abs=1e-9)
    assert request.at == pytest.approx(15.05, abs=1e-9)
    ((stages, failed),) = recorder.only.starts
    assert not failed
    # The queue counts from when it wanted the replica.
    assert stages[Stage.PROVISIONING] == pytest.approx(11.05 - 10.012, abs=1e-9)
    assert stages[Stage.STARTING] == pytest.approx(0.5)
    assert stages[Stage.LOADING] == pytest.approx(2.25)
    assert stages[Stage.WARMING] == pytest.approx(0.25)
    assert recorder.only.seconds(Stage.LOADING) == pytest.approx(2.25)
    assert recorder.only.seconds(Stage.READY) == pytest.approx(1.0)


def test_a_first_byte_comes_before_the_end():
    (request,) = play(environment([10.0], service=Fixed(2.0, first_s=0.5))).ended
    assert request.first_byte_s == pytest.approx(0.5)
    assert request.latency_s == pytest.approx(2.0)


def test_overhead_adds_to_the_latency_and_that_of_the_slot_to_the_wait_of_the_next():
    more = {"overhead_s": 0.25, "slot_overhead_s": 0.125}
    first, second = play(environment([10.0, 10.0], service=Fixed(1.0, first_s=0.5), **more)).ended
    assert first.service_s == second.service_s == 1.125
    assert second.wait_s == pytest.approx(1.125)
    assert first.latency_s == pytest.approx(1.375)
    assert second.latency_s == pytest.approx(2.5)
    assert first.first_byte_s == pytest.approx(0.875)
    assert (first.at, second.at) == pytest.approx((11.375, 12.5))


def test_the_same_scenario_gives_the_same_result_to_the_last_bit():
    def once() -> Recorder:
        rng = random.Random(7)
        at, arrivals = 0.0, []
        for _ in range(400):
            at += rng.expovariate(2.0)
            arrivals.append(Arrival(at, service_s=rng.expovariate(1.0), deadline_s=8.0))
        return play(
            environment(
                arrivals,
                min_replica=0,
                max_replica=4,
                window_s=5.0,
                scale_down_delay_s=5.0,
                routers=2,
                starts=starting(loading=3.0),
                lifetime=each(20.0, 30.0, then=40.0),
            ),
            gpus=3,
        )

    first, second = once(), once()
    assert first.ended == second.ended
    assert first.only.decisions == second.only.decisions
    assert first.only.stage_seconds == second.only.stage_seconds
    assert first.gpus == second.gpus
    assert first.summary.events == second.summary.events


def test_no_request_arrives_after_the_duration_and_replicas_count_to_its_end():
    recorder = play(environment([10.0, 19.5, 20.5], service=Fixed(1.0)), duration_s=20.0)
    assert recorder.summary.requests == 2
    assert recorder.summary.span_s == 20.5
    assert [request.at for request in recorder.ended] == [11.0, 20.5]
    recorder = play(environment([10.0], service=Fixed(1.0)), duration_s=60.0)
    assert recorder.summary.span_s == 60.0
    assert recorder.only.seconds(Stage.READY) == pytest.approx(60.0 - 0.05)


def test_without_requests_it_lasts_as_long_as_it_should():
    recorder = play(environment([]), duration_s=10.0)
    assert recorder.summary[0] == 10.0
    assert recorder.only.seconds(Stage.READY) == pytest.approx(9.95)
    assert play(environment([])).summary.span_s == 0.0


def test_one_whose_requests_can_never_be_served_ends_when_they_have_waited_long_enough():
    recorder = play(environment([10.0, 20.0], min_replica=0, max_replica=0, park_s=30.0))
    assert [request.outcome for request in recorder.ended] == ["evicted_park_timeout"] * 2
    assert [request.at for request in recorder.ended] == [40.0, 50.0]


def test_littles_law_holds_over_a_whole_run():
    rng = random.Random(3)
    at, arrivals = 0.0, []
    for _ in range(500):
        at += rng.expovariate(0.8)
        arrivals.append(
            Arrival(at, service_s=rng.expovariate(1.0), asynchronous=rng.random() < 0.3)
        )
    recorder = play(environment(arrivals, routers=2))
    assert recorder.only.load_s == pytest.approx(sum(r.latency_s for r in recorder.ended))


def test_a_scenario_needs_an_environment():
    with pytest.raises(ValueError, match="at least one environment"):
        play()


def test_two_environments_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two environments are called 'a\.b'"):
        play(environment([], name="a.b"), environment([], name="a.b"))


def test_a_replica_larger_than_the_pool_is_refused():
    with pytest.raises(ValueError, match=r"one replica takes 4 GPUs, and there are 2"):
        play(environment([], gpus=4.0), gpus=2.0)


@pytest.mark.parametrize("second", [9.0, float("nan")])
def test_arrivals_out_of_order_are_refused(second):
    with pytest.raises(ValueError, match=r"arrival 2 comes at (9|nan) s, before 10 s"):
        play(environment([10.0, second]))


@pytest.mark.parametrize("policy", ["concurrency", "panic"])
@pytest.mark.parametrize(("window_s", "delay_s"), [(6.0, 10.0), (0.5, 0.0)])
def test_an_empty_environment_rests_without_a_difference(monkeypatch, policy, window_s, delay_s):
    rng = random.Random(11)
    at, arrivals = 0.0, []
    for _ in range(60):
        # Some of them in the middle of a scale-down, some long after the last replica.
        at += rng.choice([0.2, 3.0, 12.0, 40.0, 120.0, 120.1])
        arrivals += [Arrival(at, service_s=rng.expovariate(1.0)) for _ in range(rng.choice([1, 4]))]

    def once() -> Recorder:
        return play(
            environment(
                arrivals,
                min_replica=0,
                max_replica=3,
                window_s=window_s,
                scale_down_delay_s=delay_s,
                policies=({"name": policy},),
                starts=starting(loading=2.0),
            ),
            duration_s=at + 100.0,
        )

    rested = once()
    monkeypatch.setattr(Environment, "_is_empty", lambda self: False)
    awake = once()
    assert rested.ended == awake.ended
    assert rested.only.decisions == awake.only.decisions
    assert rested.only.stage_seconds == awake.only.stage_seconds
    assert rested.summary.events < awake.summary.events / 2

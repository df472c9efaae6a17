"""What holds for every simulation, whatever comes and whatever fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.request import Outcome
from orchestrator.simulator.calls import Calls
from orchestrator.simulator.scenario import Callers
from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator.scenes import Fixed, Recorder, Sharing, each, environment, play, starting

if TYPE_CHECKING:
    from orchestrator.lifecycle.holder import Permit
    from orchestrator.simulator.request import Request
    from orchestrator.simulator.scenario import SimulatedEnvironment

# A grid of a tenth of a second: ties, also with ticks, are what goes wrong.
tenths = st.integers(0, 400).map(lambda n: n / 10)
seconds = st.integers(0, 60).map(lambda n: n / 10)

arrivals = st.lists(
    st.builds(
        Arrival,
        at=tenths,
        prompt_tokens=st.integers(0, 6),
        service_s=seconds,
        deadline_s=st.none() | st.integers(1, 200).map(lambda n: n / 10),
        asynchronous=st.booleans(),
    ),
    max_size=40,
).map(lambda found: sorted(found, key=lambda arrival: arrival.at))


@st.composite
def environments(draw: st.DrawFn, name: str) -> SimulatedEnvironment:
    slots = draw(st.integers(1, 3))
    min_replica = draw(st.integers(0, 2))
    return environment(
        draw(arrivals),
        name=name,
        slots=slots,
        gpus=draw(st.sampled_from([0.5, 1.0, 2.0])),
        min_replica=min_replica,
        max_replica=draw(st.integers(min_replica, 4)),
        utilization=draw(st.sampled_from([0.5, 1.0])),
        window_s=draw(st.sampled_from([1.0, 10.0])),
        scale_down_delay_s=draw(st.sampled_from([0.0, 3.0])),
        max_scale_down_rate=draw(st.sampled_from([0.5, 1.0])),
        policy=draw(st.sampled_from(["queue_on_full", "reject_on_full"])),
        max_requests=draw(st.sampled_from([2, 1000])),
        async_share=draw(st.sampled_from([0.0, 0.3])),
        aging_s=draw(st.sampled_from([0.5, 60.0])),
        starts=starting(
            provisioning=draw(seconds),
            loading=draw(seconds),
            fails=draw(st.lists(st.booleans(), max_size=5)),
        ),
        lifetime=each(*draw(st.lists(seconds, max_size=6))),
        callers=Callers(retries=draw(st.integers(0, 2)), retry_after=each(then=0.3)),
        service=Sharing() if draw(st.booleans()) else Fixed(1.0, draw(st.none() | seconds)),
        routers=draw(st.integers(1, 3)),
        park_s=draw(st.sampled_from([5.0, 100.0])),
        predict_s=draw(st.sampled_from([2.0, 100.0])),
        slot_overhead_s=draw(st.sampled_from([0.0, 0.05])),
        attempts=2,
    )


def check(recorder: Recorder, arrived: dict[str, list[float]], gpus: float | None) -> None:
    for name, at in arrived.items():
        measures = recorder.of[name]
        assert len(measures.all) == len(at), "every request ends once"
        assert sorted(r.at - r.latency_s for r in measures.all) == pytest.approx(at)
        assert {r.outcome for r in measures.all} <= set(Outcome)
        for request in measures.all:
            assert 0.0 <= request.wait_s <= request.latency_s + 1e-9, request
            assert (request.attempts > 0) >= (request.outcome == "answered")
        in_line = sum(r.wait_s + r.service_s for r in measures.all if r.attempts <= 1)
        assert measures.load_s >= in_line - 1e-6
    assert all(0.0 <= in_use <= (gpus or 1e9) + 1e-9 for _, in_use in recorder.gpus)


@settings(max_examples=60, deadline=None)
@given(
    first=environments("a.b"),
    second=environments("c.d"),
    gpus=st.sampled_from([None, 2.0, 3.0]),
    duration_s=st.none() | st.just(30.0),
)
def test_every_request_ends_once_and_nothing_is_used_twice(first, second, gpus, duration_s):
    arrived: dict[str, list[float]] = {}
    for spec in (first, second):
        all_of_it = list(spec.arrivals)
        spec.arrivals = iter(all_of_it)
        arrived[spec.name] = [a.at for a in all_of_it if duration_s is None or a.at <= duration_s]
    run = Calls.run

    def watched(self: Calls, request: Request, permit: Permit) -> None:
        run(self, request, permit)
        replica = request.replica
        spec = first if replica.name.startswith("a.b") else second
        assert request in replica.running
        assert len(replica.running) <= spec.slots, "more run than there are slots"
        assert replica.stage in (Stage.READY, Stage.DRAINING)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Calls, "run", watched)
        recorder = play(first, second, gpus=gpus, duration_s=duration_s)
    check(recorder, arrived, gpus)

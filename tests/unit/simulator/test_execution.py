"""Requests that slow each other down, from their permits to their ends.

How a batch reckons is tested in `test_batch`; here it is a plain one, `scenes.Sharing`.
"""

from __future__ import annotations

import pytest

from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator.scenes import Sharing, each, end, ends, environment, play, starting


def work(at: float, seconds: int, deadline_s: float | None = None) -> Arrival:
    return Arrival(at, prompt_tokens=seconds, deadline_s=deadline_s)


def test_two_that_run_together_take_twice_as_long():
    ended = play(environment([work(10, 2), work(11, 2)], slots=2, service=Sharing())).ended
    # One second alone, two together for the rest of the first; then the second alone.
    assert [r.at for r in ended] == pytest.approx([13.0, 14.0])
    assert [r.first_byte_s for r in ended] == pytest.approx([0.5, 0.5])


def test_one_in_line_begins_when_another_has_ended():
    arrivals = [work(10, 2), work(10, 2), work(10, 1)]
    ended = play(environment(arrivals, slots=2, service=Sharing())).ended
    assert [r.at for r in ended] == pytest.approx([14.0, 14.0, 15.0])
    assert ended[-1].wait_s == pytest.approx(4.0)


def test_replicas_do_not_slow_each_other_down():
    arrivals = [work(10, 2), work(10, 2)]
    ended = play(environment(arrivals, min_replica=2, service=Sharing())).ended
    assert [r.at for r in ended] == pytest.approx([12.0, 12.0])


def test_one_that_is_cancelled_leaves_the_others_faster():
    arrivals = [work(10, 4), work(10, 4, deadline_s=2.0)]
    cancelled, answered = play(environment(arrivals, slots=2, service=Sharing())).ended
    assert end(cancelled) == ("failed_deadline", 12.0)
    assert end(answered) == ("answered", 15.0)


def test_one_that_runs_for_too_long_is_cut_and_the_limit_of_the_next_still_holds():
    arrivals = [work(10, 9), work(11, 9)]
    ended = play(environment(arrivals, slots=2, service=Sharing(), predict_s=3.0)).ended
    assert ends(ended) == [
        ("failed_timeout", 13.0),
        ("failed_timeout", 14.0),
    ]


def test_the_slots_overhead_passes_after_the_model_has_ended():
    arrivals = [work(10, 1), work(10, 1)]
    ended = play(environment(arrivals, service=Sharing(), slot_overhead_s=0.25)).ended
    assert [r.at for r in ended] == pytest.approx([11.25, 12.5])
    assert [r.service_s for r in ended] == pytest.approx([1.25, 1.25])


def test_those_of_a_replica_that_dies_run_on_another_from_the_beginning():
    arrivals = [work(10, 2), work(10, 2)]
    recorder = play(
        environment(arrivals, slots=2, service=Sharing(), lifetime=each(10.25), starts=starting())
    )
    # Dead at 10.3, before the first byte, and replaced within the controller's loop.
    assert [(r.outcome, r.attempts) for r in recorder.ended] == [("answered", 2)] * 2
    again = recorder.ended[0].at - 4.0
    assert 10.3 <= again <= 10.4 + 1e-9

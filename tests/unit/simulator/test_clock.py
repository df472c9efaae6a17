"""The virtual clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator.clock import Agenda, on_grid


def test_what_is_planned_happens_in_order_of_time_and_then_of_planning():
    agenda = Agenda()
    seen: list[tuple[float, str]] = []

    def note(what: str) -> None:
        seen.append((agenda.now, what))

    agenda.at(2.0, note, "late")
    agenda.at(1.0, note, "first of two")
    agenda.at(1.0, note, "second of two")
    agenda.run()
    assert seen == [(1.0, "first of two"), (1.0, "second of two"), (2.0, "late")]
    assert agenda.happened == 3


def test_an_action_may_plan_others_also_for_the_same_moment():
    agenda = Agenda()
    seen: list[float] = []

    def again(left: int) -> None:
        seen.append(agenda.now)
        if left:
            agenda.at(agenda.now, again, left - 1)

    agenda.at(5.0, again, 2)
    agenda.run()
    assert seen == [5.0, 5.0, 5.0]


def test_nothing_happens_after_the_end():
    agenda = Agenda()
    seen: list[float] = []
    agenda.at(3.0, lambda _: seen.append(agenda.now))
    agenda.at(1.0, agenda.end)
    agenda.run()
    assert not seen
    assert (agenda.now, agenda.happened) == (1.0, 1)


@pytest.mark.parametrize("when", [0.5, float("nan")])
def test_nothing_can_be_planned_for_the_past(when):
    agenda = Agenda()
    agenda.at(1.0, lambda _: agenda.at(when, agenda.end))
    with pytest.raises(ValueError, match=r"is not after 1\.0 s"):
        agenda.run()


@given(
    now=st.floats(0, 1e7),
    period=st.floats(1e-3, 1e3),
    phase=st.floats(0, 1),
)
def test_a_grid_point_is_the_first_that_is_not_before_now(now, period, phase):
    k, at = on_grid(now, period, phase * period)
    assert at == phase * period + k * period
    assert at >= now
    assert phase * period + (k - 1) * period < now

"""Who is next in a line: order, aging, places kept, deadlines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.line import SLACK, Line, Waiter


def parked(
    line: Line, arrived: float, *, deadline: float = math.inf, level: int = 0, size: int = 0
):
    waiter = Waiter(arrived, deadline, size, level)
    line.add(waiter)
    return waiter


def test_waiters_of_one_level_are_served_in_order_of_arrival():
    line = Line(aging_s=60)
    second, third, first = parked(line, 2.0), parked(line, 3.0), parked(line, 1.0)
    assert list(line) == [first, second, third]
    assert line.best() is first


def test_two_that_arrive_together_are_served_in_order_of_creation():
    line = Line(aging_s=60)
    first, second = Waiter(1.0, math.inf), Waiter(1.0, math.inf)
    line.add(second)
    line.add(first)
    assert list(line) == [first, second]


def test_a_waiter_of_a_lower_level_goes_before_those_that_come_a_minute_later():
    line = Line(aging_s=60)
    low = parked(line, 100.0, level=1)
    within = parked(line, 159.9)
    after = parked(line, 160.1)
    assert line.rank(low) == 160.0
    assert list(line) == [within, low, after]


def test_each_level_waits_one_aging_period_longer():
    line = Line(aging_s=10)
    assert [line.rank(Waiter(5.0, math.inf, level=level)) for level in range(4)] == [5, 15, 25, 35]


def test_a_waiter_that_is_put_back_gets_its_old_place():
    line = Line(aging_s=60)
    first, second = parked(line, 1.0), parked(line, 2.0)
    assert line.remove(first)
    parked(line, 0.5)
    line.add(first)
    assert [waiter.arrived for waiter in line] == [0.5, 1.0, 2.0]
    assert line.position(first) == 1
    assert line.position(second) == 2


def test_a_waiter_that_is_not_in_line_cannot_be_removed_or_placed():
    line = Line(aging_s=60)
    waiter = Waiter(1.0, math.inf)
    assert not line.remove(waiter)
    assert waiter not in line
    with pytest.raises(ValueError, match="not in line"):
        line.position(waiter)


def test_those_whose_deadline_has_come_leave_and_the_others_stay():
    line = Line(aging_s=60)
    late, soon = parked(line, 1.0, deadline=30.0), parked(line, 2.0, deadline=10.0)
    assert line.next_deadline() == 10.0
    assert line.expired(9.99) == []
    assert line.expired(10.0) == [soon]
    assert list(line) == [late]
    assert line.next_deadline() == 30.0
    assert line.expired(30.0) == [late]
    assert line.next_deadline() is None


def test_a_waiter_that_left_or_came_back_expires_at_most_once():
    line = Line(aging_s=60)
    gone, back = parked(line, 1.0, deadline=5.0), parked(line, 2.0, deadline=5.0)
    line.remove(gone)
    line.remove(back)
    line.add(back)
    assert line.expired(5.0) == [back]
    assert line.expired(6.0) == []


def test_bytes_are_those_of_the_waiters_in_line():
    line = Line(aging_s=60)
    first = parked(line, 1.0, size=100)
    parked(line, 2.0, size=20, deadline=3.0)
    assert line.bytes == 120
    line.remove(first)
    assert line.bytes == 20
    line.expired(3.0)
    assert line.bytes == 0


def test_the_first_n_are_the_best_n():
    line = Line(aging_s=60)
    waiters = [parked(line, float(i)) for i in range(5)]
    assert list(line.first(2)) == waiters[:2]
    assert list(line.first(9)) == waiters


def test_another_pace_of_aging_reorders_those_who_wait():
    line = Line(aging_s=60)
    low, high = parked(line, 0.0, level=1), parked(line, 30.0)
    assert list(line) == [high, low]
    line.reorder(10)
    assert list(line) == [low, high]
    assert line.position(high) == 1


def test_waiters_that_left_long_before_their_deadline_are_not_remembered():
    line = Line(aging_s=60)
    for i in range(10_000):
        line.remove(parked(line, float(i), deadline=1e9))
    assert len(line._deadlines) <= SLACK + 1
    stays = parked(line, 1.0, deadline=7.0)
    for i in range(1_000):
        line.remove(parked(line, float(i), deadline=1e9))
    assert line.expired(7.0) == [stays]


Step = st.tuples(
    st.sampled_from(["add", "remove", "put back", "expire", "reorder"]),
    st.integers(0, 20),
    st.integers(0, 3),
)


@given(steps=st.lists(Step, max_size=60))
def test_a_line_does_what_a_sorted_list_does(steps: list[tuple[str, int, int]]):
    line, model, gone = Line(aging_s=5), list[Waiter](), list[Waiter]()
    for what, number, level in steps:
        if what == "add":
            model.append(
                parked(line, float(number), deadline=number + 5.0, level=level, size=level)
            )
        elif what == "remove" and model:
            waiter = model.pop(number % len(model))
            assert line.remove(waiter)
            gone.append(waiter)
        elif what == "put back" and gone:
            waiter = gone.pop(number % len(gone))
            line.add(waiter)
            model.append(waiter)
        elif what == "expire":
            expired = [waiter for waiter in model if waiter.deadline <= number]
            model = [waiter for waiter in model if waiter.deadline > number]
            assert {w.number for w in line.expired(number)} == {w.number for w in expired}
        elif what == "reorder":
            line.reorder(float(level))
        model.sort(key=lambda w: (w.arrived + w.level * line.aging_s, w.number))
        assert list(line) == model
        assert [line.position(waiter) for waiter in model] == list(range(len(model)))
        assert line.bytes == sum(waiter.size for waiter in model)
        assert line.next_deadline() == min((w.deadline for w in model), default=None)

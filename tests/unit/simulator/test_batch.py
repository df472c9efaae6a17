"""Token batches: by hand, and against an integrator in small steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.simulator.batch import ROUNDING_S, TokenBatch, TokenBatches, TokenPace, further
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.errors import TrafficError

READS = TokenPace(first_s=1.0, first_per_prompt_s=0.01, first_per_running_s=0.5, token_s=0.1)
SHARES = TokenPace(token_s=1.0, token_per_running_s=0.5)
"""No time to read; a token a second alone, 0.5 s longer for each other that runs."""


def asks(prompt: int = 0, output: int = 1) -> Arrival:
    return Arrival(0.0, prompt, output)


def ends(batch: TokenBatch, until: float = math.inf) -> dict[int, float]:
    """When each of those that run ends if nothing else happens."""
    found: dict[int, float] = {}
    while (at := batch.next_end()) < until:
        for key in batch.ended(at):
            found[key] = at
    return found


def test_a_prompt_is_read_and_then_a_token_comes_each_tenth_of_a_second() -> None:
    batch = TokenBatch(READS)
    assert batch.begin(1, asks(prompt=200, output=11), 0.0) == 3.0
    assert batch.next_end() == pytest.approx(4.0)
    assert batch.ended(3.9) == []
    assert ends(batch) == {1: pytest.approx(4.0)}


def test_a_request_of_one_token_ends_with_it() -> None:
    batch = TokenBatch(READS)
    batch.begin(1, asks(prompt=100), 5.0)
    assert batch.next_end() == 7.0
    assert batch.ended(7.0) == [1]
    assert batch.next_end() == math.inf


def test_an_answer_without_tokens_ends_with_the_first_byte() -> None:
    assert further(asks(prompt=3, output=0)) == 0


def test_reading_takes_longer_for_each_that_runs_when_it_begins() -> None:
    batch = TokenBatch(READS)
    assert [batch.begin(key, asks(prompt=100, output=9), 0.0) for key in range(3)] == [
        2.0,
        2.5,
        3.0,
    ]


def test_two_that_write_share_the_replica_until_one_has_ended() -> None:
    batch = TokenBatch(SHARES)
    batch.begin(1, asks(output=11), 0.0)
    batch.begin(2, asks(output=5), 0.0)
    # Both write a token each 1.5 s until the second has its four; the first goes on with six.
    assert ends(batch) == {2: pytest.approx(6.0), 1: pytest.approx(12.0)}


def test_one_that_comes_within_a_token_slows_the_rest_of_that_token() -> None:
    batch = TokenBatch(SHARES)
    batch.begin(1, asks(output=3), 0.0)
    batch.begin(2, asks(output=2), 0.5)
    # 0.5 of the first token alone; the other's token takes 1.5 s, in which the first gets 1.
    # What is left of the first, 0.5 token, is written alone.
    assert ends(batch) == {2: pytest.approx(2.0), 1: pytest.approx(2.5)}


def test_one_that_reads_slows_those_that_write() -> None:
    batch = TokenBatch(TokenPace(first_s=10.0, token_s=1.0, token_per_running_s=1.0))
    batch.begin(1, asks(output=11), 0.0)
    batch.ended(10.0)
    batch.begin(2, asks(output=1), 14.0)
    # Four tokens alone, then one each 2 s: the other reads until 24.
    assert ends(batch) == {2: pytest.approx(24.0), 1: pytest.approx(25.0)}


def test_one_that_reads_and_has_little_to_write_may_end_before_one_that_writes() -> None:
    batch = TokenBatch(TokenPace(first_per_prompt_s=1.0, token_s=1.0))
    batch.begin(1, asks(prompt=1, output=101), 0.0)
    batch.begin(2, asks(prompt=3, output=3), 0.0)
    batch.begin(3, asks(prompt=4, output=1), 0.0)
    assert batch.next_end() == pytest.approx(4.0)
    assert ends(batch) == {3: 4.0, 2: pytest.approx(5.0), 1: pytest.approx(101.0)}


def test_those_that_end_together_are_told_together() -> None:
    batch = TokenBatch(SHARES)
    for key in (7, 8, 9):
        batch.begin(key, asks(output=3), 1.0)
    assert batch.next_end() == pytest.approx(5.0)
    assert batch.ended(batch.next_end()) == [7, 8, 9]


def test_one_that_leaves_while_writing_lets_the_others_speed_up() -> None:
    batch = TokenBatch(SHARES)
    batch.begin(1, asks(output=5), 0.0)
    batch.begin(2, asks(output=50), 0.0)
    batch.leave(2, 3.0)
    assert ends(batch) == {1: pytest.approx(5.0)}


def test_one_that_leaves_while_reading_is_never_heard_of_again() -> None:
    batch = TokenBatch(TokenPace(first_s=5.0, token_s=1.0, token_per_running_s=1.0))
    batch.begin(1, asks(output=2), 0.0)
    batch.begin(2, asks(output=2), 1.0)
    batch.leave(1, 2.0)
    assert ends(batch) == {2: pytest.approx(7.0)}


def test_one_that_leaves_at_the_moment_of_its_end_is_not_told_as_ended() -> None:
    batch = TokenBatch(SHARES)
    batch.begin(1, asks(output=3), 0.0)
    batch.leave(1, 2.0)
    assert batch.ended(2.0) == []
    assert batch.next_end() == math.inf


def test_a_key_may_come_back_after_it_has_left() -> None:
    batch = TokenBatch(SHARES)
    batch.begin(1, asks(output=3), 0.0)
    batch.begin(2, asks(output=21), 0.0)
    batch.leave(1, 1.5)
    batch.begin(1, asks(output=11), 1.5)
    assert ends(batch) == {1: pytest.approx(16.5), 2: pytest.approx(25.5)}


def test_ends_that_nobody_asked_for_in_time_have_freed_the_replica_when_they_were_due() -> None:
    batch = TokenBatch(SHARES)
    batch.begin(1, asks(output=5), 0.0)
    batch.begin(2, asks(output=11), 0.0)
    assert batch.ended(100.0) == [1, 2]
    batch.begin(3, asks(output=2), 100.0)
    batch.begin(4, asks(output=4), 100.0)
    assert batch.ended(101.5) == [3]
    assert batch.next_end() == pytest.approx(103.5)


def test_an_infinitely_fast_writer_ends_with_its_first_token() -> None:
    batch = TokenBatch(TokenPace(first_s=2.0))
    batch.begin(1, asks(output=100), 0.0)
    assert ends(batch) == {1: 2.0}


def test_the_same_key_cannot_run_twice() -> None:
    batch = TokenBatches(SHARES).batch()
    batch.begin(1, asks(output=2), 0.0)
    with pytest.raises(ValueError, match="request 1 runs already"):
        batch.begin(1, asks(output=2), 0.5)


def test_a_request_without_tokens_is_refused_with_the_way_out() -> None:
    with pytest.raises(TrafficError, match=r"at 7\.5 s has no tokens.*arrivals\.tokens"):
        TokenBatch(SHARES).begin(1, Arrival(7.5), 7.5)


# Against a plain integrator

Plan = list[tuple[float, Arrival, float]]
"""When each request starts, its tokens, and when it leaves at the latest."""


def integrated(pace: TokenPace, plan: Plan) -> dict[int, float]:
    """When each of a plan's requests ends: what is left of each is kept, step by step.

    A step lasts until the next thing happens to anybody.
    """
    unborn = {key: start for key, (start, _, _) in enumerate(plan)}
    reading: dict[int, float] = {}
    writing: dict[int, float] = {}
    found: dict[int, float] = {}
    now = 0.0
    while unborn or reading or writing:
        for key in [key for key, at in reading.items() if at <= now + ROUNDING_S]:
            del reading[key]
            writing[key] = float(further(plan[key][1]))
        gap = pace.gap(len(reading) + len(writing))
        for key in [key for key, left in writing.items() if left * gap <= ROUNDING_S]:
            del writing[key]
            found[key] = now
        for key in [key for key in (*reading, *writing) if plan[key][2] <= now]:
            reading.pop(key, None)
            writing.pop(key, None)
        # One at a time: one that takes no time has ended when the next begins.
        for key in [key for key, at in unborn.items() if at <= now][:1]:
            others = len(reading) + len(writing)
            reading[key] = unborn.pop(key) + pace.first(plan[key][1], others)
        gap = pace.gap(len(reading) + len(writing))
        following = [*unborn.values(), *reading.values()]
        following += [plan[key][2] for key in (*reading, *writing)]
        following += [now + left * gap for left in writing.values()]
        then = max(min(following, default=now), now)
        writing = {key: left - (then - now) / gap for key, left in writing.items()}
        now = then
    return found


def lived(pace: TokenPace, plan: Plan) -> dict[int, float]:
    """The same by a batch, asked only at its own events."""
    batch = TokenBatch(pace)
    found: dict[int, float] = {}
    acts = sorted(
        [(start, 0, key) for key, (start, _, _) in enumerate(plan)]
        + [(leaves, 1, key) for key, (_, _, leaves) in enumerate(plan) if leaves < math.inf]
    )
    for at, leaving, key in acts:
        found.update(ends(batch, at))
        if not leaving:
            batch.begin(key, plan[key][1], at)
        elif key not in found:
            batch.leave(key, at)
    found.update(ends(batch))
    return found


grid = st.integers(0, 640).map(lambda steps: steps / 64)
tokens = st.builds(asks, prompt=st.integers(1, 40), output=st.integers(0, 30))
requests = st.tuples(grid, tokens, st.just(math.inf))
coarse = st.sampled_from([0.0, 0.05, 0.125, 0.5])
paces = st.builds(
    TokenPace,
    first_s=coarse,
    first_per_prompt_s=coarse,
    first_per_running_s=coarse,
    token_s=st.sampled_from([0.05, 0.125, 0.5]),
    token_per_running_s=coarse,
)


@settings(max_examples=200, deadline=None)
@given(
    pace=paces,
    plan=st.lists(requests, min_size=1, max_size=12),
    # Never just when it ends, where either may come first.
    leaving=st.lists(grid.map(lambda seconds: seconds + 0.00123457), max_size=6),
)
def test_any_batch_is_as_an_integrator_has_it(
    pace: TokenPace, plan: Plan, leaving: list[float]
) -> None:
    for key, after in enumerate(leaving[: len(plan)]):
        start, arrival, _ = plan[key]
        plan[key] = (start, arrival, start + after)
    exact, stepped = lived(pace, plan), integrated(pace, plan)
    assert exact == {key: pytest.approx(at, abs=1e-6) for key, at in stepped.items()}


@settings(max_examples=100, deadline=None)
@given(plan=st.lists(requests, min_size=1, max_size=30), probes=st.lists(grid, max_size=10))
def test_asking_in_between_changes_nothing_and_every_request_ends_once(
    plan: Plan, probes: list[float]
) -> None:
    pace = TokenPace(0.1, 0.01, 0.02, 0.03, 0.004)
    undisturbed = lived(pace, plan)
    assert undisturbed.keys() == set(range(len(plan)))
    batch = TokenBatch(pace)
    found: dict[int, float] = {}
    acts = [(start, key) for key, (start, _, _) in enumerate(plan)] + [(at, -1) for at in probes]
    for at, key in sorted(acts, key=lambda act: act[0]):
        found.update(ends(batch, at))
        if key >= 0:
            batch.begin(key, plan[key][1], at)
        else:
            found.update(dict.fromkeys(batch.ended(at), at))
    found.update(ends(batch))
    assert found == {key: pytest.approx(at, abs=1e-6) for key, at in undisturbed.items()}

"""Which replica a permit is for."""

from __future__ import annotations

import pytest

from orchestrator.lifecycle.choice import Candidate, choose


def replicas(*out: int, slots: int = 10) -> list[Candidate]:
    """Replicas r0, r1, …, oldest first, with so many permits out."""
    return [Candidate(f"r{i}", n, slots) for i, n in enumerate(out)]


@pytest.mark.parametrize(
    ("scenario", "out", "chosen"),
    [
        ("all empty: the oldest", (0, 0, 0), "r0"),
        ("one begun: it is filled", (0, 3, 0), "r1"),
        ("two begun alike: the older", (0, 3, 3), "r1"),
        ("the first reaches 70 %: it is still packed", (6, 0), "r0"),
        ("the first is at 70 %: the next", (7, 0), "r1"),
        ("all at 70 % or above: the least utilised", (9, 8, 7), "r2"),
        ("all alike above 70 %: the oldest", (8, 8), "r0"),
        ("one has room", (10, 10, 9), "r2"),
        ("none has room", (10, 10), None),
        ("more out than slots, as after a restart", (12, 9), "r1"),
        ("no replicas", (), None),
    ],
)
def test_packed_up_to_the_target_and_levelled_above_it(
    scenario: str, out: tuple[int, ...], chosen: str | None
):
    found = choose(replicas(*out), 0.7)
    assert (found.replica_id if found else None) == chosen, scenario


def test_replicas_of_one_slot_are_used_oldest_first():
    assert choose(replicas(0, 0, slots=1), 0.7) == Candidate("r0", 0, 1)
    assert choose(replicas(1, 0, slots=1), 0.7) == Candidate("r1", 0, 1)


def test_utilisation_counts_and_not_the_number_of_permits():
    candidates = [Candidate("small", 3, 4), Candidate("large", 20, 40)]
    assert choose(candidates, 0.1) == candidates[1]


def test_a_share_that_is_a_whole_number_of_slots_is_not_lost_to_rounding():
    assert choose(replicas(28, 0, slots=100), 0.29) == Candidate("r0", 28, 100)


def test_the_preferred_replica_is_taken_while_it_has_room():
    assert choose(replicas(5, 9), 0.7, prefer="r1") == Candidate("r1", 9, 10)
    assert choose(replicas(5, 10), 0.7, prefer="r1") == Candidate("r0", 5, 10)
    assert choose(replicas(5, 9), 0.7, prefer="gone") == Candidate("r0", 5, 10)


def test_a_replica_to_be_avoided_is_not_taken_though_the_others_are_full():
    assert choose(replicas(0, 10), 0.7, avoid={"r0"}) is None
    assert choose(replicas(0, 9), 0.7, avoid={"r0"}) == Candidate("r1", 9, 10)


def test_where_all_are_to_be_avoided_they_are_used_all_the_same():
    assert choose(replicas(0, 2), 0.7, avoid={"r0", "r1"}) == Candidate("r1", 2, 10)


def test_avoiding_wins_over_preferring():
    assert choose(replicas(0, 0), 0.7, avoid={"r1"}, prefer="r1") == Candidate("r0", 0, 10)

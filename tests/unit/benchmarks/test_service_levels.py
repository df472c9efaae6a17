"""When a service level holds, is missed, or cannot be judged."""

import pytest

from tests.benchmarks.service_levels import missed, verdicts
from tests.benchmarks.suite import ECHO, OURS, Case
from tests.benchmarks.summary import summarise
from tests.unit.benchmarks.figures import run, runs


def missed_statements(changes: dict[Case, tuple[float, float]] | None = None) -> list[str]:
    return [level.statement for level in missed(verdicts(summarise(runs(changes))))]


def test_good_figures_miss_nothing():
    assert missed_statements() == []


@pytest.mark.parametrize(
    ("case", "just_enough", "just_missed", "statement"),
    [
        (Case(OURS, ECHO, 1), (1700, 0.7), (1700, 0.701), "p50 at 1 connection, times LitServe's"),
        (
            Case("litserve", ECHO, 16),
            (2000, 10),
            (2001, 10),
            "throughput at 16 connections, times LitServe's",
        ),
        (
            Case("ray_serve", ECHO, 16),
            (200, 110),
            (201, 110),
            "throughput at 16 connections, times Ray Serve's",
        ),
        (
            Case(OURS, "slots16-10ms", 64),
            (1080, 50),
            (1079, 50),
            "throughput of 64 connections on 16 slots of 10 ms, against 16 connections on them",
        ),
        (
            Case(OURS, "slots4", 64),
            (2700, 22),
            (2699, 22),
            "throughput of 64 connections on 4 slots of no work, against 64 slots",
        ),
        (
            Case(OURS, "slots4", 16),
            (2700, 5),
            (2699, 5),
            "throughput of 16 connections on 4 slots of no work, against 64 slots",
        ),
    ],
)
def test_bound_itself_holds_and_a_little_worse_is_missed(case, just_enough, just_missed, statement):
    assert missed_statements({case: just_enough}) == []
    assert missed_statements({case: just_missed}) == [statement]


def test_one_failed_request_anywhere_is_a_miss():
    seen = [*runs(), run(Case("bentoml", ECHO, 64), 100, errors=1)]

    (level,) = missed(verdicts(summarise(seen)))

    assert level.statement == "cases with a failed request"
    assert level.measured == 1


def test_without_the_peers_nothing_is_judged_and_nothing_missed():
    levels = verdicts(summarise([run(Case(OURS, ECHO, 1), 100)]))

    assert missed(levels) == []
    assert [level.holds for level in levels] == [None] * 6 + [True]


def test_nothing_measured_is_not_a_success():
    assert {level.holds for level in verdicts({})} == {None}

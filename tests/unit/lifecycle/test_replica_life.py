"""A replica's life, and what the pool makes of what replicas report."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from orchestrator.lifecycle.chronicle import KEPT, Missing
from orchestrator.lifecycle.replica import TRANSITIONS, ReplicaReport, Stage, may_follow
from orchestrator.lifecycle.replica_pool import (
    GONE_AFTER_S,
    GONE_IN_STARTUP_AFTER_S,
    SETTLE_S,
    SUSPECT_AFTER_S,
    ReplicaPool,
)
from orchestrator.lifecycle.settings import StartupSettings

LIFE = (
    Stage.PROVISIONING,
    Stage.STARTING,
    Stage.LOADING,
    Stage.WARMING,
    Stage.READY,
    Stage.DRAINING,
    Stage.STOPPED,
)


def report(stage: Stage, replica_id: str = "r1", **more: Any) -> ReplicaReport:
    return ReplicaReport(replica_id, "v1", stage, slots=4, address=f"http://{replica_id}", **more)


@pytest.fixture
def pool() -> ReplicaPool:
    return ReplicaPool(StartupSettings(attempts=3, backoff_initial_s=1, backoff_max_s=30))


def started(pool: ReplicaPool, now: float = 0.0, replica_id: str = "r1", **more: Any) -> None:
    pool.report(report(Stage.STARTING, replica_id), now)
    pool.report(report(Stage.READY, replica_id, **more), now)


def usable(pool: ReplicaPool, bound: int = 100) -> list[str]:
    return [found.replica_id for found in pool.usable(bound)]


# The table


def test_every_stage_has_its_transitions_and_both_ends_have_none():
    assert set(TRANSITIONS) == set(Stage)
    assert [stage for stage in Stage if not TRANSITIONS[stage]] == [Stage.STOPPED, Stage.FAILED]


def test_a_life_goes_through_all_stages_and_may_fail_in_each():
    for stage, following in pairwise(LIFE[1:]):
        assert following in TRANSITIONS[stage]
    assert all(Stage.FAILED in TRANSITIONS[stage] for stage in LIFE[:-1])


@pytest.mark.parametrize("old", LIFE)
def test_stages_may_be_skipped_and_never_gone_back_to(old: Stage):
    place = LIFE.index(old)
    assert all(may_follow(old, new) for new in LIFE[place + 1 :])
    assert not any(may_follow(old, new) for new in LIFE[:place])


def test_a_stage_may_be_reported_again_but_nothing_follows_the_end():
    assert all(may_follow(stage, stage) for stage in LIFE[:-1])
    assert not any(may_follow(Stage.STOPPED, stage) for stage in Stage)
    assert not any(may_follow(Stage.FAILED, stage) for stage in Stage)


# Coming and going


def test_a_replica_is_usable_while_it_is_ready(pool: ReplicaPool):
    for stage in (Stage.STARTING, Stage.LOADING, Stage.WARMING):
        pool.report(report(stage), 0.0)
        assert usable(pool) == []
    pool.report(report(Stage.READY), 1.0)
    assert usable(pool) == ["r1"]
    pool.report(report(Stage.DRAINING), 2.0)
    assert usable(pool) == []
    assert pool.live == 0
    pool.report(report(Stage.STOPPED), 3.0)
    assert pool.known == {}


def test_a_late_report_of_an_earlier_stage_changes_nothing(pool: ReplicaPool):
    started(pool)
    version = pool.version
    pool.report(report(Stage.LOADING), 1.0)
    assert usable(pool) == ["r1"]
    assert pool.version == version


@pytest.mark.parametrize("late", [Stage.READY, Stage.LOADING, Stage.STOPPED])
def test_a_late_report_does_not_bring_a_stopped_replica_back(pool: ReplicaPool, late: Stage):
    started(pool)
    pool.report(report(Stage.STOPPED), 1.0)
    pool.report(report(late), 1.1)
    assert pool.known == {}


def test_a_replica_first_heard_of_when_ready_settles_before_it_is_used(pool: ReplicaPool):
    pool.report(report(Stage.READY), 10.0)
    pool.tick(10.0 + SETTLE_S - 0.1, 1)
    assert usable(pool) == []
    version = pool.version
    pool.tick(10.0 + SETTLE_S, 1)
    assert usable(pool) == ["r1"]
    assert pool.version > version


def test_replicas_are_listed_oldest_first_with_the_smaller_bound(pool: ReplicaPool):
    started(pool, 2.0, "b")
    started(pool, 3.0, "a")
    assert usable(pool) == ["b", "a"]
    assert [found.slots for found in pool.usable(100)] == [4, 4]
    assert [found.slots for found in pool.usable(3)] == [3, 3]


def test_a_suspect_replica_is_used_again_once_it_reports(pool: ReplicaPool):
    started(pool)
    pool.suspect(["r1", "unknown"])
    assert usable(pool) == []
    pool.report(report(Stage.READY), 1.0)
    assert usable(pool) == ["r1"]


def test_a_silent_ready_replica_is_suspect_and_then_gone(pool: ReplicaPool):
    started(pool)
    pool.tick(SUSPECT_AFTER_S - 0.1, 1)
    assert usable(pool) == ["r1"]
    pool.tick(SUSPECT_AFTER_S, 1)
    assert usable(pool) == []
    pool.tick(GONE_AFTER_S, 1)
    assert pool.known == {}
    assert pool.last_failure is None


# Failed starts


def test_a_wanted_start_that_falls_silent_has_failed(pool: ReplicaPool):
    pool.report(report(Stage.LOADING, log_tail=("reading weights",)), 0.0)
    pool.tick(GONE_IN_STARTUP_AFTER_S - 0.1, 1)
    assert pool.live == 1
    pool.tick(GONE_IN_STARTUP_AFTER_S, 1)
    assert pool.live == 0
    assert pool.last_failure is not None
    assert pool.last_failure.reason == "the replica's process fell silent while LOADING"
    assert pool.last_failure.log_tail == ("reading weights",)


def test_a_start_that_was_called_off_may_fall_silent(pool: ReplicaPool):
    pool.report(report(Stage.LOADING), 0.0)
    pool.tick(GONE_IN_STARTUP_AFTER_S, 0)
    assert pool.live == 0
    assert pool.last_failure is None


def test_failures_in_a_row_back_off_and_make_the_environment_unhealthy(pool: ReplicaPool):
    waits = [
        pool.report(report(Stage.FAILED, f"r{n}", reason="no memory"), float(n)) for n in range(3)
    ]
    assert waits == [1.0, 2.0, 4.0]
    unhealthy = pool.unhealthy(12.0)
    assert unhealthy is not None
    assert (unhealthy.reason, unhealthy.retry_after_s) == ("no memory", 20.0)


def test_a_failure_that_is_reported_again_counts_once(pool: ReplicaPool):
    for _ in range(5):
        assert pool.report(report(Stage.FAILED, reason="no memory"), 0.0) == 1.0
    assert pool.unhealthy(1.0) is None


def test_failures_while_a_replica_is_ready_leave_the_environment_healthy(pool: ReplicaPool):
    started(pool)
    for n in range(2, 9):
        pool.report(report(Stage.FAILED, f"r{n}", reason="no memory"), 1.0)
    assert pool.unhealthy(1.0) is None


def test_a_probe_after_its_time_allows_one_more_start(pool: ReplicaPool):
    for n in range(3):
        pool.report(report(Stage.FAILED, f"r{n}", reason="no memory"), 0.0)
    pool.probe(29.9)
    assert pool.unhealthy(29.9) is not None
    pool.probe(30.0)
    assert pool.unhealthy(30.0) is None
    pool.report(report(Stage.FAILED, "r9", reason="still no memory"), 31.0)
    unhealthy = pool.unhealthy(31.0)
    assert unhealthy is not None
    assert (unhealthy.reason, unhealthy.retry_after_s) == ("still no memory", 30.0)


@pytest.mark.parametrize("heard_of_before", [True, False])
def test_a_replica_that_becomes_ready_ends_the_bad_times(pool: ReplicaPool, heard_of_before: bool):
    for n in range(3):
        pool.report(report(Stage.FAILED, f"r{n}", reason="no memory"), 0.0)
    if heard_of_before:
        pool.report(report(Stage.STARTING, "good"), 1.0)
    pool.report(report(Stage.READY, "good"), 2.0)
    assert pool.unhealthy(2.0) is None
    assert pool.last_failure is None


def test_another_deployment_begins_with_a_clean_slate(pool: ReplicaPool):
    for n in range(3):
        pool.report(report(Stage.FAILED, f"r{n}", reason="no memory"), 0.0)
    pool.forgive()
    assert pool.unhealthy(0.0) is None


def test_the_back_off_is_bounded_however_many_starts_failed():
    startup = StartupSettings(backoff_initial_s=0.5, backoff_max_s=30)
    assert [startup.backoff_s(n) for n in (1, 2, 3, 7, 8)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert startup.backoff_s(5000) == 30.0


# Startup history


def test_percentiles_are_those_of_the_starts_that_had_the_stage(pool: ReplicaPool):
    for n in range(1, 11):
        stages = {Stage.STARTING: float(n)} | ({Stage.LOADING: 100.0 * n} if n > 8 else {})
        started(pool, 0.0, f"r{n}", stages=stages)
    assert pool.percentiles(0.5) == {Stage.STARTING: 5.0, Stage.LOADING: 900.0}
    assert pool.percentiles(0.95) == {Stage.STARTING: 10.0, Stage.LOADING: 1000.0}


def test_a_start_is_remembered_once_however_often_it_is_reported(pool: ReplicaPool):
    started(pool, stages={Stage.LOADING: 2.0})
    for now in range(5):
        pool.report(report(Stage.READY, stages={Stage.LOADING: 2.0}), float(now))
    assert len(pool.history) == 1


def test_a_restarted_pool_relearns_past_starts_from_those_that_run(pool: ReplicaPool):
    pool.report(report(Stage.READY, stages={Stage.LOADING: 2.0}), 0.0)
    assert pool.percentiles(0.5) == {Stage.LOADING: 2.0}


def test_nothing_is_known_of_no_starts(pool: ReplicaPool):
    assert pool.percentiles(0.5) == {}


# What is remembered of starts


def test_each_missing_replica_has_its_own_time_of_waiting(pool: ReplicaPool):
    pool.missing.are(1, 10.0)
    pool.missing.are(3, 15.0)
    assert pool.missing.since == 10.0
    for n, now in enumerate((17.0, 18.0)):
        pool.report(report(Stage.STARTING, f"r{n}"), now)
    assert [known.stages[Stage.PROVISIONING] for known in pool.known.values()] == [7.0, 3.0]
    pool.missing.are(0, 19.0)
    pool.report(report(Stage.STARTING, "surge"), 20.0)
    assert pool.known["surge"].stages == {}


def test_a_start_called_off_was_the_last_one_wanted():
    missing = Missing()
    missing.are(1, 1.0)
    missing.are(2, 2.0)
    missing.are(1, 3.0)
    assert missing.arrived() == 1.0
    assert missing.arrived() is None


def test_failed_and_silent_starts_are_remembered_with_their_reason(pool: ReplicaPool):
    pool.report(report(Stage.LOADING, "r1", stages={Stage.STARTING: 1.0}), 0.0)
    stages = {Stage.STARTING: 1.0, Stage.LOADING: 4.0}
    pool.report(report(Stage.FAILED, "r1", reason="no memory", stages=stages), 4.0)
    pool.report(report(Stage.LOADING, "r2", stages={Stage.STARTING: 1.0}), 5.0)
    pool.tick(5.0 + GONE_IN_STARTUP_AFTER_S, 1)
    first, second = pool.chronicle.starts
    assert (first.replica_id, first.ended, first.seconds) == ("r1", 4.0, 5.0)
    assert first.reason == "no memory"
    assert second.reason == "the replica's process fell silent while LOADING"
    assert second.stages == {Stage.STARTING: 1.0}


def test_a_replica_that_fails_after_it_was_ready_is_no_failed_start(pool: ReplicaPool):
    started(pool)
    pool.report(report(Stage.FAILED, reason="killed"), 9.0)
    # Nor where a restarted queue hears of it for the first time.
    pool.report(report(Stage.FAILED, "r2", stages={Stage.READY: 3.0}), 9.0)
    assert [start.reason for start in pool.chronicle.starts] == [None]


def test_a_start_from_before_the_queue_is_remembered_and_is_no_news(pool: ReplicaPool):
    stages = {Stage.STARTING: 1.0, Stage.LOADING: 2.0}
    pool.report(report(Stage.READY, age_s=63.0, stages=stages), 100.0)
    (start,) = pool.chronicle.starts
    assert (start.ended, start.seconds) == (40.0, 3.0)
    assert pool.chronicle.take() == []


def test_what_is_remembered_is_bounded(pool: ReplicaPool):
    for n in range(3 * KEPT):
        started(pool, float(n), f"r{n}")
    assert len(pool.chronicle.starts) == KEPT
    assert len(pool.chronicle.take()) <= 2 * KEPT

"""What a holder does with its permits and waiters, told by a queue that is written out here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from orchestrator.lifecycle.holder import Assignment, Holder, Outcome, Permit, Refusal
from orchestrator.lifecycle.line import Waiter
from orchestrator.lifecycle.permits import Exchange, Grant, Reply, Unhealthy, Usable
from orchestrator.lifecycle.settings import FullPolicy, QueueSettings

R1 = Usable("r1", "http://r1", 2)
R2 = Usable("r2", "http://r2", 2)


@dataclass
class Scene:
    """One holder, and replies of a queue that says what the scene wants it to say."""

    settings: QueueSettings = field(default_factory=QueueSettings)
    now: float = 100.0
    term: str = "life1/1"
    stamp: int = 0
    granted: int = 0
    replicas: tuple[Usable, ...] = (R1,)

    def __post_init__(self) -> None:
        self.holder = Holder("h", self.settings, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def exchange(self) -> Exchange:
        return self.holder.summary(self.now)

    def reply(self, *grants: str, due: bool = False, **more: Any) -> Reply:
        """The next reply; it answers the last exchange that was sent."""
        self.stamp += 1
        numbered = []
        for replica_id in grants:
            self.granted += 1
            numbered.append(Grant(self.granted, replica_id, due))
        values: dict[str, Any] = {
            "seq": self.holder._seq,
            "replicas": self.replicas,
            "replicas_version": 1,
        }
        return Reply(self.term, self.stamp, grants=tuple(numbered), **(values | more))

    def hear(self, *grants: str, sent_at: float | None = None, **more: Any) -> Outcome:
        reply = self.reply(*grants, **more)
        return self.holder.hear(reply, self.now if sent_at is None else sent_at, self.now)

    def park(self, arrived: float | None = None, **more: Any) -> Waiter:
        at = self.now if arrived is None else arrived
        waiter = Waiter(at, more.pop("deadline", self.now + 1000), **more)
        assert self.holder.park(waiter, self.now) is None
        return waiter

    def refused(self, **more: Any) -> Refusal | None:
        return self.holder.park(Waiter(self.now, self.now + 1000, **more), self.now)

    def take(self, **more: Any) -> Permit | None:
        return self.holder.take(self.now, **more)

    def run_one(self, replica_id: str = "r1") -> Permit:
        """A request that got its permit by a grant."""
        waiter = self.park()
        self.exchange()
        return granted(self.hear(replica_id), waiter)

    def release(self, permit: Permit, *, failed: bool = False) -> Outcome:
        return self.holder.release(permit, self.now, failed=failed)


def granted(outcome: Outcome, waiter: Waiter) -> Permit:
    """The permit with which the waiter, and nobody else, left the line."""
    assert [assignment.waiter for assignment in outcome.assigned] == [waiter]
    assert outcome.refused == []
    return outcome.assigned[0].permit


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.exchange()
    scene.hear()
    return scene


# Granted


def test_the_first_exchange_is_due_at_once_and_asks_for_everything():
    scene = Scene()
    assert scene.holder.due(scene.now) == scene.now
    assert scene.exchange() == Exchange("h", 1)


def test_a_grant_goes_to_the_best_waiter(scene: Scene):
    second = scene.park(scene.now)
    first = scene.park(scene.now - 1)
    scene.exchange()
    outcome = scene.hear("r1")
    assert granted(outcome, first).address == "http://r1"
    assert second in scene.holder.line
    assert scene.exchange().acked == 1


def test_a_grant_that_is_repeated_counts_once(scene: Scene):
    first, second = scene.park(), scene.park()
    scene.exchange()
    reply = scene.reply("r1")
    granted(scene.holder.hear(reply, scene.now, scene.now), first)
    again = replace(reply, stamp=reply.stamp + 1)
    assert scene.holder.hear(again, scene.now, scene.now) == Outcome()
    assert second in scene.holder.line


def test_a_grant_for_a_replica_that_is_not_listed_goes_back(scene: Scene):
    scene.park()
    scene.exchange()
    assert scene.hear("unknown").assigned == []
    assert scene.holder.urgent
    assert scene.exchange().held == {}


# Kept


def test_a_permit_that_nobody_waits_for_is_kept_and_used_again_without_asking(scene: Scene):
    permit = scene.run_one()
    assert scene.release(permit) == Outcome()
    assert (scene.holder.kept, scene.holder.in_use) == (1, 0)
    assert scene.take() is permit
    assert (scene.holder.kept, scene.holder.in_use) == (0, 1)
    assert scene.exchange().held == {"r1": 1}


def test_a_kept_permit_is_given_back_after_a_while(scene: Scene):
    scene.release(scene.run_one())
    assert scene.holder.next_expiry(scene.now) == scene.now + 1.0
    scene.pass_time(0.9)
    scene.holder.expire(scene.now)
    assert scene.holder.kept == 1
    scene.pass_time(0.1)
    scene.holder.expire(scene.now)
    assert scene.holder.kept == 0
    assert scene.exchange().held == {}


@pytest.mark.parametrize("now", [n / 100 for n in range(1, 40)])
def test_a_kept_permit_is_given_back_at_the_very_moment_that_was_named(now: float):
    # 0.15 + 1.0 - 1.0 is less than 0.15: a clock that stands still would never get there.
    scene = Scene(now=now)
    scene.release(scene.run_one())
    at = scene.holder.next_expiry(scene.now)
    assert at is not None
    scene.holder.expire(at)
    assert scene.holder.kept == 0


def test_kept_permits_are_recalled_when_somebody_waits_elsewhere(scene: Scene):
    scene.release(scene.run_one())
    scene.exchange()
    scene.hear(alone=False, elsewhere_s=0.0)
    assert scene.holder.kept == 0
    assert scene.holder.urgent
    assert scene.take() is None


def test_nothing_is_kept_where_somebody_waits_elsewhere(scene: Scene):
    permit = scene.run_one()
    scene.hear(alone=False, elsewhere_s=0.0)
    scene.release(permit)
    assert scene.holder.kept == 0
    assert scene.holder.urgent


def test_nobody_takes_a_kept_permit_past_those_who_wait(scene: Scene):
    permit = scene.run_one()
    scene.park()
    scene.park()
    scene.release(permit)
    assert scene.take() is None


def test_a_kept_permit_of_a_replica_to_be_avoided_is_given_back(scene: Scene):
    scene.replicas = (R1, R2)
    scene.release(scene.run_one())
    assert scene.take(avoid={"r1"}) is None
    scene.park(avoid=frozenset({"r1"}))
    assert scene.holder.urgent
    assert scene.exchange().held == {}


def test_of_kept_permits_the_preferred_replica_s_is_taken(scene: Scene):
    scene.replicas = (R1, R2)
    permits = [scene.run_one("r2"), scene.run_one("r1"), scene.run_one("r1")]
    for permit in permits:
        scene.release(permit)
    preferred = scene.take(prefer="r2")
    assert preferred is permits[0]
    other = scene.take(prefer="r2")
    assert other is not None
    assert other.replica_id == "r1"


# Handed over


def test_a_permit_that_comes_free_goes_to_the_next_in_line_without_asking(scene: Scene):
    permit = scene.run_one()
    waiter = scene.park()
    assert granted(scene.release(permit), waiter) is permit
    assert scene.holder.in_use == 1


def test_it_is_handed_over_where_those_elsewhere_rank_after(scene: Scene):
    permit = scene.run_one()
    waiter = scene.park()
    scene.pass_time(0.5)
    scene.hear(alone=False, elsewhere_s=0.4)
    granted(scene.release(permit), waiter)


def test_it_is_given_back_where_somebody_elsewhere_ranks_before(scene: Scene):
    permit = scene.run_one()
    scene.park()
    scene.pass_time(0.5)
    scene.hear(alone=False, elsewhere_s=0.6)
    assert scene.release(permit) == Outcome()
    assert scene.holder.urgent
    assert scene.exchange().held == {}


def test_it_is_given_back_where_the_news_of_others_is_stale(scene: Scene):
    permit = scene.run_one()
    scene.park()
    scene.hear(alone=False)
    scene.pass_time(0.051)
    assert scene.release(permit) == Outcome()
    assert scene.holder.urgent


def test_news_does_not_get_stale_for_the_only_holder(scene: Scene):
    permit = scene.run_one()
    waiter = scene.park()
    scene.hear(alone=True)
    scene.pass_time(3)
    granted(scene.release(permit), waiter)


def test_a_grant_that_is_due_is_used_whoever_ranks_before(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    granted(scene.hear("r1", due=True, alone=False, elsewhere_s=9.0), waiter)


def test_a_permit_of_a_drained_replica_is_not_used_again(scene: Scene):
    permit = scene.run_one()
    scene.release(scene.run_one())
    scene.replicas = (R2,)
    scene.hear(replicas_version=2)
    assert scene.holder.kept == 0
    scene.park()
    assert scene.release(permit) == Outcome()
    assert scene.exchange().held == {}


def test_a_permit_cannot_be_released_twice(scene: Scene):
    permit = scene.run_one()
    scene.release(permit)
    with pytest.raises(ValueError, match="not in use"):
        scene.release(permit)


# Failed replicas


def test_a_failed_replica_is_not_used_until_it_is_listed_again(scene: Scene):
    scene.replicas = (R1, R2)
    first, second = scene.run_one("r1"), scene.run_one("r1")
    scene.park()
    assert scene.release(first, failed=True) == Outcome()
    assert scene.release(second) == Outcome()
    assert scene.exchange().failed == {"r1"}
    scene.replicas = (R2,)
    scene.hear(replicas_version=2)
    scene.replicas = (R1, R2)
    assert len(scene.hear("r1", replicas_version=3).assigned) == 1


def test_a_failure_is_told_once(scene: Scene):
    scene.release(scene.run_one(), failed=True)
    assert scene.exchange().failed == {"r1"}
    scene.hear()
    assert scene.exchange().failed == frozenset()


def test_a_failure_is_told_again_until_an_answer_comes(scene: Scene):
    scene.release(scene.run_one(), failed=True)
    assert scene.exchange().failed == {"r1"}
    assert scene.exchange().failed == {"r1"}
    scene.hear()
    assert scene.exchange().failed == frozenset()


def test_a_list_from_before_the_failure_was_told_does_not_clear_the_replica(scene: Scene):
    scene.replicas = (R1, R2)
    first, second = scene.run_one("r1"), scene.run_one("r1")
    scene.exchange()
    scene.release(first, failed=True)
    scene.hear()
    scene.park()
    assert scene.release(second) == Outcome()


def test_the_first_who_need_not_avoid_the_replica_gets_its_permit(scene: Scene):
    scene.replicas = (R1, R2)
    permit = scene.run_one("r1")
    shy = scene.park(avoid=frozenset({"r1"}))
    other = scene.park()
    granted(scene.release(permit), other)
    assert shy in scene.holder.line


def test_a_replica_is_not_avoided_where_there_is_no_other(scene: Scene):
    permit = scene.run_one("r1")
    waiter = scene.park(avoid=frozenset({"r1"}))
    granted(scene.release(permit), waiter)


# Leases and terms


def test_after_its_lease_a_holder_uses_nothing_that_it_kept(scene: Scene):
    scene.release(scene.run_one())
    scene.pass_time(5.0)
    assert scene.take() is None
    assert scene.exchange().held == {}


def test_after_its_lease_a_holder_hands_nothing_over(scene: Scene):
    permit = scene.run_one()
    waiter = scene.park()
    scene.pass_time(5.0)
    assert scene.release(permit) == Outcome()
    assert waiter in scene.holder.line


def test_the_lease_counts_from_when_the_message_was_sent(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    sent_at = scene.now
    scene.pass_time(4.0)
    permit = granted(scene.hear("r1", sent_at=sent_at), waiter)
    scene.release(permit)
    scene.pass_time(1.0)
    assert scene.take() is None


def test_a_reply_that_took_longer_than_the_lease_is_not_believed(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    sent_at = scene.now
    scene.pass_time(5.0)
    assert scene.hear("r1", sent_at=sent_at) == Outcome()
    assert waiter in scene.holder.line


def test_a_new_term_counts_grants_anew_and_forgets_what_lay_idle(scene: Scene):
    running = scene.run_one()
    scene.release(scene.run_one())
    waiter = scene.park()
    scene.term, scene.granted, scene.stamp = "life2/1", 0, 0
    granted(scene.hear("r1"), waiter)
    exchange = scene.exchange()
    assert (exchange.term, exchange.acked, exchange.held) == ("life2/1", 1, {"r1": 2})
    assert running in scene.holder._in_use
    assert scene.holder.kept == 0


def test_late_replies_of_an_old_term_are_ignored(scene: Scene):
    late = scene.reply("r1", unhealthy=Unhealthy("old news", retry_after_s=9))
    scene.term = "life2/1"
    scene.hear()
    waiter = scene.park()
    scene.exchange()
    assert scene.holder.hear(late, scene.now, scene.now) == Outcome()
    assert scene.holder.unhealthy is None
    assert waiter in scene.holder.line
    assert scene.holder.seen() == ("life2/1", 0)


def test_an_older_reply_brings_its_grants_but_not_its_news(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    older = scene.reply("r1", alone=False, elsewhere_s=50.0)
    scene.hear(alone=True)
    granted(scene.holder.hear(older, scene.now, scene.now), waiter)


# Places


def test_a_waiters_place_is_how_many_are_before_it_and_how_old_its_rank_is():
    scene = Scene()
    scene.exchange()
    scene.hear()
    first = scene.park()
    scene.now += 1.0
    second = scene.park()
    behind = scene.park(level=2)
    scene.now += 1.0
    assert scene.holder.place(first, scene.now) == (0, 2.0)
    assert scene.holder.place(second, scene.now) == (1, 1.0)
    aging_s = scene.settings.aging_s
    assert scene.holder.place(behind, scene.now) == (2, 1.0 - 2 * aging_s)
    scene.holder.leave(first, scene.now)
    assert scene.holder.place(second, scene.now) == (0, 1.0)
    with pytest.raises(ValueError, match="not in line"):
        scene.holder.place(first, scene.now)


def test_whether_there_are_replicas_is_as_was_heard_last():
    scene = Scene(replicas=())
    assert not scene.holder.has_replicas
    scene.exchange()
    scene.hear()
    assert not scene.holder.has_replicas
    scene.replicas = (R1,)
    scene.exchange()
    scene.hear()
    assert scene.holder.has_replicas


# Bounds


def test_the_line_is_bounded_by_count_over_all_holders():
    scene = Scene(QueueSettings(max_requests=3))
    scene.exchange()
    scene.hear(alone=False, others_waiting=1)
    scene.park()
    scene.park()
    assert scene.refused() is Refusal.FULL
    assert scene.exchange().rejected == 1


def test_the_line_is_bounded_by_bytes_over_all_holders():
    scene = Scene(QueueSettings(max_bytes=100))
    scene.exchange()
    scene.hear(alone=False, others_bytes=50)
    scene.park(size=30)
    assert scene.refused(size=21) is Refusal.FULL
    scene.park(size=20)


def test_the_bound_does_not_count_for_one_that_is_put_back():
    scene = Scene(QueueSettings(max_requests=1))
    scene.park()
    back = scene.park(scene.now - 1)
    assert scene.holder.line.best() is back


def test_a_waiter_is_turned_away_at_its_deadline(scene: Scene):
    waiter = scene.park(deadline=scene.now + 2)
    assert scene.holder.next_expiry(scene.now) == scene.now + 2
    scene.pass_time(2)
    assert scene.holder.expire(scene.now).refused == [(waiter, Refusal.TIMEOUT)]


def test_one_that_leaves_is_not_granted_anything(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    assert scene.holder.leave(waiter, scene.now)
    assert not scene.holder.leave(waiter, scene.now)
    assert scene.hear("r1") == Outcome()
    assert scene.holder.kept == 1


# Rejecting


def rejecting() -> Scene:
    scene = Scene(QueueSettings(policy=FullPolicy.REJECT))
    scene.exchange()
    scene.hear()
    return scene


def test_one_that_will_not_wait_is_refused_once_the_queue_has_answered():
    scene = rejecting()
    waiter = scene.park()
    assert scene.holder.urgent
    assert scene.hear() == Outcome(), "this reply was given before the queue knew of it"
    scene.exchange()
    assert scene.hear().refused == [(waiter, Refusal.NO_SLOT)]
    assert scene.exchange().rejected == 1


def test_one_that_will_not_wait_takes_the_slot_that_is_free():
    scene = rejecting()
    first, second = scene.park(), scene.park()
    scene.exchange()
    outcome = scene.hear("r1")
    assert [assignment.waiter for assignment in outcome.assigned] == [first]
    assert outcome.refused == [(second, Refusal.NO_SLOT)]


def test_one_that_waits_already_stays_when_the_policy_becomes_to_reject(scene: Scene):
    patient = scene.park()
    scene.holder.reconfigure(QueueSettings(policy=FullPolicy.REJECT))
    impatient = scene.park()
    scene.exchange()
    assert scene.hear().refused == [(impatient, Refusal.NO_SLOT)]
    assert patient in scene.holder.line


def test_other_settings_reorder_the_line(scene: Scene):
    low, high = scene.park(scene.now - 30, level=1), scene.park()
    assert scene.holder.line.best() is high
    scene.holder.reconfigure(QueueSettings(aging_s=10))
    assert scene.holder.line.best() is low


# Unhealthy


def test_those_who_wait_are_refused_when_the_environment_is_unhealthy(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    late = scene.park()
    bad = Unhealthy("no memory", ("line",), 20.0)
    assert scene.hear(unhealthy=bad, replicas=()).refused == [(waiter, Refusal.UNHEALTHY)]
    assert late in scene.holder.line, "the queue has not answered this one"
    assert scene.holder.unhealthy == bad


def test_newcomers_are_refused_at_once_until_a_start_may_be_tried_again(scene: Scene):
    scene.hear(unhealthy=Unhealthy("no memory", retry_after_s=20.0), replicas=())
    assert scene.refused() is Refusal.UNHEALTHY
    assert scene.holder.retry_after_s(scene.now) == 20.0
    scene.pass_time(20)
    assert scene.refused() is None
    assert scene.holder.retry_after_s(scene.now) == 1.0


def test_newcomers_wait_again_when_the_environment_is_healthy(scene: Scene):
    scene.hear(unhealthy=Unhealthy("no memory", retry_after_s=20.0))
    scene.hear()
    assert scene.refused() is None


# Retry-After


def test_retry_after_is_a_second_where_nothing_is_known():
    assert Scene().holder.retry_after_s(100.0) == 1.0


@pytest.mark.parametrize(
    ("elsewhere", "seconds"), [(0, 1.0), (3, 6.0), (11, 22.0), (1_000_000, 60.0)]
)
def test_retry_after_is_what_the_line_takes_to_empty(scene: Scene, elsewhere: int, seconds: float):
    permit = scene.run_one()
    scene.pass_time(4.0)
    scene.release(permit)
    # Idle time says nothing about how fast requests are served.
    scene.pass_time(1000)
    scene.hear(others_waiting=elsewhere)
    assert scene.holder.retry_after_s(scene.now) == seconds


# When to speak


def test_a_first_waiter_is_told_at_once_and_those_behind_it_soon(scene: Scene):
    scene.park()
    assert scene.holder.due(scene.now) == scene.now
    scene.exchange()
    scene.park()
    assert scene.holder.due(scene.now) == scene.now + 0.2


def test_a_waiter_that_can_gain_nothing_is_no_urgent_news(scene: Scene):
    scene.run_one()
    scene.run_one()
    scene.exchange()
    scene.park()
    assert not scene.holder.urgent


def test_a_holder_with_waiters_keeps_its_news_of_others_fresh(scene: Scene):
    scene.park()
    scene.exchange()
    scene.hear(alone=False, elsewhere_s=0.0)
    assert scene.holder.due(scene.now) == scene.now + 0.025


def test_a_holder_renews_its_lease_five_times_over(scene: Scene):
    scene.run_one()
    scene.exchange()
    assert scene.holder.due(scene.now) == scene.now + 1.0


def test_a_lost_exchange_is_made_up_for_soon(scene: Scene):
    scene.park()
    scene.exchange()
    scene.holder.lost()
    assert scene.holder.due(scene.now) == scene.now + 0.2


def test_a_holder_is_idle_once_all_is_told_and_nothing_is_held(scene: Scene):
    assert scene.holder.idle
    permit = scene.run_one()
    assert not scene.holder.idle
    scene.release(permit)
    assert not scene.holder.idle
    scene.pass_time(1.0)
    scene.holder.expire(scene.now)
    assert not scene.holder.idle, "the queue does not know yet that it came back"
    scene.exchange()
    assert scene.holder.idle


def test_a_holder_about_to_end_gives_back_what_it_kept(scene: Scene):
    scene.release(scene.run_one())
    scene.holder.give_back()
    assert scene.holder.urgent
    assert scene.exchange().held == {}


# What it counts


def test_load_is_what_ran_and_waited_over_time(scene: Scene):
    start = scene.exchange().load_s
    scene.park()
    scene.park()
    scene.pass_time(3.0)
    scene.exchange()
    permit = scene.hear("r1").assigned[0].permit
    scene.pass_time(2.0)
    assert scene.exchange().load_s - start == pytest.approx(2 * 5.0)
    assert scene.release(permit).assigned != []
    scene.pass_time(1.0)
    exchange = scene.exchange()
    assert exchange.load_s - start == pytest.approx(2 * 5.0 + 1.0)
    assert (exchange.served, exchange.busy_s) == (1, 2.0)


def test_a_waiter_that_saw_no_replica_starts_cold():
    scene = Scene(replicas=())
    waiter = scene.park()
    assert not waiter.cold
    scene.exchange()
    scene.hear()
    assert waiter.cold
    assert scene.park().cold
    scene.replicas = (R1,)
    scene.hear("r1", replicas_version=2)
    assert not scene.park().cold


def test_a_holder_that_was_idle_does_not_take_old_news_for_a_cold_start():
    scene = Scene(replicas=())
    scene.exchange()
    scene.hear()
    scene.pass_time(60.0)
    waiter = scene.park()
    scene.replicas = (R1,)
    scene.exchange()
    granted(scene.hear("r1", replicas_version=2), waiter)
    assert not waiter.cold


def test_a_holder_that_was_idle_does_not_take_an_old_line_elsewhere_for_a_full_queue():
    scene = Scene(QueueSettings(max_requests=2))
    scene.exchange()
    scene.hear(others_waiting=2, elsewhere_s=1.0)
    assert scene.refused() is Refusal.FULL
    scene.pass_time(60.0)
    assert scene.refused() is None


def test_assignments_name_waiter_and_permit(scene: Scene):
    waiter = scene.park()
    scene.exchange()
    outcome = scene.hear("r1")
    assert outcome.assigned == [Assignment(waiter, outcome.assigned[0].permit)]

"""Who gets a permit, and how many replicas are wanted, told by holders that are written out here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.chronicle import Change, Start
from orchestrator.lifecycle.environment_queue import SETTLED_AFTER_S, EnvironmentQueue
from orchestrator.lifecycle.permits import HEADS, Exchange, Head, Reply, WorkClass
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.lifecycle.settings import EnvironmentSettings
from tests.unit.lifecycle.scaling.policies import HERE, Recording

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.policy import Seen

START = 1000.0


def settings(**changes: dict[str, Any]) -> EnvironmentSettings:
    """Settings with `queue`, `autoscaling` and `startup` changed as given."""
    return EnvironmentSettings.from_mapping(
        {
            "model": "m",
            "environment": "production",
            "deployment": "v1",
            "queue": {},
            "autoscaling": {"concurrency_target": 10, "max_replica": 10},
            "startup": {"attempts": 3, "backoff_max_s": 30.0},
            "resources": {"num_gpus": 1},
        }
        | changes
    )


@dataclass
class Party:
    """A holder, written out: what it says is what the scene says that it says."""

    name: str
    seq: int = 0
    term: str = ""
    acked: int = 0
    held: dict[str, int] = field(default_factory=dict)
    work: WorkClass = WorkClass.SYNC
    known_replicas: int = -1

    def message(self, *ages: float, heads: tuple[Head, ...] | None = None, **more: Any) -> Exchange:
        """Its next exchange: waiters of these ages, best first, and what it holds."""
        self.seq += 1
        first = heads if heads is not None else tuple(Head(age) for age in ages[:HEADS])
        values: dict[str, Any] = {
            "seq": self.seq,
            "term": self.term,
            "acked": self.acked,
            "held": dict(self.held),
            "work": self.work,
            "waiting": len(ages) if heads is None else len(heads),
            "heads": first,
            "known_replicas": self.known_replicas,
            "in_use": sum(self.held.values()),
        }
        return Exchange(self.name, **(values | more))

    def hear(self, reply: Reply) -> list[str]:
        """Takes the grants that are new; the replicas they are for."""
        if reply.term != self.term:
            self.term, self.acked = reply.term, 0
        fresh = [grant for grant in reply.grants if grant.number > self.acked]
        for grant in fresh:
            self.acked = grant.number
            self.held[grant.replica_id] = self.held.get(grant.replica_id, 0) + 1
        return [grant.replica_id for grant in fresh]


class Scene:
    """One queue, and its clock."""

    def __init__(self, **changes: dict[str, Any]) -> None:
        self.now = START
        self.queue = EnvironmentQueue(settings(**changes), "life1", self.now)

    def pass_time(self, seconds: float, *, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            self.queue.tick(self.now)

    def report(self, replica_id: str, stage: Stage, *, slots: int = 2, **more: Any) -> float:
        message = ReplicaReport(
            replica_id, "v1", stage, slots, address=f"http://{replica_id}", **more
        )
        return self.queue.report(message, self.now).retry_in_s

    def start(self, *replica_ids: str, slots: int = 2) -> None:
        """New replicas, ready, oldest first; they have nothing to settle."""
        for replica_id in replica_ids:
            self.report(replica_id, Stage.STARTING, slots=slots)
            self.report(replica_id, Stage.READY, slots=slots)

    def beat(self, *replica_ids: str) -> None:
        for replica_id in replica_ids:
            self.report(replica_id, Stage.READY)

    def exchange(self, party: Party, *ages: float, **more: Any) -> Reply:
        return self.queue.exchange(party.message(*ages, **more), self.now)

    def ask(self, party: Party, *ages: float, **more: Any) -> list[str]:
        """An exchange whose reply arrives; the replicas that it grants."""
        return party.hear(self.exchange(party, *ages, **more))

    def news(self, party: Party) -> Reply | None:
        return self.queue.news(party.name, party.term, party.acked, self.now)

    def fail_starts(self, n: int) -> list[float]:
        return [self.report(f"bad{i}", Stage.FAILED, reason="no memory") for i in range(n)]

    def seen(self) -> Seen:
        """What a policy would see now."""
        return self.queue._seen(self.now, self.queue.pool.live)

    def out(self, replica_id: str) -> int:
        found = [r for r in self.queue.describe(self.now)["replicas"] if r["id"] == replica_id]
        permits: int = found[0]["permits"]
        return permits


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def a() -> Party:
    return Party("a")


@pytest.fixture
def b() -> Party:
    return Party("b")


# Granting


def test_a_waiter_gets_a_free_slot_at_once(scene: Scene, a: Party):
    scene.start("r1")
    reply = scene.exchange(a, 0.0)
    assert [(grant.number, grant.replica_id, grant.due) for grant in reply.grants] == [
        (1, "r1", False)
    ]
    assert reply.alone
    assert reply.elsewhere_s is None
    assert [usable.address for usable in reply.replicas or ()] == ["http://r1"]


def test_never_more_permits_than_slots(scene: Scene, a: Party, b: Party):
    scene.start("r1")
    assert scene.ask(a, 3.0, 2.0, 1.0) == ["r1", "r1"]
    assert scene.ask(b, 9.0) == []
    assert scene.out("r1") == 2


def test_nor_more_than_the_concurrency_target():
    scene = Scene(autoscaling={"concurrency_target": 3})
    scene.start("r1", slots=8)
    assert len(scene.ask(Party("a"), *[1.0] * 8)) == 3


def test_the_longest_waiter_of_all_holders_is_next(scene: Scene, a: Party, b: Party):
    scene.ask(a, 5.0, 1.0)
    scene.ask(b, 3.0, 2.0)
    scene.start("r1")
    assert a.hear(scene.news(a) or pytest.fail("no news")) == ["r1"]
    assert b.hear(scene.news(b) or pytest.fail("no news")) == ["r1"]


def test_a_slot_that_comes_back_goes_to_the_next_in_rank(scene: Scene, a: Party, b: Party):
    scene.start("r1")
    scene.ask(a, 9.0, 8.0)
    scene.ask(b, 1.0)
    a.held["r1"] = 1
    scene.exchange(a, 0.5)
    assert b.hear(scene.news(b) or pytest.fail("no news")) == ["r1"]


def test_old_replicas_are_filled_to_the_target_and_then_the_emptiest_is_used(
    scene: Scene, a: Party
):
    scene.start("r1", "r2", slots=10)
    granted = scene.ask(a, *[1.0] * 20)
    assert granted[:14] == ["r1"] * 7 + ["r2"] * 7
    assert sorted(granted[14:]) == ["r1"] * 3 + ["r2"] * 3


def test_a_waiter_gets_the_replica_that_it_prefers_and_not_one_that_failed_it(
    scene: Scene, a: Party
):
    scene.start("r1", "r2", slots=1)
    heads = (Head(2.0, prefer="r2"), Head(1.0, avoid=frozenset({"r2"})))
    assert scene.ask(a, heads=heads) == ["r2", "r1"]


def test_beyond_the_described_waiters_the_only_holder_is_served_on(scene: Scene, a: Party):
    scene.start("r1", slots=10)
    scene.start("r2", "r3", "r4", slots=10)
    assert len(scene.ask(a, *[1.0] * (HEADS + 5))) == HEADS + 5


def test_beyond_the_described_waiters_a_holder_must_speak_first_where_others_wait(
    a: Party, b: Party
):
    # Six replicas, twelve slots each: what is described does not fill them.
    scene = Scene(autoscaling={"concurrency_target": 12})
    scene.ask(b, *[1.0] * 40)
    scene.ask(a, *[9.0] * 40)
    scene.start("r1", "r2", "r3", "r4", "r5", "r6", slots=12)
    assert len(a.hear(scene.news(a) or pytest.fail("no news"))) == HEADS
    assert len(scene.ask(a, *[9.0] * 8)) == 8


# Avoiding


def test_a_slot_that_the_first_must_avoid_goes_to_the_next_of_its_holder(scene: Scene, a: Party):
    scene.start("r1", "r2", slots=1)
    assert scene.ask(a, heads=(Head(9.0, prefer="r2"),)) == ["r2"]
    heads = (Head(5.0, avoid=frozenset({"r1"})), Head(4.0))
    reply = scene.exchange(a, heads=heads)
    assert [(grant.replica_id, grant.due) for grant in reply.grants] == [("r1", True)]


def test_or_to_the_next_in_rank_at_another_holder_who_need_not_give_it_back(
    scene: Scene, a: Party, b: Party
):
    scene.start("r1", "r2", slots=1)
    scene.ask(a, heads=(Head(9.0, prefer="r2"),))
    scene.ask(a, heads=(Head(5.0, avoid=frozenset({"r1"})),))
    reply = scene.exchange(b, 4.0)
    assert [(grant.replica_id, grant.due) for grant in reply.grants] == [("r1", True)]
    assert reply.elsewhere_s == 5.0


def test_nobody_is_granted_a_replica_to_be_avoided_while_there_is_another(scene: Scene, a: Party):
    scene.start("r1", "r2", slots=1)
    scene.ask(a, heads=(Head(9.0, prefer="r2"),))
    assert scene.ask(a, heads=(Head(5.0, avoid=frozenset({"r1"})),) * 3) == []


# Messages that are lost, late or repeated


def test_a_grant_is_repeated_until_it_is_heard(scene: Scene, a: Party):
    scene.start("r1")
    lost = scene.exchange(a, 1.0)
    again = scene.exchange(a, 1.0)
    assert again.grants == lost.grants
    assert scene.out("r1") == 1
    a.hear(again)
    assert scene.exchange(a).grants == ()


def test_a_holder_whose_first_reply_was_lost_is_not_registered_twice(scene: Scene, a: Party):
    first, second = scene.exchange(a), scene.exchange(a)
    assert first.term == second.term == "life1/1"
    assert scene.queue.describe(scene.now)["holders"] == 1


def test_a_late_exchange_changes_nothing(scene: Scene, a: Party):
    scene.start("r1")
    late = a.message(1.0, 1.0)
    scene.ask(a)
    reply = scene.queue.exchange(late, scene.now)
    assert (reply.grants, reply.seq) == ((), 2)


def test_what_a_holder_does_not_hold_any_more_has_come_back(scene: Scene, a: Party):
    scene.start("r1")
    scene.ask(a, 1.0)
    assert scene.out("r1") == 1
    a.held.clear()
    scene.exchange(a)
    assert scene.out("r1") == 0


def test_a_holder_that_heard_of_another_queue_tells_what_it_holds(scene: Scene, a: Party):
    scene.start("r1")
    a.term, a.acked, a.held = "life0/7", 4, {"r1": 1}
    assert scene.ask(a, 1.0, 1.0) == ["r1"]
    assert scene.out("r1") == 2


def test_the_replica_list_of_another_queue_is_replaced_whatever_its_number(scene: Scene, a: Party):
    scene.start("r1")
    a.term, a.known_replicas = "life0/7", scene.queue.pool.version
    assert scene.exchange(a).replicas is not None
    a.term, a.known_replicas = "life1/1", scene.queue.pool.version
    assert scene.exchange(a).replicas is None


# Leases


def test_a_silent_holder_s_permits_are_free_after_its_lease(scene: Scene, a: Party, b: Party):
    scene.start("r1")
    scene.ask(a, 1.0, 1.0)
    scene.pass_time(4.0)
    scene.beat("r1")
    assert scene.ask(b, 1.0) == []
    scene.pass_time(1.1)
    assert b.hear(scene.news(b) or pytest.fail("no news")) == ["r1"]
    assert not scene.queue.renew("a", scene.now)


def test_a_watch_renews_the_lease(scene: Scene, a: Party):
    scene.start("r1")
    scene.ask(a, 1.0)
    scene.pass_time(4.0)
    scene.beat("r1")
    assert scene.queue.renew("a", scene.now)
    scene.pass_time(4.0)
    assert scene.out("r1") == 1


def test_a_holder_that_comes_back_after_its_lease_gets_a_new_term(scene: Scene, a: Party):
    scene.ask(a)
    scene.pass_time(5.1)
    assert scene.ask(a) == []
    assert a.term == "life1/2"


# News for those who watch


def test_a_watch_hears_nothing_while_nothing_is_new(scene: Scene, a: Party):
    scene.ask(a)
    assert scene.news(a) is None
    assert scene.queue.news("nobody", "", 0, scene.now) is None


def test_a_watch_hears_of_others_once(scene: Scene, a: Party, b: Party):
    scene.ask(a)
    scene.ask(b)
    reply = scene.news(a)
    assert reply is not None
    assert not reply.alone
    assert scene.news(a) is None


def test_one_who_holds_permits_hears_that_somebody_waits(scene: Scene, a: Party, b: Party):
    scene.start("r1")
    scene.ask(a, 1.0, 1.0)
    scene.ask(b)
    scene.news(a)
    scene.ask(b, 0.5, waiting_bytes=70)
    reply = scene.news(a)
    assert reply is not None
    assert (reply.elsewhere_s, reply.others_waiting, reply.others_bytes) == (0.5, 1, 70)


def test_another_bound_of_permits_is_news(scene: Scene, a: Party):
    scene.start("r1", slots=8)
    scene.ask(a)
    scene.queue.reconfigure(settings(autoscaling={"concurrency_target": 4}))
    reply = scene.news(a)
    assert reply is not None
    assert [usable.slots for usable in reply.replicas or ()] == [4]


# Replicas


def test_after_a_restart_a_ready_replica_settles_before_it_is_granted(scene: Scene, a: Party):
    scene.report("r1", Stage.READY)
    assert scene.ask(a, 1.0, held={"r1": 1}) == []
    scene.pass_time(0.9)
    assert scene.news(a) is None
    scene.pass_time(0.2)
    a.held = {"r1": 1}
    assert a.hear(scene.news(a) or pytest.fail("no news")) == ["r1"]
    assert scene.out("r1") == 2


def test_a_replica_that_failed_somebody_is_not_granted_until_it_reports(scene: Scene, a: Party):
    scene.start("r1")
    assert scene.ask(a, 1.0, failed=frozenset({"r1"})) == []
    scene.beat("r1")
    assert a.hear(scene.news(a) or pytest.fail("no news")) == ["r1"]


def test_a_draining_replica_is_not_granted_and_knows_when_it_may_end(scene: Scene, a: Party):
    scene.start("r1")
    scene.ask(a, 1.0)
    draining = ReplicaReport("r1", "v1", Stage.DRAINING, 2)
    assert scene.queue.report(draining, scene.now).permits_out == 1
    assert scene.ask(a, 1.0) == []
    a.held.clear()
    scene.exchange(a)
    assert scene.queue.report(draining, scene.now).permits_out == 0


# Asynchronous work


def test_asynchronous_work_has_its_share_though_others_rank_before(a: Party):
    scene = Scene(queue={"async_share": 0.1})
    dispatcher = Party("d", work=WorkClass.ASYNC)
    scene.ask(a, *[90.0] * 20)
    scene.ask(dispatcher, *[-60.0] * 5)
    scene.start("r1", slots=10)
    reply = scene.news(dispatcher)
    assert reply is not None
    assert [grant.due for grant in reply.grants] == [True]
    assert len(a.hear(scene.news(a) or pytest.fail("no news"))) == 9


def test_a_synchronous_holder_hears_that_the_share_is_due(a: Party):
    scene = Scene(queue={"async_share": 0.5})
    scene.start("r1")
    scene.ask(a, 9.0, 9.0)
    scene.ask(Party("d", work=WorkClass.ASYNC), 1.0)
    assert scene.exchange(a, 9.0).elsewhere_s == float("inf")


def test_beyond_its_share_asynchronous_work_goes_by_rank(a: Party):
    scene = Scene(queue={"async_share": 0.0})
    dispatcher = Party("d", work=WorkClass.ASYNC)
    scene.ask(a, 90.0, 10.0)
    scene.ask(dispatcher, 30.0)
    scene.start("r1")
    reply = scene.news(dispatcher)
    assert reply is not None
    assert [grant.due for grant in reply.grants] == [False]
    assert len(a.hear(scene.news(a) or pytest.fail("no news"))) == 1


@dataclass
class Worker:
    """A party that always has work, each piece of which takes `seconds`."""

    party: Party
    seconds: float
    ends: list[tuple[float, str]] = field(default_factory=list)
    busy_s: float = 0.0

    def step(self, scene: Scene) -> None:
        """Ends what is due, and asks for more."""
        for place in [place for place in self.ends if place[0] <= scene.now + 1e-9]:
            self.ends.remove(place)
            self.party.held[place[1]] -= 1
        age = -60.0 if self.party.work is WorkClass.ASYNC else 90.0
        for replica_id in scene.ask(self.party, *[age] * 20):
            self.ends.append((scene.now + self.seconds, replica_id))
            self.busy_s += self.seconds


@pytest.mark.parametrize(
    ("slots", "share", "sync_s", "async_s"),
    [
        (1, 0.1, 0.5, 0.5),
        (1, 0.1, 0.2, 2.0),
        (1, 0.5, 1.0, 0.3),
        (4, 0.1, 0.4, 0.8),
        (10, 0.25, 1, 1),
    ],
)
def test_where_both_always_wait_asynchronous_work_gets_its_share_of_the_time(
    slots: int, share: float, sync_s: float, async_s: float
):
    scene = Scene(
        queue={"async_share": share}, autoscaling={"concurrency_target": slots, "max_replica": 1}
    )
    scene.start("r1", slots=slots)
    callers = Worker(Party("a"), sync_s)
    work = Worker(Party("d", work=WorkClass.ASYNC), async_s)
    for _ in range(2000):
        scene.now += 0.1
        scene.queue.report(
            ReplicaReport("r1", "v1", Stage.READY, slots, address="http://r1"), scene.now
        )
        scene.queue.tick(scene.now)
        callers.step(scene)
        work.step(scene)
    had = work.busy_s / (work.busy_s + callers.busy_s)
    assert had == pytest.approx(share, rel=0.15)


def test_asynchronous_waiters_do_not_fill_the_line_of_callers(a: Party):
    scene = Scene(queue={"async_share": 0.0})
    scene.ask(Party("d", work=WorkClass.ASYNC), *[1.0] * 5, waiting_bytes=70)
    reply = scene.exchange(a, 9.0)
    assert (reply.others_waiting, reply.others_bytes) == (0, 0)


def test_a_waiter_with_a_grant_on_its_way_is_not_told_as_waiting(a: Party):
    scene = Scene()
    scene.start("r1", slots=1)
    scene.exchange(Party("b"), 5.0, 4.0)
    assert scene.exchange(a, 1.0).others_waiting == 1


# Unhealthy


def test_after_so_many_failed_starts_nobody_is_served_until_a_start_may_be_tried(
    scene: Scene, a: Party
):
    scene.ask(a, 1.0)
    assert scene.fail_starts(3) == [1.0, 2.0, 4.0]
    reply = scene.news(a)
    assert reply is not None
    assert reply.unhealthy is not None
    assert (reply.unhealthy.reason, reply.unhealthy.retry_after_s) == ("no memory", 30.0)
    scene.queue.tick(scene.now)
    assert scene.queue.decision.desired == 0
    described = scene.queue.describe(scene.now)
    assert (described["status"], described["reason"]) == ("UNHEALTHY", "no memory")


def test_who_asks_after_that_time_has_one_more_start_tried(scene: Scene, a: Party):
    scene.fail_starts(3)
    scene.pass_time(29.9)
    assert scene.exchange(a, 0.0).unhealthy is not None
    scene.pass_time(0.2)
    assert scene.exchange(a, 0.0).unhealthy is None
    assert scene.queue.decision.desired == 1
    scene.report("bad9", Stage.FAILED, reason="still no memory")
    assert scene.exchange(a, 0.0).unhealthy is not None


def test_another_deployment_is_tried_at_once(scene: Scene, a: Party):
    scene.fail_starts(3)
    scene.queue.reconfigure(settings(deployment="v2"))  # type: ignore[arg-type]
    assert scene.exchange(a, 0.0).unhealthy is None


# Scaling


def test_the_first_waiter_starts_a_replica_at_once(scene: Scene, a: Party):
    assert scene.queue.decision.desired == 0
    scene.exchange(a, 0.0)
    assert scene.queue.decision.desired == 1


def test_a_wake_starts_a_replica_at_once_and_outlasts_the_next_ticks(scene: Scene):
    scene.queue.wake(scene.now)
    assert scene.queue.decision.desired == 1
    scene.pass_time(60.0)
    assert scene.queue.decision.desired == 1


def test_a_wake_lasts_until_the_replica_is_ready_however_long_it_loads():
    scene = Scene(autoscaling={"concurrency_target": 1, "window_s": 1.0, "scale_down_delay_s": 2.0})
    scene.queue.wake(scene.now)
    scene.report("r1", Stage.LOADING)
    for _ in range(30):
        scene.pass_time(1.0)
        scene.report("r1", Stage.LOADING)
        assert scene.queue.decision.desired == 1
    scene.report("r1", Stage.READY)
    scene.pass_time(2.0)
    assert scene.queue.decision.desired == 1
    scene.pass_time(2.0)
    assert scene.queue.decision.desired == 0


def test_load_over_all_holders_counts(a: Party, b: Party):
    scene = Scene(autoscaling={"concurrency_target": 1, "utilization": 1.0, "max_replica": 100})
    for step in range(650):
        load = 2.0 * step * 0.1
        for party in (a, b):
            scene.exchange(party, 1.0, 1.0, load_s=load, uptime_s=step * 0.1)
        scene.pass_time(0.1)
    assert scene.queue.decision.desired == 4


def test_a_burst_counts_for_as_long_as_it_lasted(a: Party):
    scene = Scene(autoscaling={"concurrency_target": 1, "utilization": 1.0, "window_s": 10.0})
    scene.pass_time(20.0)
    scene.exchange(a, uptime_s=20.0)
    # Forty requests of 0.2 s, and then a second without any news.
    scene.now += 0.2
    scene.exchange(a, load_s=8.0, uptime_s=20.2)
    scene.pass_time(0.05, step=0.05)
    scene.pass_time(1.0)
    assert scene.queue.decision.desired == 1
    assert scene.queue.decision.reason.startswith("0.8")


def test_rejected_requests_count_for_a_while(a: Party):
    scene = Scene(autoscaling={"concurrency_target": 1, "utilization": 1.0, "window_s": 1.0})
    scene.exchange(a)
    scene.exchange(a, rejected=4, served=2, busy_s=4.0)
    scene.pass_time(1.5)
    assert scene.queue.decision.desired == 1
    assert scene.seen().in_flight == 4
    scene.pass_time(0.6)
    assert scene.seen().in_flight == 0


# What policies see


def test_policies_see_replicas_slots_and_requests(scene: Scene, a: Party, b: Party):
    scene.queue.reconfigure(replace(scene.queue.settings, slots=2))
    scene.start("r1")
    scene.report("r2", Stage.STARTING)
    scene.report("r3", Stage.DRAINING)
    a.held = {"r1": 1}
    scene.exchange(a, in_use=1)
    scene.exchange(b, 2.0, 1.0)
    seen = scene.seen()
    # One of the two waiters has a grant on its way.
    assert (seen.waiting, seen.running, seen.in_flight) == (1, 2, 3)
    assert (seen.ready, seen.live, seen.slots) == (1, 2, 2)
    assert seen.scaling is scene.queue.settings.autoscaling


def test_what_was_wanted_at_the_last_tick_is_seen(scene: Scene, a: Party):
    scene.exchange(a, 0.0)
    scene.pass_time(0.1)
    assert scene.seen().desired == 1


def test_nothing_is_made_up_for_what_is_not_known(scene: Scene):
    assert (scene.seen().service_s, scene.seen().startup_s) == (None, None)


def test_arrivals_are_what_is_served_present_and_rejected(scene: Scene, a: Party, b: Party):
    scene.ask(a, 1.0, in_use=0)
    assert scene.seen().arrived == 1
    scene.ask(a, 1.0, 1.0, served=3, rejected=2)
    scene.ask(b, served=5)
    assert scene.seen().arrived == 2 + 3 + 2 + 5


def test_arrivals_never_fall_when_waiters_give_up(scene: Scene, a: Party):
    scene.ask(a, 1.0, 1.0, 1.0)
    scene.ask(a)
    assert scene.seen().arrived == 3
    scene.ask(a, 0.0)
    assert scene.seen().arrived == 4


def test_arrivals_of_a_holder_that_was_away_count_once(scene: Scene, a: Party):
    scene.ask(a, 1.0, served=7)
    scene.pass_time(6.0)  # its lease is over
    scene.ask(a, 7.0, served=7)
    assert scene.seen().arrived == 8


def test_a_request_that_brings_a_forgotten_holder_back_counts(scene: Scene, a: Party):
    for number in range(3):
        scene.ask(a, 0.0, served=number)
        scene.ask(a, served=number + 1)
        scene.pass_time(6.0)  # idle, it need not keep its lease
    assert scene.seen().arrived == 3


def test_counts_of_holders_that_never_come_back_are_bounded(scene: Scene):
    for number in range(1_200):
        scene.ask(Party(f"short-lived-{number}"), served=1)
        scene.pass_time(0.1)
    assert scene.seen().arrived == 1_200
    assert len(scene.queue._demand._counted) == 1_000


def test_a_restarted_queue_takes_what_holders_did_before_for_no_arrivals(scene: Scene, a: Party):
    scene.ask(a, 1.0, served=1000)
    scene.queue = EnvironmentQueue(scene.queue.settings, "life2", scene.now)
    scene.ask(a, 1.0, served=1000)
    scene.ask(a, 1.0, served=1002)
    assert scene.seen().arrived == 2


def test_the_mean_service_time_follows_the_last_thousands(scene: Scene, a: Party):
    served, busy_s = 0, 0.0
    for seconds, requests in ((1.0, 4000), (3.0, 6000)):
        for _ in range(requests // 10):
            served, busy_s = served + 10, busy_s + 10 * seconds
            scene.ask(a, served=served, busy_s=busy_s)
        assert scene.seen().service_s == pytest.approx(seconds, rel=0.01)


def test_the_time_of_a_start_is_that_within_which_nearly_all_became_ready(scene: Scene):
    for number in range(40):
        seconds = 100.0 if number == 7 else 10.0 + number % 2
        scene.report(f"r{number}", Stage.STARTING)
        stages = {Stage.STARTING: 1.0, Stage.LOADING: seconds - 1.0}
        scene.report(f"r{number}", Stage.READY, stages=stages)
    scene.report("bad", Stage.STARTING)
    scene.report("bad", Stage.FAILED, stages={Stage.STARTING: 1000.0})
    assert scene.seen().startup_s == 11.0


def test_the_time_of_day_goes_on_with_the_clock_and_can_be_set():
    scene = Scene(autoscaling={"policies": [{"name": f"{HERE}:Recording"}]})
    scene.queue = EnvironmentQueue(scene.queue.settings, "life2", START, 1.7e9)
    scene.pass_time(5.0)
    assert Recording.seen[-1].unix_s == pytest.approx(1.7e9 + 5.0)
    scene.queue.tick(scene.now, 1.8e9)
    scene.pass_time(2.0)
    assert Recording.seen[-1].unix_s == pytest.approx(1.8e9 + 2.0)


def test_an_exchange_asks_no_policy_while_a_replica_is_wanted(a: Party):
    scene = Scene(autoscaling={"policies": [{"name": f"{HERE}:Recording"}]})
    scene.ask(a, 0.0)
    assert len(Recording.seen) == 1
    scene.ask(a, 0.1, 0.0)
    scene.ask(a, 0.2, 0.1)
    assert len(Recording.seen) == 1
    scene.pass_time(0.2)
    assert len(Recording.seen) == 3


def test_another_policy_takes_over_while_the_queue_runs(scene: Scene):
    scene.pass_time(1.0)
    fixed = {"name": f"{HERE}:Fixed", "settings": {"replicas": 3}}
    scene.queue.reconfigure(settings(autoscaling={"max_replica": 10, "policies": [fixed]}))
    scene.pass_time(0.1)
    [decision] = scene.queue.describe(scene.now)["decisions"]
    assert (decision["before"], decision["desired"]) == (0, 3)
    assert decision["reason"] == "always 3"


def test_a_policy_that_cannot_be_loaded_leaves_the_queue_working(scene: Scene, a: Party):
    broken = {"name": "nowhere:Policy"}
    scene.queue.reconfigure(settings(autoscaling={"max_replica": 4, "policies": [broken]}))
    scene.exchange(a, 0.0)
    scene.start("r1")
    assert scene.ask(a, 0.1) == ["r1"]
    scene.pass_time(1.0)
    described = scene.queue.describe(scene.now)
    assert described["desired"] == 1
    assert described["decision"].startswith("policy nowhere:Policy cannot be loaded: there is no")


def test_a_new_queue_takes_no_replica_away_before_it_has_settled(scene: Scene):
    for replica_id in ("r1", "r2", "r3"):
        scene.report(replica_id, Stage.READY)
    scene.pass_time(SETTLED_AFTER_S - 0.1)
    assert not scene.queue.settled(scene.now)
    assert scene.queue.decision.desired == 3
    scene.pass_time(0.1)
    assert scene.queue.settled(scene.now)


# What is told of it


def test_how_many_are_ahead_over_all_other_holders(scene: Scene, a: Party, b: Party):
    scene.ask(a, 9.0, 5.0, 1.0)
    scene.ask(b, 7.0)
    assert scene.queue.ahead("b", 7.0, scene.now) == 1
    assert scene.queue.ahead("b", 0.5, scene.now) == 3
    assert scene.queue.ahead("a", 8.0, scene.now) == 0
    assert scene.queue.ahead("c", 0.0, scene.now) == 4


def test_those_who_are_not_described_are_behind_those_who_are(scene: Scene, a: Party):
    scene.ask(a, *[9.0] * (HEADS + 10))
    assert scene.queue.ahead("b", 10.0, scene.now) == 0
    assert scene.queue.ahead("b", 8.0, scene.now) == HEADS + 10


def test_an_environment_describes_itself(scene: Scene, a: Party):
    scene.start("r1")
    scene.report("r1", Stage.READY, stages={Stage.LOADING: 2.0}, age_s=3.0, in_flight=1)
    scene.ask(a, 5.0, 4.0, 3.0)
    a.held = {"r1": 2}
    scene.exchange(a, 3.0, in_use=1)
    scene.pass_time(0.5)
    described = scene.queue.describe(scene.now)
    assert described.pop("oldest_wait_s") == pytest.approx(3.5)
    assert described["replicas"][0].pop("age_s") == pytest.approx(3.5)
    callers = described.pop("classes")
    assert callers["sync"].pop("oldest_wait_s") == pytest.approx(3.5)
    assert callers == {
        "sync": {"waiting": 1, "in_use": 1},
        "async": {"waiting": 0, "in_use": 0, "oldest_wait_s": 0.0},
    }
    assert described.pop("decisions") == []
    assert described.pop("decided") == {
        "age_s": pytest.approx(0.5),
        "before": 1,
        "desired": 1,
        "reason": "no change since the queue was started",
    }
    assert described.pop("starts") == [
        {
            "age_s": pytest.approx(0.5),
            "replica": "r1",
            "deployment": "v1",
            "seconds": 0,
            "result": "ready",
            "reason": None,
            "stages": {},
        }
    ]
    assert described.pop("decision").endswith(" in flight over 60 s, 7 a replica")
    assert described == {
        "status": "ACTIVE",
        "reason": None,
        "log_tail": [],
        "retry_after_s": None,
        "desired": 1,
        "waiting": 1,
        "in_use": 1,
        "kept": 1,
        "slots": 2,
        "holders": 1,
        "replicas": [
            {
                "id": "r1",
                "deployment": "v1",
                "stage": "READY",
                "address": "http://r1",
                "slots": 2,
                "permits": 2,
                "in_flight": 1,
                "stages": {"LOADING": 2.0},
                "suspect": False,
            }
        ],
        "provisioning": {"count": 0, "for_s": 0.0, "needs": {"num_gpus": 1}},
        "startup": {"count": 1, "p50": {}, "p95": {}},
    }


def test_it_says_since_when_replicas_are_missing(scene: Scene, a: Party):
    scene.exchange(a, 0.0)
    scene.pass_time(3.0)
    provisioning = scene.queue.describe(scene.now)["provisioning"]
    assert provisioning["count"] == 1
    assert provisioning["for_s"] == pytest.approx(3.0)


def test_work_is_told_by_class(scene: Scene, a: Party):
    scene.exchange(a, 5.0, 4.0)
    scene.exchange(Party("d", work=WorkClass.ASYNC), 2.0, in_use=3)
    classes = scene.queue.describe(scene.now)["classes"]
    assert classes["sync"] == {"waiting": 2, "oldest_wait_s": 5.0, "in_use": 0}
    assert classes["async"] == {"waiting": 1, "oldest_wait_s": 2.0, "in_use": 3}


def test_each_change_of_what_is_wanted_is_remembered_with_its_reason(scene: Scene, a: Party):
    scene.exchange(a, 0.0)
    scene.pass_time(1.0)
    scene.fail_starts(3)
    scene.pass_time(1.0)
    decisions = scene.queue.describe(scene.now)["decisions"]
    assert [(d["before"], d["desired"]) for d in decisions] == [(0, 1), (1, 0)]
    assert decisions[1]["reason"] == "unhealthy: no start beyond min_replica is tried"
    assert [d["age_s"] for d in decisions] == [pytest.approx(2.0), pytest.approx(0.9)]


def test_a_restarted_queue_does_not_take_what_runs_for_a_decision(scene: Scene):
    scene.report("r1", Stage.READY)
    scene.pass_time(1.0)
    assert scene.queue.decision.desired == 1
    assert scene.queue.describe(scene.now)["decisions"] == []


def test_the_time_from_wanted_to_the_first_report_is_provisioning(scene: Scene, a: Party):
    scene.exchange(a, 0.0)
    scene.pass_time(3.0)
    scene.report("r1", Stage.STARTING)
    scene.pass_time(1.0)
    scene.report("r1", Stage.READY, stages={Stage.STARTING: 1.0})
    described = scene.queue.describe(scene.now)
    took = {"PROVISIONING": pytest.approx(3.0), "STARTING": 1.0}
    assert described["replicas"][0]["stages"] == took
    assert described["startup"]["p50"] == took
    assert described["starts"][0]["stages"] == took
    assert described["starts"][0]["seconds"] == pytest.approx(4.0)
    assert described["provisioning"] == {"count": 0, "for_s": 0.0, "needs": {"num_gpus": 1}}


def test_what_is_new_is_taken_once(scene: Scene, a: Party):
    scene.exchange(a, 0.0)
    scene.report("r1", Stage.STARTING)
    scene.report("r1", Stage.FAILED, reason="no memory", stages={Stage.STARTING: 2.0})
    change, start = scene.queue.chronicle.take()
    assert isinstance(change, Change)
    assert (change.before, change.desired) == (0, 1)
    assert isinstance(start, Start)
    assert (start.replica_id, start.reason, start.seconds) == ("r1", "no memory", 2.0)
    assert scene.queue.chronicle.take() == []


def test_waiting_asynchronous_work_has_not_waited_a_negative_time(scene: Scene):
    scene.exchange(Party("d", work=WorkClass.ASYNC), -60.0)
    assert scene.queue.describe(scene.now)["oldest_wait_s"] == 0.0


def test_status_follows_the_replicas(scene: Scene, a: Party):
    def status() -> str:
        found: str = scene.queue.describe(scene.now)["status"]
        return found

    assert status() == "SCALED_TO_ZERO"
    scene.exchange(a, 0.0)
    assert status() == "WAKING_UP"
    scene.report("r1", Stage.STARTING)
    assert status() == "WAKING_UP"
    scene.report("r1", Stage.LOADING)
    assert status() == "LOADING_MODEL"
    scene.report("r1", Stage.READY)
    assert status() == "ACTIVE"

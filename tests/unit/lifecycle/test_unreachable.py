"""A replica that one holder cannot reach: avoided by that one alone, for a growing pause."""

from __future__ import annotations

from collections import Counter

from orchestrator.lifecycle.holder import Holder
from orchestrator.lifecycle.line import Waiter
from orchestrator.lifecycle.permits import Grant, Reply, Usable
from orchestrator.lifecycle.settings import QueueSettings
from orchestrator.lifecycle.unreachable import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    REMEMBERED_S,
    TRIAL_S,
    Unreachable,
)
from tests.unit.lifecycle.world import STEP_S, Party, Request, World

NOBODY: frozenset[str] = frozenset()


# The pauses


def test_the_first_failure_is_the_queue_s_to_judge():
    unreachable = Unreachable()
    assert not unreachable
    assert unreachable.failed("r", 10.0)
    assert unreachable
    assert unreachable.avoided(10.0) == NOBODY


def test_pauses_double_from_one_second_to_thirty_and_are_nobody_else_s_business():
    unreachable = Unreachable()
    now = 10.0
    unreachable.failed("r", now)
    pauses = []
    for _ in range(8):
        assert not unreachable.failed("r", now)
        began = now
        while "r" in unreachable.avoided(now):
            now += 0.25
        pauses.append(now - began)
        unreachable.used("r", now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)


def test_requests_that_were_under_way_when_the_pause_began_do_not_lengthen_it():
    unreachable = Unreachable()
    for _ in range(10):
        unreachable.failed("r", 10.0)
    assert unreachable.avoided(10.9) == {"r"}
    assert unreachable.avoided(11.0) == NOBODY


def test_after_a_pause_one_request_tries_alone():
    unreachable = Unreachable()
    unreachable.failed("r", 10.0)
    unreachable.failed("r", 10.0)
    unreachable.used("r", 11.0)
    assert unreachable.avoided(11.0) == {"r"}
    unreachable.ended("r")
    assert unreachable.avoided(11.0) == NOBODY
    unreachable.used("r", 11.5)
    assert unreachable.avoided(11.5) == NOBODY


def test_a_long_request_does_not_keep_others_from_a_replica_that_can_be_reached_again():
    unreachable = Unreachable()
    unreachable.failed("r", 10.0)
    unreachable.failed("r", 10.0)
    unreachable.used("r", 11.0)
    assert unreachable.avoided(11.0 + TRIAL_S) == NOBODY


def test_a_failure_long_after_the_last_pause_is_a_first_one_again():
    unreachable = Unreachable()
    unreachable.failed("r", 10.0)
    unreachable.failed("r", 10.0)
    assert not unreachable.failed("r", 11.0 + REMEMBERED_S - 0.1)
    assert unreachable.failed("r", 11.0 + REMEMBERED_S - 0.1 + 2 + REMEMBERED_S)


def test_replicas_that_have_gone_are_not_kept_in_mind():
    unreachable = Unreachable()
    for number in range(100):
        unreachable.failed(f"r{number}", 10.0)
    unreachable.avoided(10.0 + REMEMBERED_S)
    assert not unreachable


# A holder


def told(holder: Holder, *grants: str, stamp: int, replicas: tuple[str, ...]) -> list[str]:
    """Where requests begin when a queue says this; it speaks at 100 s of the holder's clock."""
    numbered = tuple(Grant(stamp * 10 + n, name) for n, name in enumerate(grants))
    usable = tuple(Usable(name, f"http://{name}", 4) for name in replicas)
    reply = Reply("t/1", stamp, holder._seq, numbered, replicas_version=stamp, replicas=usable)
    return [each.permit.replica_id for each in holder.hear(reply, 100.0, 100.0).assigned]


def failing_twice(replicas: tuple[str, ...]) -> Holder:
    """A holder that could not reach `far` although it had reported in between."""
    holder = Holder("h", QueueSettings(), 100.0)
    holder.summary(100.0)
    for stamp in (1, 2):
        holder.park(Waiter(100.0, 1000.0), 100.0)
        holder.summary(100.0)
        assert told(holder, "far", stamp=stamp, replicas=replicas) == ["far"]
        [permit] = holder._in_use
        holder.release(permit, 100.0, failed=True)
        assert holder.summary(100.0).failed == ({"far"} if stamp == 1 else NOBODY)
    return holder


def test_all_that_wait_are_to_avoid_it_and_its_permits_go_back():
    holder = failing_twice(("far", "near"))
    holder.park(Waiter(100.0, 1000.0, avoid=frozenset({"x"})), 100.0)
    assert [head.avoid for head in holder.summary(100.0).heads] == [{"far", "x"}]
    assert told(holder, "far", stamp=3, replicas=("far", "near")) == []
    assert holder.summary(100.0).held == {}
    assert told(holder, "near", stamp=4, replicas=("far", "near")) == ["near"]


def test_it_is_used_where_there_is_no_other():
    holder = failing_twice(("far",))
    holder.park(Waiter(100.0, 1000.0), 100.0)
    holder.summary(100.0)
    assert told(holder, "far", stamp=3, replicas=("far",)) == ["far"]


def test_its_permits_are_not_kept_for_the_next_request():
    holder = failing_twice(("far", "near"))
    holder.park(Waiter(100.0, 1000.0), 100.0)
    holder.summary(100.0)
    told(holder, "near", "far", stamp=3, replicas=("far", "near"))
    [permit] = holder._in_use
    holder.release(permit, 100.0)
    assert holder.summary(100.0).held == {"near": 1}


def test_the_queue_hears_no_more_of_it_while_the_pause_lasts_and_all_of_it_afterwards():
    holder = failing_twice(("far", "near"))
    holder.park(Waiter(100.0, 1000.0), 100.0)
    assert holder.summary(100.9).heads[0].avoid == {"far"}
    assert holder.summary(101.0).heads[0].avoid == NOBODY


# A system


class CutLink(World):
    """`far` cannot be reached from the holder `here`, which finds that out after a while."""

    UNTIL_IT_FAILS_S = 0.5
    SERVICE_S = 0.15

    def begin(self) -> None:
        self.here, self.elsewhere = self.add_holder(), self.add_holder()
        self.near, self.far = self.add_replica(), self.add_replica()
        self.began: dict[int, float] = {}
        self.done: Counter[tuple[str, str]] = Counter()
        self.failures = 0
        self.suspected = 0
        self.cut = True
        self.run(2.5)

    def serve(self, seconds: float, here: int = 1, elsewhere: int = 1) -> None:
        """The holders get so many requests each 0.1 s."""
        for step in range(int(seconds / STEP_S)):
            if step % 10 == 0:
                for holder, number in ((self.here, here), (self.elsewhere, elsewhere)):
                    for _ in range(number):
                        self.arrive(holder)
            suspect = self._is_suspect()
            self.run(STEP_S)
            self.suspected += self._is_suspect() and not suspect
            for request in self.running():
                self._go_on(request)

    def _check_order(self, party: Party, chosen: Request) -> None:
        """Who has to avoid a replica is passed over for its slots, so there is no order to check."""

    def _is_suspect(self) -> bool:
        return self.queue.pool.known[self.far].suspect

    def _go_on(self, request: Request) -> None:
        assert request.permit is not None
        place = (request.holder, request.permit.replica_id)
        unreachable = self.cut and place == (self.here, self.far)
        ran = self.now - request.permit.since
        if unreachable and ran >= self.UNTIL_IT_FAILS_S:
            self.failures += 1
            self._fails(request)
        elif not unreachable and ran >= self.SERVICE_S:
            self.done[place] += 1
            self.finish(request.holder, request)

    def _fails(self, request: Request) -> None:
        """As `World.put_back`, and it avoids the replica from now on."""
        party = self.holders[request.holder]
        permit, request.permit = request.permit, None
        assert permit is not None
        self._apply(party, party.core.release(permit, self.now, failed=True))
        request.waiter.avoid |= {permit.replica_id}
        assert party.core.park(request.waiter, self.now) is None


def test_a_link_that_is_cut_costs_one_holder_a_few_tries_and_the_others_nothing():
    world = CutLink(lossy=True)
    world.begin()
    world.serve(60)
    # In use for everybody else, all the time but for the first failure's moment.
    assert world.suspected <= 1
    assert world.done[world.elsewhere, world.far] > 200
    # Six pauses from 1 s to 30 s fit into a minute; after each, one request tries.
    assert 3 <= world.failures <= 9
    assert world.done[world.here, world.near] > 500


def test_a_link_that_is_mended_is_used_again():
    world = CutLink(lossy=True)
    world.begin()
    world.serve(20)
    world.cut = False
    world.serve(LONGEST_PAUSE_S)
    failures = world.failures
    world.serve(5, here=3, elsewhere=0)  # more than one replica can take
    assert world.done[world.here, world.far] > 10
    assert world.failures == failures
    world.settle()

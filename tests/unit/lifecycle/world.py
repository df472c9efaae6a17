"""One queue, several holders and replicas, and the network between them, in virtual time.

The objects are the real ones; only clock, network and replicas are made here.
The world keeps the truth (who runs where) beside what the parts believe, and
checks the one against the other.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.holder import Holder, Outcome, Permit, Refusal
from orchestrator.lifecycle.line import Waiter
from orchestrator.lifecycle.permits import Reply, WorkClass
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.lifecycle.settings import (
    AutoscalingSettings,
    EnvironmentSettings,
    QueueSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S = 0.01
DELAY_S = 0.02
"""Longest delay of a message in a network that loses nothing."""

SLOTS = 2


@dataclass(slots=True)
class Request:
    waiter: Waiter
    holder: str
    parked_at: float
    ended: str | None = None
    permit: Permit | None = None


@dataclass
class Party:
    """A holder and its shell: one exchange under way at a time, and one watch."""

    core: Holder
    exchanging: float | None = None
    watching: float | None = None
    requests: dict[int, Request] = field(default_factory=dict)


@dataclass
class World:
    lossy: bool = False
    queue_settings: QueueSettings = field(default_factory=QueueSettings)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.settings = EnvironmentSettings(
            model="m",
            environment="production",
            deployment="v1",
            queue=self.queue_settings,
            autoscaling=AutoscalingSettings(concurrency_target=SLOTS, max_replica=10),
        )
        self.lives = count(1)
        self.numbers = count()
        self.holders: dict[str, Party] = {}
        self.replicas: dict[str, Stage] = {}
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.drop_next = 0
        self.overcommit_excused = False
        self.free_since: float | None = None
        self.disturbed_at = self.now
        self.leased_until = self.now
        self.queue = self._new_queue()
        self.queue_up = True
        self.all_requests: list[Request] = []

    def _new_queue(self) -> EnvironmentQueue:
        return EnvironmentQueue(self.settings, f"life{next(self.lives)}", self.now)

    # What happens in the world

    def add_holder(self, work: WorkClass = WorkClass.SYNC) -> str:
        name = f"holder{next(self.numbers)}"
        self.holders[name] = Party(Holder(name, self.queue_settings, self.now, work))
        return name

    def crash_holder(self, name: str) -> None:
        """Its callers' connections and its requests die with it; its permits, a lease later."""
        self.leased_until = self.now + self.queue_settings.lease_s + 2 * DELAY_S
        party = self.holders.pop(name)
        party.watching = None
        for request in party.requests.values():
            request.ended = request.ended or "holder died"

    def add_replica(self) -> str:
        name = f"replica{next(self.numbers)}"
        self.replicas[name] = Stage.STARTING
        self._heartbeat(name)
        self.replicas[name] = Stage.READY
        self._heartbeat(name)
        return name

    def drain_replica(self, name: str) -> None:
        self.disturbed_at = self.now
        self.replicas[name] = Stage.DRAINING
        self._report(name)

    def kill_replica(self, name: str) -> None:
        """What runs there fails, and its holders notice."""
        self.disturbed_at = self.now
        del self.replicas[name]
        for holder, party in list(self.holders.items()):
            for request in list(party.requests.values()):
                if request.permit is not None and request.permit.replica_id == name:
                    self.finish(holder, request, failed=True)

    def crash_queue(self) -> None:
        self.queue_up = False
        self.overcommit_excused = True

    def restart_queue(self) -> None:
        self.queue = self._new_queue()
        self.queue_up = True

    def arrive(
        self, holder: str, *, level: int = 0, patience_s: float = 1e9, size: int = 0
    ) -> Request | Refusal:
        party = self.holders[holder]
        waiter = Waiter(self.now, self.now + patience_s, size=size, level=level)
        request = Request(waiter, holder, self.now)
        permit = party.core.take(self.now)
        if permit is None:
            refusal = party.core.park(waiter, self.now)
            if refusal is not None:
                return refusal
        party.requests[waiter.number] = request
        self.all_requests.append(request)
        request.permit = permit
        return request

    def put_back(self, holder: str, request: Request) -> None:
        """A running request gives its permit on and goes back to its old place."""
        party = self.holders[holder]
        assert request.permit is not None
        permit, request.permit = request.permit, None
        self._apply(party, party.core.release(permit, self.now))
        assert party.core.park(request.waiter, self.now) is None
        request.parked_at = self.now

    def cancel(self, holder: str, request: Request) -> None:
        if self.holders[holder].core.leave(request.waiter, self.now):
            self._end(request, "cancelled")

    def finish(self, holder: str, request: Request, *, failed: bool = False) -> None:
        party = self.holders[holder]
        assert request.permit is not None
        permit, request.permit = request.permit, None
        self._end(request, "finished")
        self._apply(party, party.core.release(permit, self.now, failed=failed))

    def jump(self, seconds: float) -> None:
        """Every clock steps (the machine slept); what was under way arrives late."""
        self.now += seconds
        if seconds >= self.queue_settings.lease_s:
            self.overcommit_excused = True

    # The shells

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self._step()
            self.check()

    def _step(self) -> None:
        while self.events and self.events[0][0] <= self.now:
            heapq.heappop(self.events)[2]()
        for name in self.replicas:
            if int(self.now / STEP_S) % 100 == hash(name) % 100:
                self._report(name)
        if self.queue_up:
            before = set(self.queue._holders)
            self.queue.tick(self.now)
            if before - set(self.queue._holders) & set(self.holders):
                self.overcommit_excused = self.overcommit_excused or self.lossy
        for name, party in list(self.holders.items()):
            self._apply(party, party.core.expire(self.now))
            self._converse(name, party)

    def _converse(self, name: str, party: Party) -> None:
        timeout = 0.5
        if party.exchanging is not None and self.now - party.exchanging > timeout:
            party.exchanging = None
            party.core.lost()
        if party.exchanging is None and party.core.due(self.now) <= self.now:
            party.exchanging = sent = self.now
            message = party.core.summary(self.now)
            self._send(lambda: self._to_queue(name, party, message, sent))
        if party.watching is not None and self.now - party.watching > timeout:
            party.watching = None
        if party.watching is None:
            party.watching = self.now
            self._send(lambda sent=self.now: self._watch(name, party, sent))  # type: ignore[misc]

    def _to_queue(self, name: str, party: Party, message: object, sent: float) -> None:
        if self.queue_up:
            reply = self.queue.exchange(message, self.now)  # type: ignore[arg-type]
            self._send(lambda: self._hear(name, party, reply, sent, "exchanging"))

    def _watch(self, name: str, party: Party, sent: float) -> None:
        if not self.queue_up or party.watching != sent:
            return
        if self.now - sent <= DELAY_S + STEP_S:
            self.queue.renew(name, self.now)
        reply = self.queue.news(name, *party.core.seen(), self.now)
        if reply is not None:
            self._send(lambda: self._hear(name, party, reply, sent, "watching"))
        else:
            self._later(STEP_S, lambda: self._watch(name, party, sent))

    def _hear(self, name: str, party: Party, reply: Reply, sent: float, what: str) -> None:
        if self.holders.get(name) is not party:
            return
        if getattr(party, what) == sent:
            setattr(party, what, None)
        self._apply(party, party.core.hear(reply, sent, self.now))

    def _report(self, name: str) -> None:
        self._send(lambda: self._heartbeat(name))

    def _heartbeat(self, name: str) -> None:
        if self.queue_up and name in self.replicas:
            stage = self.replicas[name]
            self.queue.report(ReplicaReport(name, "v1", stage, SLOTS, f"http://{name}"), self.now)

    def _send(self, deliver: Callable[[], None]) -> None:
        if self.lossy and self.drop_next:
            self.drop_next -= 1
            return
        # A fixed pattern of delays reorders messages and keeps failures repeatable.
        number = next(self.numbers)
        self._later(DELAY_S * ((number * 7) % 5) / 4, deliver)

    def _later(self, delay: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + delay, next(self.numbers), what))

    # The truth

    def _end(self, request: Request, how: str) -> None:
        assert request.ended is None, f"{request.ended}, and then {how}"
        request.ended = how
        self.holders[request.holder].requests.pop(request.waiter.number)

    def _apply(self, party: Party, outcome: Outcome) -> None:
        for assignment in outcome.assigned:
            request = party.requests[assignment.waiter.number]
            assert request.permit is None, "granted twice"
            assert request.ended is None, "granted after its end"
            self._check_order(party, request)
            request.permit = assignment.permit
        for waiter, refusal in outcome.refused:
            request = party.requests[waiter.number]
            assert request.permit is None, "refused while it runs"
            self._end(request, refusal)

    def _check_order(self, party: Party, chosen: Request) -> None:
        rank = party.core.line.rank(chosen.waiter)
        best = party.core.line.best()
        assert best is None or party.core.line.rank(best) >= rank, "overtaken within a holder"
        share = party.core.work is WorkClass.ASYNC
        if share or self.lossy or self.overcommit_excused:
            return
        bound = self.queue_settings.handover_s + 4 * DELAY_S + 2 * STEP_S
        for other in self.holders.values():
            first = other.core.line.best()
            if first is None or other is party:
                continue
            # Ages are as old as their message: ranks closer than that are equal to the queue.
            if other.core.line.rank(first) >= rank - 2 * DELAY_S:
                continue
            known = self.queue._holders.get(other.core.name)
            if known is not None and known.pending:
                continue  # a permit is on its way to it
            # A grant for a replica that is lost on the way has to be made again.
            since = max(other.requests[first.number].parked_at, self.disturbed_at)
            waited = self.now - since
            assert waited <= bound, f"overtaken across holders after waiting {waited:.3f} s"

    def running(self) -> list[Request]:
        return [r for p in self.holders.values() for r in p.requests.values() if r.permit]

    def waiting(self) -> list[Request]:
        return [r for p in self.holders.values() for r in p.requests.values() if not r.permit]

    def check(self) -> None:
        truth = Counter(r.permit.replica_id for r in self.running() if r.permit)
        if not self.overcommit_excused:
            assert all(n <= SLOTS for n in truth.values()), f"more running than slots: {truth}"
        self._check_work_conserving(truth)

    def _check_work_conserving(self, truth: Counter[str]) -> None:
        usable = [name for name, stage in self.replicas.items() if stage is Stage.READY]
        idle = any(truth[name] < SLOTS for name in usable) and self.waiting()
        if not idle or self.lossy or self.overcommit_excused or self.now < self.leased_until:
            self.free_since = None
            return
        self.free_since = self.free_since if self.free_since is not None else self.now
        # A kept permit is recalled, reported and granted: six messages and a lazy report.
        bound = 6 * DELAY_S + 0.2 + self.queue_settings.handover_s + 10 * STEP_S
        assert self.now - self.free_since <= bound, "a waiter, and a slot that stays free"

    def settle(self) -> None:
        """Let everything end, and check that nothing is left over."""
        self.drop_next = 0
        if not self.queue_up:
            self.restart_queue()
        if not any(stage is Stage.READY for stage in self.replicas.values()):
            self.add_replica()
        deadline = self.now + 300
        while self.running() or self.waiting():
            assert self.now < deadline, "some requests never end"
            for request in self.running():
                self.finish(request.holder, request)
            self.run(0.2)
        self.run(2 * self.queue_settings.lease_s)
        assert all(request.ended for request in self.all_requests)
        for name in self.replicas:
            assert self.queue._out(name) == 0, "a permit leaked"
        for party in self.holders.values():
            assert not party.core.in_use
            assert not party.core.kept
            assert not len(party.core.line)
            assert not party.core.line.bytes

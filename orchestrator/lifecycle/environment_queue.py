"""The queue of one environment: who gets the next permit, and how many replicas there should be.

It knows a few numbers per holder and per replica, never a request. All of it is
soft: a restarted queue is rebuilt by the holders' next exchanges and the
replicas' next reports. Its shell feeds it messages, calls `tick` every 0.1 s,
and wakes those watches for which `news` has something.

Invariant: while a replica's settling time is over and its holders keep their
leases, the permits out for it are at most its slots.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.choice import Candidate, choose
from orchestrator.lifecycle.chronicle import Change, Chronicle
from orchestrator.lifecycle.demand import Demand
from orchestrator.lifecycle.description import describe
from orchestrator.lifecycle.permits import HEADS, Exchange, Grant, Reply, Usable, WorkClass
from orchestrator.lifecycle.registered import RegisteredHolder
from orchestrator.lifecycle.replica import ReplicaReport, ReportReply
from orchestrator.lifecycle.replica_pool import ReplicaPool
from orchestrator.lifecycle.scaling.autoscaler import Autoscaler
from orchestrator.lifecycle.scaling.pace import Decision
from orchestrator.lifecycle.scaling.policy import Seen
from orchestrator.lifecycle.share import MinimumShare

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from orchestrator.lifecycle.settings import EnvironmentSettings

SETTLED_AFTER_S = 6.0
"""A report that was under way to a queue that died is given up after 5 s, and the replica's next
one, which finds this queue, follows within a second: by then all have been heard of."""

WOKEN_S = 1.0
"""A replica that was woken counts as used for so long after it became ready."""


class EnvironmentQueue:
    """See the module. All times are readings of the queue's own clock, in seconds."""

    def __init__(
        self, settings: EnvironmentSettings, name: str, now: float, unix_s: float = 0.0
    ) -> None:
        """A new life of the queue.

        Args:
            settings: what it goes by.
            name: tells this life of the queue from every other; it begins the terms.
            now: its clock.
            unix_s: the time of day now, seconds since 1970 (UTC).
        """
        self.settings = settings
        self.name = name
        self.chronicle = Chronicle()
        self.pool = ReplicaPool(settings.startup, self.chronicle)
        self.autoscaler = Autoscaler(settings.autoscaling, now)
        self.decision = Decision(self.autoscaler.current, "no load seen yet")
        self.born = now
        self._unix_at_zero = unix_s - now
        self._wake_until = -math.inf
        self._holders: dict[str, RegisteredHolder] = {}
        self._terms = 0
        self._stamp = 0
        self._usable: list[Usable] = []
        self._usable_version = -1
        self._share = MinimumShare(now)
        self._demand = Demand()

    # Holders

    def exchange(self, message: Exchange, now: float) -> Reply:
        """Take in a holder's summary, give out what is free, and answer."""
        self._account_share(now)
        holder = self._holders.get(message.holder)
        if holder is None:
            holder = self._register(message, now)
        elif message.seq > holder.message.seq:
            # Where it has not heard of its new term yet, it speaks in the one before.
            if message.term not in (holder.term, holder.entered_from):
                holder = self._register(message, now)
            else:
                self._take_in(holder, message, now)
        holder.heard = now
        self.pool.suspect(message.failed)
        if message.waiting:
            self.pool.probe(now)
            if not self.decision.desired:
                self._scale(now)
        self._allocate(now)
        # In another term, the version that it knows was another queue's.
        same_term = message.term == holder.term
        return self._reply(holder, now, message.known_replicas if same_term else -1)

    def renew(self, holder: str, now: float) -> bool:
        """A holder's watch has come in; False where the queue does not know it (any more)."""
        known = self._holders.get(holder)
        if known is not None:
            known.heard = now
        return known is not None

    def news(self, holder: str, term: str, acked: int, now: float) -> Reply | None:
        """What a watching holder must hear at once; None while there is nothing.

        Args:
            holder: its name.
            term: the term it believes in.
            acked: the highest grant that it has heard.
            now: the queue's clock.
        """
        known = self._holders.get(holder)
        if known is None or known.term != term:
            return None
        fresh = known.pending and known.pending[-1].number > acked
        if not fresh and known.told == self._to_tell(known, now):
            return None
        return self._reply(known, now, -1)

    def tick(self, now: float, unix_s: float | None = None) -> None:
        """Let go of silent holders and replicas, and decide how many replicas there should be.

        Args:
            now: the queue's clock.
            unix_s: the time of day, which may have been set since; None: it was not.
        """
        if unix_s is not None:
            self._unix_at_zero = unix_s - now
        self._account_share(now)
        lease = self.settings.queue.lease_s
        for name in [n for n, h in self._holders.items() if now - h.heard >= lease]:
            del self._holders[name]
        self.pool.tick(now, self.decision.desired)
        self._allocate(now)
        self._scale(now)

    # Replicas

    def report(self, report: ReplicaReport, now: float) -> ReportReply:
        """Take in a replica's report."""
        self._account_share(now)
        retry = self.pool.report(report, now)
        self._allocate(now)
        return ReportReply(self._out(report.replica_id), retry)

    def wake(self, now: float) -> None:
        """Somebody wants a replica to be there: one is started, however long that takes."""
        self.pool.probe(now)
        self._wake_until = math.inf
        self._scale(now)

    def reconfigure(self, settings: EnvironmentSettings) -> None:
        """Take on other settings; nobody loses a permit or a place."""
        if settings.deployment != self.settings.deployment:
            self.pool.forgive()
        self.settings = settings
        self.pool.startup = settings.startup
        self.autoscaler.reconfigure(settings.autoscaling)
        # Holders must hear of another bound of permits, too.
        self.pool.version += 1

    def settled(self, now: float) -> bool:
        """False while a new queue may not have heard of all replicas and holders yet."""
        return now - self.born >= SETTLED_AFTER_S

    # Holders, seen from inside

    def _register(self, message: Exchange, now: float) -> RegisteredHolder:
        """A holder that is new here, or was away: what it says that it holds, it holds."""
        self._terms += 1
        holder = RegisteredHolder(f"{self.name}/{self._terms}", message.term, now, message)
        self._holders[message.holder] = holder
        self._demand.joined(message)
        self._describe_line(holder, message, now)
        return holder

    def _take_in(self, holder: RegisteredHolder, message: Exchange, now: float) -> None:
        last = holder.message
        elapsed = message.uptime_s - last.uptime_s
        if elapsed > 0:
            holder.load = (message.load_s - last.load_s) / elapsed
            holder.load_until = now + elapsed
        self._demand.heard(message, last, now)
        acked = message.acked if message.term == holder.term else 0
        while holder.pending and holder.pending[0].number <= acked:
            holder.pending.popleft()
        self._describe_line(holder, message, now)

    def _describe_line(self, holder: RegisteredHolder, message: Exchange, now: float) -> None:
        holder.message = message
        holder.ranks = tuple(now - head.age_s for head in message.heads)
        holder.out = Counter(message.held)
        holder.out.update(grant.replica_id for grant in holder.pending)

    def _to_tell(self, holder: RegisteredHolder, now: float) -> tuple[object, ...]:
        """What a holder must not learn late; its equality decides whether a watch is answered.

        That somebody waits elsewhere is among it only where the holder holds
        permits that it may have to give back.
        """
        waited_for = bool(holder.out) and self._elsewhere(holder) is not None
        unhealthy = self.pool.unhealthy(now) is not None
        return (self.pool.version, len(self._holders) == 1, waited_for, unhealthy)

    def _reply(self, holder: RegisteredHolder, now: float, known_replicas: int) -> Reply:
        self._stamp += 1
        version = self.pool.version
        usable = self._refresh_usable()
        rank = self._elsewhere(holder)
        others = [h for h in self._holders.values() if h is not holder]
        # Asynchronous work waits in the store, and has bounds of its own there.
        line = [h for h in others if h.message.work is WorkClass.SYNC]
        holder.told = self._to_tell(holder, now)
        return Reply(
            term=holder.term,
            stamp=self._stamp,
            seq=holder.message.seq,
            grants=tuple(holder.pending),
            alone=not others,
            elsewhere_s=None if rank is None else now - rank,
            others_waiting=sum(h.unmet for h in line),
            others_bytes=sum(h.message.waiting_bytes for h in line),
            replicas_version=version,
            replicas=None if known_replicas == version else tuple(usable),
            unhealthy=self.pool.unhealthy(now),
        )

    def _elsewhere(self, holder: RegisteredHolder) -> float | None:
        """Rank of the best waiter at other holders for whom no grant is on its way."""
        others = [h for h in self._holders.values() if h is not holder and h.unmet]
        if not others:
            return None
        if holder.message.work is WorkClass.SYNC and self._async_is_due(others):
            return -math.inf
        return min(other.next_rank for other in others)

    # Permits

    def _out(self, replica_id: str) -> int:
        return sum(holder.out[replica_id] for holder in self._holders.values())

    def _bound(self) -> int:
        return self.settings.autoscaling.concurrency_target

    def _refresh_usable(self) -> list[Usable]:
        if self._usable_version != self.pool.version:
            self._usable = self.pool.usable(self._bound())
            self._usable_version = self.pool.version
        return self._usable

    def _allocate(self, now: float) -> None:
        """Grant while there is a free slot and somebody to have it.

        A holder whose first waiters are all provided for gets no more until it
        has described the next ones, where others wait too: their order is not
        known.
        """
        if not any(holder.unmet for holder in self._holders.values()):
            return
        usable = self._refresh_usable()
        unhealthy = self.pool.unhealthy(now) is not None
        if not usable or unhealthy:
            return
        out = Counter[str]()
        for holder in self._holders.values():
            out.update(holder.out)
        while waiting := [holder for holder in self._holders.values() if holder.unmet]:
            if len(waiting) > 1:
                waiting = [holder for holder in waiting if holder.described]
            candidates = [Candidate(u.replica_id, out[u.replica_id], u.slots) for u in usable]
            roomy = any(candidate.out < candidate.slots for candidate in candidates)
            found = self._next_grant(waiting, candidates) if waiting and roomy else None
            if found is None:
                return
            holder, replica_id, due = found
            holder.granted += 1
            holder.pending.append(Grant(holder.granted, replica_id, due))
            holder.out[replica_id] += 1
            out[replica_id] += 1

    def _next_grant(
        self, waiting: list[RegisteredHolder], candidates: list[Candidate]
    ) -> tuple[RegisteredHolder, str, bool] | None:
        """Whom to grant which replica, and whether that is due whoever ranks before.

        Where the next in rank is to avoid all replicas with room, these go to
        the first who can run there: they would lie idle for as long as he waits.
        """
        utilization = self.settings.autoscaling.utilization
        due = self._async_is_due(waiting)
        first = [h for h in waiting if h.message.work is WorkClass.ASYNC] if due else waiting
        chosen = min(first, key=lambda holder: holder.next_rank)
        _, head = chosen.next_heads[0]
        found = choose(candidates, utilization, head.avoid, head.prefer)
        if found is not None:
            return chosen, found.replica_id, due
        places = [(rank, head, h) for h in waiting for rank, head in h.next_heads]
        for _, head, holder in sorted(places, key=lambda place: place[0]):
            found = choose(candidates, utilization, head.avoid, head.prefer)
            if found is not None:
                return holder, found.replica_id, True
        return None

    def _account_share(self, now: float) -> None:
        """Up to now, before anything changes who has which slot."""
        waits = {holder.message.work for holder in self._holders.values() if holder.unmet}
        self._share.advance(
            now,
            self._owed(),
            self._async_out(),
            contended=WorkClass.SYNC in waits,
            waits=WorkClass.ASYNC in waits,
        )

    def _async_is_due(self, waiting: list[RegisteredHolder]) -> bool:
        """Whether asynchronous work waits that has less than its minimum share of the slots."""
        if all(h.message.work is WorkClass.SYNC for h in waiting):
            return False
        return self._share.due(self._owed(), self._async_out())

    def _owed(self) -> float:
        return self.settings.queue.async_share * sum(u.slots for u in self._refresh_usable())

    def _async_out(self) -> int:
        holders = (h for h in self._holders.values() if h.message.work is WorkClass.ASYNC)
        return sum(holder.out.total() for holder in holders)

    # Scaling

    def _scale(self, now: float) -> None:
        before, live = self.decision.desired, self.pool.live
        if self.pool.unhealthy(now) is not None:
            floor = self.settings.autoscaling.min_replica
            self.decision = Decision(floor, "unhealthy: no start beyond min_replica is tried")
            self.autoscaler.current = floor
            self._wake_until = -math.inf
        else:
            if not self.settled(now):
                # A queue that was restarted must not take replicas away that it has yet to hear of.
                self.autoscaler.current = max(self.autoscaler.current, live)
                before = max(before, self.autoscaler.current)
            if self._wake_until == math.inf and self.pool.any_ready:
                self._wake_until = now + WOKEN_S
            wake = now < self._wake_until
            self.decision = self.autoscaler.decide(now, self._seen(now, live), wake=wake)
        desired = self.decision.desired
        if desired != before:
            self.chronicle.changed(Change(now, before, desired, self.decision.reason))
        self.pool.missing.are(desired - live, now)

    def _seen(self, now: float, live: int) -> Seen:
        """What scaling policies go by."""
        present = waiting = 0
        for holder in self._holders.values():
            message = holder.message
            present += message.in_use + message.waiting
            waiting += holder.unmet
        return Seen(
            scaling=self.settings.autoscaling,
            in_flight=self._demand.in_flight(self._holders.values(), now),
            waiting=waiting,
            running=present - waiting,
            arrived=self._demand.arrived,
            service_s=self._demand.service_s,
            startup_s=self.pool.startup_s,
            slots=self.settings.slots,
            ready=len(self._refresh_usable()),
            live=live,
            desired=self.decision.desired,
            unix_s=now + self._unix_at_zero,
        )

    # What others may know

    @property
    def holders(self) -> Collection[RegisteredHolder]:
        """Those who keep their leases."""
        return self._holders.values()

    def usable(self) -> Sequence[Usable]:
        """Replicas that may get permits, oldest first."""
        return self._refresh_usable()

    def out(self, replica_id: str) -> int:
        """Permits that are out for a replica."""
        return self._out(replica_id)

    def ahead(self, holder: str, age_s: float, now: float) -> int:
        """How many at other holders rank before a waiter of this rank age (at most so many)."""
        rank = now - age_s
        others = (h for name, h in self._holders.items() if name != holder)
        return sum(self._before(other, rank) for other in others)

    @staticmethod
    def _before(holder: RegisteredHolder, rank: float) -> int:
        before = sum(other < rank for other in holder.ranks)
        undescribed = max(holder.message.waiting - HEADS, 0)
        return before + (undescribed if before == len(holder.ranks) else 0)

    def describe(self, now: float) -> dict[str, Any]:
        """The state of the environment as plain data, for operators."""
        return describe(self, now)

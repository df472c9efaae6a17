"""Several dispatchers on one environment, doing and dying in any order: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, WebhookStatus
from orchestrator.store import Store
from orchestrator.store.records import Depth
from tests.unit.store.consistency import problems
from tests.unit.store.world import BAD, LONG_S, RESULT, WEBHOOK, World, attempt

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.unit.store.servers import Server

INDEX = st.integers(min_value=0, max_value=30)


@dataclass
class Known:
    """What must be true of one request."""

    rank: tuple[int, int]
    max_attempts: int
    webhook: bool
    state: AsyncState = AsyncState.QUEUED
    paused: bool = False
    numbers: int = 0  # attempts that were numbered
    counted: int = 0
    current: int | None = None  # number of the attempt that holds the lease
    hook: WebhookStatus = field(default=WebhookStatus.NOT_PROVIDED)

    def end(self, state: AsyncState) -> None:
        self.state, self.current = state, None
        if self.webhook and state is AsyncState.CANCELED:
            self.hook = WebhookStatus.CANCELED

    def put_back(self, *, ran: bool) -> None:
        self.current = None
        if not ran:
            self.counted -= 1
        if ran and self.counted >= self.max_attempts:
            self.end(AsyncState.FAILED)
        else:
            self.state = AsyncState.QUEUED


class Dispatchers(RuleBasedStateMachine):
    """The store beside a model of it, which says what each call must answer."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.server.client.flushall()
        self.runner = asyncio.Runner()
        self.known: dict[str, Known] = {}
        # Of each dispatcher, all leases that it was ever given: also those that it lost.
        self.held: list[list[tuple[str, int]]] = []
        self.lost: set[tuple[str, int]] = set()  # leases that have run out unnoticed
        self.webhooks: set[str] = set()

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(call)

    @initialize(dispatchers=st.integers(1, 3), requests=st.integers(1, 4))
    def start(self, dispatchers: int, requests: int) -> None:
        self.held = [[] for _ in range(dispatchers)]
        self.stores = [Store.open(self.server.url) for _ in range(dispatchers + 1)]
        self.worlds = [World(store) for store in self.stores[1:]]
        self.world = World(self.stores[0])
        for number in range(requests):
            self.a_request_is_accepted(number % 3, 3, number % 2 == 0, "aaaa")

    def leases(self, *, current: bool) -> list[tuple[World, str, int]]:
        """Who holds which attempt of what, or held it once."""
        return [
            (world, name, number)
            for world, held in zip(self.worlds, self.held, strict=True)
            for name, number in held
            if current == (self.known[name].current == number)
        ]

    def overtaken(self) -> list[tuple[World, str, int]]:
        """Leases that were lost, those of requests that another runs now before all others."""
        lost = self.leases(current=False)
        running = [lease for lease in lost if self.known[lease[1]].current is not None]
        return running or lost

    @rule(
        priority=st.integers(0, 2),
        attempts=st.integers(1, 3),
        webhook=st.booleans(),
        key=st.sampled_from(["", "aaaa", "bbbb"]),
    )
    def a_request_is_accepted(self, priority: int, attempts: int, webhook: bool, key: str) -> None:
        request_id = self.run(
            self.world.submit(
                priority=priority,
                rules=AttemptRules(max_attempts=attempts),
                webhook=WEBHOOK if webhook else None,
                key=key,
                max_queue_s=3600.0,
                aging_s=3600.0,
            )
        )
        hook = WebhookStatus.PENDING if webhook else WebhookStatus.NOT_PROVIDED
        rank = (priority, len(self.known))
        self.known[request_id] = Known(rank, attempts, webhook, hook=hook)

    @rule(dispatcher=INDEX, count=st.integers(1, 4))
    def a_dispatcher_claims(self, dispatcher: int, count: int) -> None:
        dispatcher %= len(self.held)
        claims = self.run(self.worlds[dispatcher].requests.claim(self.world.tag, count, LONG_S))

        ready = [
            name
            for name, known in self.known.items()
            if known.state is AsyncState.QUEUED and not known.paused
        ]
        ready.sort(key=lambda name: self.known[name].rank)
        assert [claim.request_id for claim in claims] == ready[:count]
        for claim in claims:
            known = self.known[claim.request_id]
            known.numbers += 1
            known.counted += 1
            assert claim.attempt == known.numbers
            known.state, known.current = AsyncState.IN_PROGRESS, claim.attempt
            self.held[dispatcher].append((claim.request_id, claim.attempt))

    @precondition(lambda self: self.leases(current=True))
    @rule(which=INDEX, success=st.booleans())
    def an_attempt_ends(self, which: int, success: bool) -> None:
        leases = self.leases(current=True)
        world, request_id, number = leases[which % len(leases)]
        if success:
            assert self.run(world.requests.succeed(request_id, number, RESULT))
        else:
            assert self.run(world.requests.fail(request_id, number, BAD))

        known = self.known[request_id]
        known.end(AsyncState.SUCCEEDED if success else AsyncState.FAILED)
        self.webhooks |= {request_id} if known.webhook else set()

    @precondition(lambda self: self.leases(current=True))
    @rule(which=INDEX, ran=st.booleans(), pause=st.booleans())
    def an_attempt_is_put_back(self, which: int, ran: bool, pause: bool) -> None:
        leases = self.leases(current=True)
        world, request_id, number = leases[which % len(leases)]
        error, pause_s = (BAD if ran else None), (LONG_S if pause else 0.0)

        assert self.run(world.requests.put_back(request_id, number, error, pause_s))
        known = self.known[request_id]
        known.put_back(ran=ran)
        known.paused = pause and known.state is AsyncState.QUEUED
        if known.state.final and known.webhook:
            self.webhooks.add(request_id)

    @precondition(lambda self: self.overtaken())
    @rule(which=INDEX, what=st.sampled_from(["succeed", "fail", "put back", "give back", "renew"]))
    def one_who_lost_its_lease_reports(self, which: int, what: str) -> None:
        leases = self.overtaken()
        world, request_id, number = leases[which % len(leases)]
        known = self.known[request_id]
        requests, told_before = world.requests, False
        match what:
            case "succeed":
                changed = self.run(requests.succeed(request_id, number, RESULT))
                told_before = known.state is AsyncState.SUCCEEDED and known.numbers == number
            case "fail":
                changed = self.run(requests.fail(request_id, number, BAD))
                told_before = known.state is AsyncState.FAILED and known.numbers == number
            case "renew":
                lost = self.run(requests.renew(world.tag, [(request_id, number)], LONG_S))
                changed = lost != [request_id]
            case _:
                error = BAD if what == "put back" else None
                changed = self.run(requests.put_back(request_id, number, error, 0.0))

        assert changed == told_before

    @rule(dispatcher=INDEX)
    def a_dispatcher_renews(self, dispatcher: int) -> None:
        dispatcher %= len(self.held)
        held = self.held[dispatcher]
        lost = self.run(self.worlds[dispatcher].requests.renew(self.world.tag, held, LONG_S))

        assert lost == [name for name, number in held if self.known[name].current != number]
        self.lost -= set(held)

    @rule(dispatcher=INDEX)
    def a_dispatcher_is_silent_for_longer_than_its_leases(self, dispatcher: int) -> None:
        dispatcher %= len(self.held)
        held = self.held[dispatcher]
        self.run(self.worlds[dispatcher].requests.renew(self.world.tag, held, 0.0))
        self.lost |= {lease for lease in held if self.known[lease[0]].current == lease[1]}

    @precondition(lambda self: self.leases(current=True))
    @rule(silent=INDEX, dispatcher=INDEX)
    def another_takes_over(self, silent: int, dispatcher: int) -> None:
        self.a_dispatcher_is_silent_for_longer_than_its_leases(silent)
        self.somebody_looks()
        self.a_dispatcher_claims(dispatcher, 4)

    @rule()
    def somebody_looks(self) -> None:
        self.run(self.world.sweep())

        for name, number in self.lost:
            known = self.known[name]
            if known.current == number:
                known.put_back(ran=True)
                if known.state.final and known.webhook:
                    self.webhooks.add(name)
        self.lost.clear()

    @precondition(lambda self: self.known)
    @rule(which=INDEX)
    def a_caller_cancels(self, which: int) -> None:
        request_id = list(self.known)[which % len(self.known)]
        known = self.known[request_id]

        answer = self.run(self.world.requests.cancel(request_id))

        if known.state.final:
            assert answer == (False, known.state)
        else:
            assert answer == (True, AsyncState.CANCELED)
            known.end(AsyncState.CANCELED)
            known.paused = False

    @rule(delivered=st.booleans())
    def a_webhook_is_sent(self, delivered: bool) -> None:
        for delivery in self.run(self.world.deliveries.claim(self.world.tag, 1, LONG_S)):
            self.webhooks.remove(delivery.request_id)
            known = self.known[delivery.request_id]
            line = attempt(delivery)
            assert delivery.record.state is known.state
            if delivered:
                end = self.world.deliveries.delivered(delivery.request_id, delivery.attempt, line)
                known.hook = WebhookStatus.SUCCEEDED
            else:
                end = self.world.deliveries.give_up(
                    delivery.request_id, delivery.attempt, line, "gone"
                )
                known.hook = WebhookStatus.FAILED
            assert self.run(end)

    @invariant()
    def every_request_is_where_it_must_be(self) -> None:
        page = self.run(self.world.requests.list(self.world.tag, limit=200))
        assert [record.request_id for record in page.records] == [*reversed(self.known)]
        for record in page.records:
            known = self.known[record.request_id]
            assert record.state is known.state
            assert record.attempts == known.counted
            assert record.webhook_status is known.hook
        assert problems(self.server.client) == []

    def teardown(self) -> None:
        if not self.held:
            return
        while claims := self.run(self.world.requests.claim(self.world.tag, 10, LONG_S)):
            for claim in claims:
                self.run(self.world.requests.succeed(claim.request_id, claim.attempt, RESULT))
        for request_id in self.known:  # what is paused, and what others still hold
            self.run(self.world.requests.cancel(request_id))

        states = [self.run(self.world.record(name)).state for name in self.known]
        assert all(state.final for state in states)
        assert self.run(self.world.requests.depth(self.world.tag)) == Depth(0, 0)
        assert not self.server.client.exists(f"orch:{{{self.world.tag}}}:open")
        assert problems(self.server.client) == []
        for store in self.stores:
            self.run(store.close())
        self.runner.close()


@pytest.mark.timeout(300)
def test_any_order_of_steps_keeps_every_promise(server: Server):
    machine = type("DispatchersOnServer", (Dispatchers,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

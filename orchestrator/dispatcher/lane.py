"""The lane of one environment: matches what is ready in the store with permits.

One task talks to the store about the environment as a whole, one thing at a
time: it renews leases, claims for the permits at hand, and looks. Each run is a
task of its own, from its claim to its report. Between calls the lane goes by
estimates (`_ready`), which news and short claims correct.

    news, looks ──▶ _ready ──▶ Demand: places in line ──▶ permits at hand
                                                               │ claim
                        report ◀── Settler ◀── attempt ◀── Run ┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.dispatcher.demand import Demand, Place
from orchestrator.dispatcher.leases import RENEWALS, Leases, Run
from orchestrator.dispatcher.run import Limits
from orchestrator.dispatcher.runs import Runs
from orchestrator.dispatcher.settling import Settler
from orchestrator.dispatcher.trails import Trails
from orchestrator.lifecycle.async_request import LONGEST_RUN_S
from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store.keys import tag_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.dispatcher.lane_settings import LaneSettings
    from orchestrator.dispatcher.permits import MakePermits
    from orchestrator.dispatcher.telling import Telling
    from orchestrator.router.upstream import UpstreamPool
    from orchestrator.store import Event, Store
    from orchestrator.store.results import ResultStore

logger: Final = logging.getLogger("ray.serve")

LOOK_S: Final = 5.0
"""Longest time between two looks: news may be lost."""

WAITING_LOOK_S: Final = 1.0
"""The same while acquisitions stand in line: other dispatchers claim what they stand for."""

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LAST_S: Final = 2.0

SETTLE_S: Final = 1.0
"""After the store was away, before looking: looking puts back what has lost its lease,
and other dispatchers must have had the time to renew theirs."""

UNREPORTED: Final = 64
"""Runs that may be over and not yet reported, beside as many as may run: they hold results."""

FEWEST_PLACES: Final = 64
"""Places to learn of in a look at least, so that a long backlog does not need many looks."""

MOST_PLACES: Final = 1024
"""Places in line at a time: more demand than that changes nothing."""

STUCK_S: Final = 60.0
"""No call takes nearly as long; a lane that has not come round in this time will not."""

LAST_WORDS_S: Final = 5.0
"""How long a lane that ends tries to put back what did not."""


class DeliveryLoop(Protocol):
    """What delivers the webhooks of one environment (`orchestrator.dispatcher.deliveries`)."""

    def due(self, count: int) -> None:
        """So many are due."""

    async def close(self) -> None:
        """Claims no more, and gives what is under way a while."""


class Lane:
    """See the module. It is at work from when it is made, on the running loop, until `close`."""

    def __init__(
        self,
        model: str,
        name: str,
        settings: LaneSettings,
        *,
        store: Store,
        results: ResultStore,
        make_permits: MakePermits,
        pool: UpstreamPool,
        make_deliveries: Callable[[str], DeliveryLoop],
        telling: Telling,
    ) -> None:
        """Begins to look, claim, run and deliver.

        Args:
            model: the model's name.
            name: the environment's name.
            settings: what it goes by.
            store: where the requests are.
            results: where large results go.
            make_permits: makes the permit client of an environment.
            pool: connections to replicas.
            make_deliveries: begins to deliver the webhooks of an environment, by its tag.
            telling: what tells of it.
        """
        self.name = f"{model}/{name}"
        self._tag = tag_of(model, name)
        self._store = store
        self._requests = store.requests
        environment = settings.environment
        self._permits = permits = make_permits(environment.application, settings.queue)
        self._deliveries = make_deliveries(self._tag)
        self._demand = Demand(permits, self._adjust)
        self._leases = Leases(store.requests, self._tag, settings.lease_s)
        self._trails = Trails(telling, model, name)
        self._runs = Runs(
            self._leases,
            Settler(store.requests, results, self._plan_look),
            permits,
            pool,
            self._trails,
            changed=self._run_changed,
            no_room=self._demand.pause,
        )
        self._due = asyncio.Event()
        self._stopping = False
        self._beat = time.monotonic()
        # What is known of the backlog.
        self._ready = 0
        self._heard = 0
        self._places: deque[Place] = deque()
        self._claiming = 0
        # When what is due.
        self._look_at = 0.0
        self._quiet_until = 0.0
        self._joined = False
        self._renew_first = True
        self._away_since: float | None = None
        self._backoff_s = BACKOFF_FIRST_S
        self._retry_at = 0.0
        self._apply(settings)
        self._unsubscribe = store.news.subscribe(self._tag, self._hear)
        self._working = asyncio.get_running_loop().create_task(self._work())

    def reconfigure(self, settings: LaneSettings) -> None:
        """Goes by other settings; runs under way end by those that they began with."""
        if settings.environment.queue != self.settings.environment.queue:
            self._permits.reconfigure(settings.queue)
        self._apply(settings)
        self._adjust()

    def serves(self, settings: LaneSettings) -> bool:
        """Whether it can go by these settings: its permits are of one application."""
        return settings.environment.application == self.settings.environment.application

    async def close(self, grace_s: float) -> None:
        """Claims no more, lets what runs end, puts back what does not, and closes.

        Args:
            grace_s: how long what runs may take to end.
        """
        self._stopping = True
        self._due.set()
        await self._demand.close()
        # Leases are renewed until the last run has ended.
        await asyncio.wait({self._working}, timeout=grace_s)
        self._runs.stop()
        last_words = asyncio.wait({self._working}, timeout=LAST_WORDS_S)
        await asyncio.gather(last_words, self._deliveries.close())
        self._unsubscribe()
        self._working.cancel()
        await asyncio.wait({self._working})
        await self._runs.close()
        await self._permits.close()

    def running(self, request_id: str) -> Run | None:
        """The run of a request; None: it does not run here."""
        return self._leases.get(request_id)

    def stuck(self) -> str | None:
        """Why the lane does no work any more, for good; None: it does."""
        if self._stopping:
            return None
        if self._working.done():
            return f"the lane of {self.name} has ended"
        silent_s = time.monotonic() - self._beat
        return f"the lane of {self.name} is stuck" if silent_s > STUCK_S else None

    def _apply(self, settings: LaneSettings) -> None:
        self.settings = settings
        environment = settings.environment
        self._most = max(1, environment.slots * environment.max_replica)
        self._runs.path = environment.predict_path
        self._trails.application = environment.application
        self._runs.limits = Limits(
            min(environment.asynchronous.run_s, LONGEST_RUN_S), settings.max_result_bytes
        )
        self._leases.lease_s = settings.lease_s

    # News

    def _hear(self, event: Event) -> None:
        match event.kind:
            case "submitted":
                self._heard += 1
                self._ready += 1
                self._adjust()
            case "canceled":
                if not self._leases.drop(event.request_id):
                    # One less is ready.
                    self._plan_look(0.0)
            case "delivery":
                self._deliveries.due(1)
            case "reconnected":
                self._renew_first = True
                self._retry_at = self._look_at = 0.0
                self._due.set()

    def _plan_look(self, in_s: float) -> None:
        at = time.monotonic() + in_s
        if at < self._look_at:
            self._look_at = at
            self._due.set()

    # Demand

    def _adjust(self) -> None:
        """Asks for as many permits as there are requests for, and no more."""
        demand = self._demand
        if self._stopping or self._away_since is not None:
            demand.give_back()
            return
        spare = self._ready - len(demand.hand) - self._claiming - demand.waiting
        if spare < 0:
            demand.withdraw(-spare)
        elif spare and not demand.paused:
            self._ask(min(spare, self._longest_line() - demand.waiting))
        if demand.hand:
            self._due.set()

    def _run_changed(self) -> None:
        self._adjust()
        if self._stopping:
            self._due.set()

    def _longest_line(self) -> int:
        """How many acquisitions there may be."""
        if self._runs.unreported > self._most + UNREPORTED:
            return 0
        ours = self._runs.holding + len(self._demand.hand) + self._claiming
        # Where all slots are ours, one stands in line, so that a permit that comes free
        # goes to it and not back to the queue.
        return max(min(self._most - ours, MOST_PLACES), 1)

    def _ask(self, count: int) -> None:
        demand = self._demand
        for _ in range(count):
            if demand.take():
                if self._places:
                    self._places.popleft()
            elif self._places:
                demand.stand(self._places.popleft())
            else:
                # Where the next one ranks is not known.
                self._plan_look(0.0)
                return

    # The lane's own task

    async def _work(self) -> None:
        while not self._stopping or self._runs:
            await self._until_due()
            self._beat = time.monotonic()
            try:
                await self._step()
            except StoreUnreachable as error:
                self._lose_store(error)
            except Exception:
                # Nothing may end this task: the environment would be served no more.
                logger.exception("a step of the lane of %s failed", self.name)
                await asyncio.sleep(BACKOFF_LAST_S)

    async def _until_due(self) -> None:
        while (wait := self._wait_s()) > 0:
            self._due.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._due.wait()
            if self._stopping and not self._runs:
                return

    def _wait_s(self) -> float:
        now = time.monotonic()
        if self._away_since is not None:
            return self._retry_at - now
        renewal = self._leases.due_in_s
        if self._renew_first or (renewal is not None and renewal <= 0):
            return 0.0
        if self._stopping:
            return LOOK_S if renewal is None else renewal
        if self._demand.hand:
            return 0.0
        look = max(self._look_at, self._quiet_until) - now
        return look if renewal is None else min(look, renewal)

    async def _step(self) -> None:
        """The most urgent thing that is due. Leases come first: a look puts back what lost its."""
        renewal = self._leases.due_in_s
        if self._renew_first or (renewal is not None and renewal <= 0):
            await self._renew()
        elif self._demand.hand:
            await self._claim()
        elif not self._stopping and self._wait_s() <= 0:
            await self._look()

    async def _renew(self) -> None:
        if len(self._leases):
            await self._leases.renew()
        elif self._away_since is not None:
            await self._store.ping()
        self._renew_first = False
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            logger.info("%s: the store is back after %.1f s", self.name, away_s)
            self._away_since = None
            self._backoff_s = BACKOFF_FIRST_S
            # No lease lapses within the time that is left of it when its renewal is due.
            lapsed = away_s > self._leases.lease_s * (1 - 1 / RENEWALS)
            self._look_at = 0.0
            self._quiet_until = time.monotonic() + SETTLE_S if lapsed else 0.0

    def _lose_store(self, error: StoreUnreachable) -> None:
        """Runs go on; nothing is asked for until the store is back."""
        now = time.monotonic()
        if self._away_since is None:
            logger.warning("%s: the store does not answer (%s)", self.name, error.cause)
            self._away_since = now
            self._renew_first = True
            self._ready = 0
            self._adjust()
        self._retry_at = now + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_LAST_S)

    async def _look(self) -> None:
        if not self._joined:
            # What comes before the subscription is in force must be seen by this look.
            await self._store.news.ready(self._tag)
            self._joined = True
        heard = self._heard
        asked_at = time.monotonic()
        first = min(max(2 * self._most, FEWEST_PLACES), MOST_PLACES)
        backlog = await self._requests.look(self._tag, first)
        now = time.monotonic()
        aging_s = self.settings.environment.asynchronous.aging_s
        places = []
        for waiting in backlog.first:
            level = 1 + waiting.priority
            arrived = now - waiting.age_s
            places.append(Place(arrived + level * aging_s, arrived, level))
        places.sort()
        line = self._longest_line()
        self._places = self._demand.match(places[:line])
        self._places.extend(places[line:])
        # What was heard meanwhile may be counted already: better one too many than too few.
        self._ready = backlog.ready + self._heard - heard
        self._adjust()
        longest = WAITING_LOOK_S if self._demand.waiting else LOOK_S
        next_s = longest if backlog.next_s is None else min(backlog.next_s, longest)
        self._look_at = asked_at + next_s
        self._deliveries.due(backlog.deliveries)

    async def _claim(self) -> None:
        permits, self._demand.hand = self._demand.hand, []
        heard = self._heard
        self._claiming = len(permits)
        try:
            claims = await self._requests.claim(self._tag, len(permits), self._leases.lease_s)
            short = len(claims) < len(permits)
            self._ready = self._heard - heard if short else max(0, self._ready - len(claims))
            if short:
                self._places.clear()
            for claim in claims:
                self._runs.begin(claim, permits.pop())
        finally:
            self._claiming = 0
            for permit in permits:
                self._permits.release(permit)
        self._adjust()

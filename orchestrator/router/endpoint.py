"""One environment as the router serves it: its settings, permits, budget, measures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.lifecycle.errors import Draining
from orchestrator.lifecycle.retry import RetryBudget
from orchestrator.store.keys import tag_of
from orchestrator.store.records import Bounds

if TYPE_CHECKING:
    from orchestrator.lifecycle.errors import RequestError
    from orchestrator.router.measures import Measures
    from orchestrator.router.permits import PermitClient
    from orchestrator.router.table import Environment

FIRST_LOOK_S: Final = 0.02
"""A call that takes longer begins to watch its caller and its deadlines.

Most end sooner, and are spared the task that watching takes.
"""


class Parked(Protocol):
    """A call that waits in line, and can be told not to."""

    def interrupt(self, error: RequestError) -> None:
        """Ends the wait with an error."""


class Endpoint:
    """An environment of a model.

    It outlives changes of its settings; calls that are under way go on by the ones
    that they began with. Must be made on the running loop.

    Attributes:
        model: the model's name.
        name: the environment's name.
        settings: as configured.
        permits: its permit client.
        tag: its own in the store.
        bounds: of its asynchronous requests.
        rules: its retry rules.
        budget: its retry budget.
        first_look_s: when a call first looks at its caller and the clock.
        measures: its instruments; None before its first request.
        in_flight: requests that are parked or running now.
        parked: those that are parked.
    """

    def __init__(self, model: str, name: str, settings: Environment, permits: PermitClient) -> None:
        self.model = model
        self.name = name
        self.permits = permits
        self.tag = tag_of(model, name)
        self.measures: Measures | None = None
        self.in_flight = 0
        self.parked: set[Parked] = set()
        self._empty: asyncio.Event | None = None
        self._apply(settings)

    def reconfigure(self, settings: Environment) -> None:
        """Goes by new settings from the next request on."""
        if settings == self.settings:
            return
        if settings.queue != self.settings.queue:
            self.permits.reconfigure(settings.queue)
        self._apply(settings)

    def leave(self) -> None:
        """A request that was counted in `in_flight` is over."""
        self.in_flight -= 1
        if self._empty is not None and self.in_flight == 0:
            self._empty.set()

    async def retire(self) -> None:
        """Ends it: parked requests are refused, running ones may end, then it closes."""
        for call in tuple(self.parked):
            call.interrupt(Draining(f"The environment {self.model}/{self.name}"))
        if self.in_flight:
            self._empty = asyncio.Event()
            await self._empty.wait()
        await self.permits.close()

    def _apply(self, settings: Environment) -> None:
        self.settings = settings
        timeouts = settings.timeouts
        asynchronous = settings.asynchronous
        self.bounds = Bounds(
            asynchronous.max_requests, asynchronous.max_bytes, asynchronous.max_requests_per_key
        )
        self.rules = settings.retry
        self.budget = RetryBudget(self.rules.budget_ratio, self.rules.budget_window_s)
        self.first_look_s = min(
            FIRST_LOOK_S,
            timeouts.predict_s,
            FIRST_LOOK_S if timeouts.first_byte_s is None else timeouts.first_byte_s,
            FIRST_LOOK_S if timeouts.chunk_gap_s is None else timeouts.chunk_gap_s,
        )

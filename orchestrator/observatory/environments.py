"""All environments: their histories, and their rows in the overview.

A row is made when somebody asks for it, and only if something may have changed in
it: what nobody looks at costs nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.replica import Stage
from orchestrator.observatory import rows
from orchestrator.observatory.history import SPARK_STEPS, History, step_at
from orchestrator.observatory.protocol import Overview, Row
from orchestrator.telemetry import metrics
from orchestrator.telemetry.monitoring.alerts import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orchestrator.telemetry.instruments import Batch

    Place = tuple[str, str]
    """Names of a model and of its environment."""

GONE_S: Final = 15.0
"""An environment whose queue is silent is shown for so long: it may be restarting."""

FORGOTTEN_S: Final = 3600.0
"""What was counted of an environment is kept for so long after it has gone."""

AT_ONCE: Final = 25
"""Rows made before others get their turn on the event loop (a row takes 0.1 ms)."""

_GONE_KEPT: Final = 10_000
_ERRORS: Final = frozenset(outcome.value for outcome in FAILURES)
_COUNTED: Final = frozenset({metrics.REQUESTS.name, metrics.COLD_STARTS.name})


@dataclass(slots=True, eq=False)
class _Environment:
    """One of them. `row` is its JSON but for the version; None: it is not shown."""

    history: History = field(default_factory=History)
    state: Mapping[str, bytes] = field(default_factory=dict)
    heard: float = 0.0
    changed: bool = True
    made_at_step: int = 0
    row: bytes = b""
    version: int = 0
    shown: bool = False


class Environments:
    """See the module. Times are Unix times."""

    def __init__(self, now: float) -> None:
        self._all: dict[Place, _Environment] = {}
        self._gone: dict[Place, int] = {}
        # Goes on where an observatory that was here before may have been.
        self._first = self._version = int(now * 1000)

    def count(self, batch: Batch, now: float) -> None:
        """Takes in what a source counted."""
        step = step_at(now)
        for (name, labels), amount in batch.counters.items():
            if name not in _COUNTED:
                continue
            environment = self._at(labels[0], labels[1])
            environment.changed = True
            if name == metrics.COLD_STARTS.name:
                environment.history.count(step, 0.0, 0.0, amount)
            else:
                errors = amount if labels[2] in _ERRORS else 0.0
                environment.history.count(step, amount, errors, 0.0)
        for (name, labels), part in batch.histograms.items():
            if name == metrics.REQUEST_SECONDS.name:
                history = self._at(labels[0], labels[1]).history
                history.count(step, 0.0, 0.0, 0.0, part.counts)

    def observe(self, model: str, environment: str, state: Mapping[str, bytes], now: float) -> None:
        """A queue has told how it is."""
        place = self._at(model, environment)
        place.state = state
        place.heard = now
        place.changed = place.shown = True
        live: dict[str, Any] = rows.section(state, rows.LIVE, {})
        replicas = live.get("replicas", ())
        place.history.gauge(
            step_at(now),
            waiting=live.get("waiting", 0),
            in_flight=live.get("in_use", 0),
            desired=live.get("desired", 0),
            ready=sum(each.get("stage") == Stage.READY for each in replicas),
        )

    def expire(self, speaking: Collection[Place], now: float) -> list[Place]:
        """Lets go of environments whose queues are silent; gives those that are forgotten.

        Args:
            speaking: those whose queues are not.
            now: Unix time.
        """
        forgotten = []
        for place, environment in list(self._all.items()):
            if place in speaking:
                environment.heard = now
            elif environment.shown and now - environment.heard >= GONE_S:
                environment.shown = False
                environment.row = b""  # should it come back, it is news
                self._version += 1
                self._gone[place] = self._version
            elif not environment.shown and now - environment.heard >= FORGOTTEN_S:
                if environment.heard:
                    del self._all[place]
                    forgotten.append(place)
                else:
                    environment.heard = now
        while len(self._gone) > _GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        return forgotten

    def state(self, model: str, environment: str) -> Mapping[str, bytes]:
        """What the queue of an environment last told."""
        found = self._all.get((model, environment))
        return {} if found is None else found.state

    def history(self, model: str, environment: str, minutes: int, now: float) -> bytes | None:
        """An environment in full, as JSON; None: nothing is known of it."""
        found = self._all.get((model, environment))
        if found is None:
            return None
        return msgspec.json.encode(rows.whole(found.state, found.history, minutes, now))

    async def overview(self, since: int, wall: Callable[[], float]) -> Overview:
        """All environments, or those that changed after a version; makes their rows."""
        for number, (place, environment) in enumerate(list(self._all.items())):
            now = wall()
            if environment.shown and self._may_have_changed(environment, step_at(now)):
                self._make(place, environment, now)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
        full = not self._first < since <= self._version
        return Overview(
            self._version,
            full,
            [
                Row(*place, found.version, found.row)
                for place, found in self._all.items()
                if found.shown and found.row and (full or found.version > since)
            ],
            [] if full else [place for place, version in self._gone.items() if version > since],
        )

    def _at(self, model: str, environment: str) -> _Environment:
        found = self._all.get((model, environment))
        if found is None:
            found = self._all[model, environment] = _Environment()
        return found

    def _may_have_changed(self, environment: _Environment, step: int) -> bool:
        if environment.changed or not environment.row:
            return True
        if environment.history.waits:
            return True  # somebody's age
        if environment.made_at_step == step or environment.history.quiet(step):
            return False
        # The rates of the last minute, or a new point of its sparklines.
        return environment.history.lately(step) or (
            environment.made_at_step // SPARK_STEPS != step // SPARK_STEPS
        )

    def _make(self, place: Place, environment: _Environment, now: float) -> None:
        environment.changed = False
        environment.made_at_step = step_at(now)
        made = rows.row(*place, environment.state, environment.history, now)
        row = msgspec.json.encode(made)
        if environment.row and environment.row[environment.row.index(b",") :] == b"," + row[1:]:
            return
        self._version += 1
        environment.version = self._version
        environment.row = b'{"version":%d,%s' % (self._version, row[1:])
        self._gone.pop(place, None)

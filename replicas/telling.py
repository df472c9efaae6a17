"""What a replica tells the observatory and a collector of traces: its lines, and its spans."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.observatory.protocol import LOGS, LONGEST_WAIT_S, LogsAsked, Part, Source
from orchestrator.observatory.reporter import Reporter
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.logs import MOST_LINES, ContextFilter, LogRing, join_serve
from orchestrator.telemetry.tracing import Tracing
from replicas.capture import LogCapture
from replicas.predictions import Identity, Predictions

if TYPE_CHECKING:
    from orchestrator.observatory.protocol import Hub
    from orchestrator.telemetry.logs import LogLine
    from orchestrator.telemetry.settings import TelemetrySettings

_MOST_ANSWERED_BYTES: Final = 4 << 20
"""Of text in one answer; the newest lines go first."""


class Telling:
    """A replica's voice, from `start` to `close`.

    Args:
        identity: whose it is.
        settings: what telemetry goes by.
        hub: the observatory; None: it runs outside of a cluster.
    """

    def __init__(self, identity: Identity, settings: TelemetrySettings, hub: Hub | None) -> None:
        self.ring = LogRing()
        self._capture = LogCapture(self.ring)
        self._filter = ContextFilter()
        registry = Registry()
        self._tracing = Tracing.from_environment("replica", settings, registry)
        self._share = settings.slowest_share
        self._identity = identity
        self._reporter: Reporter | None = None
        if hub is not None:
            source = Source(
                f"replica-{identity.replica}",
                Part.REPLICA,
                identity.model,
                identity.environment,
                identity.replica,
            )
            self._reporter = Reporter(hub, source, registry, answers={LOGS: self.logs})

    def start(self) -> None:
        """Begins to copy what is said, and to answer; needs the running loop."""
        join_serve()
        self._capture.install()
        # On the logger: Serve makes its handlers anew when its logging is configured.
        logging.getLogger("ray.serve").addFilter(self._filter)
        if self._reporter is not None:
            self._reporter.start()

    @property
    def predictions(self) -> Predictions | None:
        """What makes the spans of a model; None: traces go nowhere."""
        if not self._tracing.on:
            return None
        return Predictions(self._tracing, self._identity, self._share)

    def heard(self, line: str) -> None:
        """A line of a child process."""
        self.ring.add("stdout", line)

    async def logs(self, argument: bytes) -> bytes:
        """Answers `protocol.LOGS`.

        Raises:
            msgspec.ValidationError: the argument is no `LogsAsked`.
        """
        asked = msgspec.msgpack.decode(argument, type=LogsAsked)
        found = self._select(asked)
        seen = asked.after
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(asked.wait_s, 0.0), LONGEST_WAIT_S)):
                while not found and asked.wait_s > 0:
                    # Another request's line is not waited for a second time.
                    seen = max(seen, self.ring.seq)
                    await self.ring.wait(seen)
                    found = self._select(asked)
        return msgspec.msgpack.encode(found)

    async def close(self) -> None:
        """Tells what is left, and ends to copy; takes a few seconds at most."""
        # It waits for the collector, and counts what it could not tell it.
        await asyncio.to_thread(self._tracing.close)
        if self._reporter is not None:
            await self._reporter.close()
        logging.getLogger("ray.serve").removeFilter(self._filter)
        self._capture.remove()

    def _select(self, asked: LogsAsked) -> list[LogLine]:
        limit = min(max(asked.limit, 0), MOST_LINES)
        # A destructor that runs meanwhile must not add to what is read.
        with self._capture.passing():
            lines = self.ring.select(asked.request_id, asked.after, limit)
        room = _MOST_ANSWERED_BYTES
        for at in range(len(lines) - 1, -1, -1):
            room -= len(lines[at].text)
            if room < 0:
                return lines[at + 1 :]
        return lines

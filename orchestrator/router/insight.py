"""What operators see of the system as a whole: metrics, environments, requests, logs.

The caller has been authenticated and holds the scope `manage`; what it reaches is
looked at here. Everything raises `RequestError` for what it refuses.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.errors import BadRequest, NoStore, ObservatoryUnreachable
from orchestrator.lifecycle.errors import StoreUnreachable as StoreAway
from orchestrator.lifecycle.request import Outcome
from orchestrator.observatory.history import History
from orchestrator.observatory.protocol import LogsAsked, ObservatoryUnavailable
from orchestrator.observatory.rows import whole
from orchestrator.router import lookup
from orchestrator.router.events import Events
from orchestrator.router.feed import Feed
from orchestrator.router.identity import sane
from orchestrator.router.json_body import clipped
from orchestrator.router.oversight import endpoints_of
from orchestrator.router.parameters import Parameters
from orchestrator.router.responses import JSON, Answer, json_answer
from orchestrator.router.streaming import Stream
from orchestrator.telemetry.logs import LogLine
from orchestrator.telemetry.timeline import RequestFilter, Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from orchestrator.observatory.protocol import Logs, Observatory
    from orchestrator.router.directory import Directory
    from orchestrator.router.durable import DurablePlane
    from orchestrator.router.oversight import Asked

    Handler = Callable[[Asked], Awaitable[Answer | Stream]]

LONGEST_HISTORY_MIN: Final = 15
LONGEST_REQUESTS: Final = 1000
REQUESTS_LIMIT: Final = 100
LONGEST_SINCE_S: Final = 30 * 86_400.0
LONGEST_LOG: Final = 5000
_LATEST_VERSION: Final = 10**15 - 1
LOG_LIMIT: Final = 1000

FOLLOW_WAIT_S: Final = 1.0
FOLLOW_HEARTBEAT_S: Final = 10.0
FOLLOW_PAUSE_S: Final = 0.2
"""Between two questions for more lines: whoever logs without end is asked five times a second."""

FOLLOWED_S: Final = 3600.0
"""After so long a caller has to ask again: a router that is to go waits for those it has."""

FOLLOWED_AT_ONCE: Final = LONGEST_LOG
"""Lines that are taken at a time from one replica; what it writes faster than that is left out."""

_SUMMARY: Final = tuple(
    name for name in Timeline.__struct_fields__ if name not in ("waits", "attempts")
)
_lines: Final = msgspec.msgpack.Decoder(list[LogLine])


class Insight:
    """The addresses, by their path and method."""

    def __init__(
        self,
        observatory: Callable[[], Observatory | None],
        directory: Callable[[], Directory | None],
        plane: DurablePlane,
    ) -> None:
        self._observatory = observatory
        self._plane = plane
        self._feed = Feed(observatory)
        self._events = Events(self._feed, directory)
        self._over = asyncio.Event()
        place = "/api/v1/models/{model}/environments/{environment}"
        self.operations: dict[str, dict[str, Handler]] = {
            "/metrics": {"GET": self._metrics},
            "/api/v1/overview": {"GET": self._overview},
            "/api/v1/events": {"GET": self._event_stream},
            f"{place}/history": {"GET": self._history},
            f"{place}/logs": {"GET": self._logs},
            "/api/v1/requests": {"GET": self._requests},
            "/api/v1/requests/{id}/timeline": {"GET": self._timeline},
        }

    def end(self) -> None:
        """Ends all streams: the router is going."""
        self._over.set()
        self._events.end()

    # The system

    async def _metrics(self, asked: Asked) -> Answer:
        asked.reach.demand_everything()
        try:
            kind, text = await self._reached().metrics(asked.accept)
        except ObservatoryUnavailable:
            raise ObservatoryUnreachable from None
        return Answer(200, text, [(b"content-type", kind.encode("ascii"))])

    async def _overview(self, asked: Asked) -> Answer:
        given = Parameters(asked.query, ("since",))
        since = given.whole("since", 0, 0, _LATEST_VERSION)
        await self._feed.refresh(asked.directory)
        return Answer(200, self._feed.json(asked.reach, since, time.time()), [JSON])

    async def _event_stream(self, asked: Asked) -> Stream:
        Parameters(asked.query, ())
        return Stream(b"text/event-stream", await self._events.open(asked.directory, asked.reach))

    async def _history(self, asked: Asked) -> Answer:
        given = Parameters(asked.query, ("minutes",))
        minutes = given.whole("minutes", LONGEST_HISTORY_MIN, 1, LONGEST_HISTORY_MIN)
        model, environment = asked.place
        asked.directory.environment(model, environment, asked.reach)
        try:
            found = await self._reached().history(model, environment, minutes)
        except ObservatoryUnavailable:
            raise ObservatoryUnreachable from None
        if found is None:
            # Configured, and nobody has told anything of it yet.
            found = msgspec.json.encode(whole({}, History(), minutes, time.time()))
        return Answer(200, found, [JSON])

    # Requests

    async def _requests(self, asked: Asked) -> Answer:
        wanted, reached, limit = self._wanted(asked)
        try:
            recent = await self._reached().requests(wanted)
        except ObservatoryUnavailable:
            raise ObservatoryUnreachable from None
        found = {timeline.span_id: timeline for timeline in recent.timelines}
        try:
            with self._plane.open() as durable:
                kept = await durable.store.timelines.list(wanted, reached)
                # What a router still holds is the same record.
                found = {timeline.span_id: timeline for timeline in kept} | found
        except NoStore:
            kept = []
        except StoreAway:
            recent.missing += 1
        visible = [each for each in found.values() if lookup.sees(asked.reach, each)]
        visible.sort(key=lambda timeline: timeline.began + timeline.seconds, reverse=True)
        return json_answer(
            {
                "requests": [summary(timeline) for timeline in visible[:limit]],
                "routers": recent.routers,
                "missing": recent.missing,
            }
        )

    def _wanted(self, asked: Asked) -> tuple[RequestFilter, list[str] | None, int]:
        """What to look for, the tags of the environments that it may be of, and how many to show.

        No tags: of all environments.
        """
        given = Parameters(asked.query, _FILTERS)
        model, environment = given.text("model"), given.text("environment")
        reach = asked.reach
        reached = None
        if model is not None or environment is not None or reach.limited_to_places:
            reached = [each.tag for each in endpoints_of(asked, model, environment)]
        since = given.span("since", LONGEST_SINCE_S)
        slow_ms = given.seconds("slow_ms", LONGEST_SINCE_S * 1000)
        limit = given.whole("limit", REQUESTS_LIMIT, 1, LONGEST_REQUESTS)
        wanted = RequestFilter(
            model=model or "",
            environment=environment or "",
            since=0.0 if since is None else time.time() - since,
            errors=given.flag("errors"),
            slow_s=slow_ms / 1000 if slow_ms else None,
            slow=given.flag("slow"),
            cold=given.flag("cold"),
            retried=given.flag("retried"),
            outcome=given.one_of("outcome", [outcome.value for outcome in Outcome]) or "",
            # Others' requests are left out afterwards.
            limit=LONGEST_REQUESTS if reach.limited_to_places else limit,
        )
        return wanted, reached, limit

    async def _timeline(self, asked: Asked) -> Answer:
        Parameters(asked.query, ())
        if not sane(asked.name.encode("utf-8", "replace")):
            rule = f"{clipped(asked.name)!r} cannot be the id of a request"
            raise BadRequest("id", rule)
        observatory = self._observatory()
        return json_answer(await lookup.look_up(asked.name, asked.reach, self._plane, observatory))

    # Logs

    async def _logs(self, asked: Asked) -> Answer | Stream:
        given = Parameters(asked.query, ("follow", "lines", "replica", "request"))
        limit = given.whole("lines", LOG_LIMIT, 1, LONGEST_LOG)
        model, environment = asked.place
        asked.directory.environment(model, environment, asked.reach)
        replica, request_id = given.text("replica") or "", given.text("request") or ""
        following = given.flag("follow")
        first = LogsAsked(request_id=request_id, limit=limit)
        found = await self._ask_logs(model, environment, replica, {}, first)
        told: dict[str, int] = {}
        lines = list(_merged(found, told, limit))
        if not following:
            return Answer(200, b"".join(lines), [(b"content-type", _NDJSON)])
        pieces = self._follow(asked.place, replica, request_id, told, b"".join(lines))
        return Stream(_NDJSON, pieces)

    async def _follow(
        self,
        place: tuple[str, str],
        replica: str,
        request_id: str,
        told: dict[str, int],
        first: bytes,
    ) -> AsyncGenerator[bytes, None]:
        """The lines that are there, then those that come."""
        spoke = time.monotonic()
        yield first or b"\n"
        until = spoke + FOLLOWED_S
        while not self._over.is_set() and time.monotonic() < until:
            default = LogsAsked(request_id, 0, FOLLOWED_AT_ONCE, FOLLOW_WAIT_S)
            asked = {
                name: LogsAsked(request_id, after, FOLLOWED_AT_ONCE, FOLLOW_WAIT_S)
                for name, after in told.items()
            }
            began = time.monotonic()
            piece = b""
            try:
                found = await self._ask_logs(*place, replica, asked, default)
            except ObservatoryUnreachable:
                found = None
            if found is not None:
                piece = b"".join(_merged(found, told, LONGEST_LOG, failure=False))
            now = time.monotonic()
            if piece or now - spoke >= FOLLOW_HEARTBEAT_S:
                spoke = now
                yield piece or b"\n"
            # Where there is nobody to be asked, the answer comes at once.
            nobody = not piece and now - began < FOLLOW_PAUSE_S
            await asyncio.sleep(FOLLOW_WAIT_S if nobody else FOLLOW_PAUSE_S)

    async def _ask_logs(
        self,
        model: str,
        environment: str,
        replica: str,
        asked: dict[str, LogsAsked],
        default: LogsAsked,
    ) -> Logs:
        try:
            return await self._reached().logs(model, environment, replica, asked, default)
        except ObservatoryUnavailable:
            raise ObservatoryUnreachable from None

    def _reached(self) -> Observatory:
        observatory = self._observatory()
        if observatory is None:
            raise ObservatoryUnreachable
        return observatory


_NDJSON: Final = b"application/x-ndjson"
_FILTERS: Final = (
    *("cold", "environment", "errors", "limit", "model"),
    *("outcome", "retried", "since", "slow", "slow_ms"),
)


def summary(timeline: Timeline) -> dict[str, Any]:
    """A request in a list."""
    found = {name: getattr(timeline, name) for name in _SUMMARY}
    found["attempts"] = len(timeline.attempts)
    found["waited_s"] = sum(wait.seconds for wait in timeline.waits)
    return found


def _merged(
    found: Logs, told: dict[str, int], limit: int, *, failure: bool = True
) -> Iterator[bytes]:
    """Lines of all replicas in the order of time, as JSON; the newest so many.

    Args:
        found: what was answered.
        told: last line by replica; brought up to date.
        limit: how many.
        failure: whether the last words of a failed replica stand in where nobody answered.
    """
    lines: list[tuple[float, str, LogLine]] = []
    for each in found.replicas:
        for line in _lines.decode(each.lines):
            lines.append((line.at, each.replica, line))
            told[each.replica] = max(told.get(each.replica, 0), line.seq)
        told.setdefault(each.replica, 0)
    if failure and not found.replicas:
        for text in found.last_failure:
            yield _line(found.failed_at, found.failed, LogLine(0, 0.0, "log", "", text))
    lines.sort(key=lambda line: line[:2])
    for at, replica, line in lines[-limit:]:
        yield _line(at, replica, line)


def _line(at: float, replica: str, line: LogLine) -> bytes:
    shown = {
        "at": at,
        "replica": replica,
        "stream": line.stream,
        "level": line.level,
        "text": line.text,
        "request_id": line.request_id,
        "trace_id": line.trace_id,
    }
    return msgspec.json.encode(shown) + b"\n"

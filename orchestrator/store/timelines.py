"""Kept timelines of requests: found by a request's id, and listed newest first.

They are bounded twice, by number (of each environment, of one id, of all) and by
age; what is over a bound goes, oldest first. All of them share one hash tag, since
a list may go over many environments.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.store.decoding import milliseconds
from orchestrator.store.keys import TIMELINES, tag_of
from orchestrator.store.scripts import bare_script
from orchestrator.telemetry.settings import TelemetrySettings
from orchestrator.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from orchestrator.store.connection import Connection
    from orchestrator.telemetry.timeline import RequestFilter

OF_ONE_ID: Final = 20
"""Timelines of one id at most: callers may use an id as often as they like."""

IN_ALL: Final = 100_000
"""Timelines at most, of all environments together."""

FEW_TAGS: Final = 16
"""Of so many environments the lists are merged; for more, the list of all is gone through."""

LOOKED_AT: Final = 5_000
"""How many timelines one `list` reads at most to find those that fit."""

_AT_ONCE: Final = 64
_PAGE: Final = 200

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Timeline).decode


class Timelines:
    """Kept timelines. Every method may raise StoreUnreachable.

    Attributes:
        settings: how many are kept, and for how long; may be replaced at any time.
    """

    def __init__(self, connection: Connection, settings: TelemetrySettings | None = None) -> None:
        self._connection = connection
        self.settings = settings or TelemetrySettings()

    async def add(self, timelines: Sequence[Timeline]) -> None:
        """Keeps timelines, each under its request's id and that of what it handed over.

        One that is added again (by its span's id) replaces itself.
        """
        settings = self.settings
        if settings.kept < 1:
            return
        for start in range(0, len(timelines), _AT_ONCE):
            rows: list[Any] = []
            newest = 0.0
            for timeline in timelines[start : start + _AT_ONCE]:
                with contextlib.suppress(UnicodeEncodeError):  # no text: lost alone, not with all
                    rows += _row(timeline)
                    newest = max(newest, _ended(timeline))
            if rows:
                await self._run(
                    "timelines_add",
                    settings.kept,
                    IN_ALL,
                    OF_ONE_ID,
                    milliseconds(settings.keep_s),
                    f"{newest - settings.keep_s:.6f}",
                    *rows,
                )

    async def get(self, request_id: str) -> list[Timeline]:
        """The timelines of an id, newest first, at most 20; empty: none is kept.

        The id of an asynchronous request finds that of the call that handed it over.
        """
        return _decoded(await self._run("timelines_get", request_id, OF_ONE_ID))

    async def list(
        self, wanted: RequestFilter, tags: Collection[str] | None = None
    ) -> list[Timeline]:
        """Those that fit, newest first, among the newest 5,000 that may fit.

        Args:
            wanted: what they must fit, and how many.
            tags: of the environments that they may belong to; None: any, or none at all.
        """
        if wanted.request_id:
            found = await self.get(wanted.request_id)
            return [one for one in found if _fits(one, wanted, tags)][: wanted.limit]
        if wanted.model and wanted.environment:
            tag = _tag(wanted.model, wanted.environment)
            tags = [tag] if tags is None or tag in tags else []
        if tags is not None and not tags:
            return []
        merged = tags if tags is not None and len(tags) <= FEW_TAGS else ()
        page = _PAGE if tags is None or merged else 2 * _PAGE
        fit: list[Timeline] = []
        before, looked_at = "+inf", 0
        since = f"{wanted.since:.6f}" if wanted.since > 0 else "-inf"
        while before and len(fit) < wanted.limit and looked_at < LOOKED_AT:
            on, *texts = await self._run("timelines_list", before, since, page, *merged)
            before, looked_at = on.decode(), looked_at + page
            fit += [one for one in _decoded(texts) if _fits(one, wanted, tags)]
        return fit[: wanted.limit]

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._connection.run(bare_script(script), TIMELINES, *arguments)


def tag_of_timeline(timeline: Timeline) -> str:
    """The tag of its environment; empty: it ended before that was found."""
    return _tag(timeline.model, timeline.environment) if timeline.environment else ""


def _ended(timeline: Timeline) -> float:
    return timeline.began + timeline.seconds


def _row(timeline: Timeline) -> tuple[Any, ...]:
    other = timeline.async_id if timeline.async_id != timeline.request_id else ""
    tag, moment = tag_of_timeline(timeline), f"{_ended(timeline):.6f}"
    return timeline.span_id, tag, moment, timeline.request_id, other, _encode(timeline)


def _fits(timeline: Timeline, wanted: RequestFilter, tags: Collection[str] | None) -> bool:
    return wanted.fits(timeline) and (tags is None or tag_of_timeline(timeline) in tags)


def _decoded(texts: Sequence[bytes]) -> list[Timeline]:
    """Those that can be read: another version may have written what this one cannot."""
    found = []
    for text in texts:
        try:
            found.append(_decode(text))
        except msgspec.DecodeError:
            continue
    return found


_tag = lru_cache(maxsize=4096)(tag_of)

"""All environments at a glance, as the observatory has them: one copy for all who look.

However many callers there are, a router asks at most once in `POLL_S`, for what has
changed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.lifecycle.errors import ObservatoryUnreachable
from orchestrator.observatory.history import History
from orchestrator.observatory.protocol import ObservatoryUnavailable, Row
from orchestrator.observatory.rows import row as row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.observatory.protocol import Observatory, Overview
    from orchestrator.router.auth import Reach
    from orchestrator.router.directory import Directory

    Place = tuple[str, str]
    """Names of a model and of its environment."""

POLL_S: Final = 1.0

RETURN_S: Final = 20.0
"""Rows that a new observatory does not have (yet) are shown for so long."""

_MOST_GONE: Final = 1000


class Feed:
    """The copy.

    Attributes:
        rows: by model and environment; those of environments that are configured and
            that nothing is told of are among them, as of status UNKNOWN.
        version: of the rows; the observatory's.
    """

    def __init__(self, observatory: Callable[[], Observatory | None]) -> None:
        self._observatory = observatory
        self.rows: dict[Place, Row] = {}
        self.version = 0
        self._told: dict[Place, Row] = {}
        self._leaving: dict[Place, float] = {}
        self._unknown: dict[Place, Row] = {}
        self._gone: dict[Place, int] = {}
        self._base = 0
        self._asked_at = float("-inf")
        self._answered = False
        self._asking: asyncio.Task[None] | None = None

    async def refresh(self, directory: Directory) -> None:
        """Asks for what has changed, unless that was done lately.

        Raises:
            ObservatoryUnreachable: it does not answer; the rows are as they were.
        """
        if self._asking is None or self._asking.done():
            if time.monotonic() - self._asked_at < POLL_S / 2:
                if not self._answered:
                    raise ObservatoryUnreachable
                return
            self._asking = asyncio.get_running_loop().create_task(self._ask(directory))
        await asyncio.shield(self._asking)

    def seen_by(self, reach: Reach) -> Iterable[tuple[Place, Row]]:
        """The rows that a caller may see."""
        if not reach.limited:
            return self.rows.items()
        return ((place, row) for place, row in self.rows.items() if _sees(reach, place))

    def json(self, reach: Reach, since: int, now: float) -> bytes:
        """What a caller may see and has changed after a version, as it gets it.

        Everything, where what has gone since then is not known any more.
        """
        full = since < self._base
        rows = [row for _, row in self.seen_by(reach) if full or row.version > since]
        gone = [
            place
            for place, version in self._gone.items()
            if not full and version > since and _sees(reach, place)
        ]
        return overview_json(self.version, now, rows, gone, full=full)

    async def _ask(self, directory: Directory) -> None:
        observatory = self._observatory()
        self._answered = False
        try:
            if observatory is None:
                raise ObservatoryUnreachable
            found = await observatory.overview(self.version)
        except ObservatoryUnavailable:
            raise ObservatoryUnreachable from None
        finally:
            self._asked_at = time.monotonic()
        self._take_in(found, directory)
        self._answered = True

    def _take_in(self, found: Overview, directory: Directory) -> None:
        now = time.monotonic()
        told = self._told
        if found.full:
            there = {(each.model, each.environment) for each in found.rows}
            for place in told.keys() - there:
                self._leaving.setdefault(place, now + RETURN_S)
        for each in found.rows:
            place = (each.model, each.environment)
            told[place] = each
            self._leaving.pop(place, None)
        for place in found.gone:
            told.pop((place[0], place[1]), None)
        for place in [place for place, until in self._leaving.items() if until <= now]:
            del self._leaving[place]
            told.pop(place, None)
        self.version = found.version
        if found.full:
            self._base = found.version
        self._show(directory)

    def _show(self, directory: Directory) -> None:
        """The rows of what is configured: as told, or as unknown."""
        rows: dict[Place, Row] = {}
        for model, entry in directory.table.models.items():
            for name, settings in entry.environments.items():
                place = (model, name)
                there_is = self._told.get(place)
                if there_is is not None:
                    self._unknown.pop(place, None)
                else:
                    there_is = self._unknown.get(place)
                    if there_is is None:
                        there_is = _unknown(place, settings.deployment, self.version)
                        self._unknown[place] = there_is
                rows[place] = there_is
                self._gone.pop(place, None)
        for place in self.rows.keys() - rows.keys():
            self._unknown.pop(place, None)
            self._gone[place] = self.version
        while len(self._gone) > _MOST_GONE:
            self._base = max(self._base, self._gone.pop(next(iter(self._gone))))
        self.rows = rows


def overview_json(
    version: int, now: float, rows: Iterable[Row], gone: Iterable[Place], *, full: bool
) -> bytes:
    """Rows as callers get them; `full`: they are all that there are."""
    names = msgspec.json.encode([f"{model}/{environment}" for model, environment in gone])
    return b'{"version":%d,"now":%.3f,"full":%s,"environments":[%s],"gone":%s}' % (
        version,
        now,
        b"true" if full else b"false",
        b",".join(each.data for each in rows),
        names,
    )


def _unknown(place: Place, deployment: str, version: int) -> Row:
    """The row of an environment that nothing is told of."""
    made = row_of(*place, {}, History(), 0.0) | {"deployment": deployment, "version": version}
    return Row(*place, version, msgspec.json.encode(made))


def _sees(reach: Reach, place: Place) -> bool:
    return reach.sees_model(place[0]) and reach.sees_environment(place[1])

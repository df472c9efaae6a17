"""The `schedule` policy: so many replicas at certain times of certain days.

Beside other policies it is a floor: whoever asks for most replicas has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from annotated_types import MinLen

from orchestrator.lifecycle.scaling.policy import SettingError, Wish
from orchestrator.lifecycle.scaling.weekly import parse

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.policy import Seen
    from orchestrator.lifecycle.scaling.weekly import Window

Windows = Annotated[list[dict[str, Any]], MinLen(1)]

LOOKED_AHEAD_S = 3600.0
"""Windows of yesterday, today and tomorrow are looked at; after so long, they may be others."""


@dataclass(slots=True, kw_only=True)
class SchedulePolicy:
    """The largest of the windows that hold now, or nothing. See `weekly.parse` for a window.

    Attributes:
        windows: mappings with `days`, `start`, `end` and `replicas`. One that ends before
            it starts ends on the next day.
        timezone: whose local time they are in, as in "Europe/Berlin".
    """

    windows: Windows
    timezone: str = "UTC"
    _windows: list[Window] = field(init=False, repr=False)
    _zone: ZoneInfo = field(init=False, repr=False)
    _wish: Wish = field(init=False, repr=False, default=Wish(0, ""))
    _since: float = field(init=False, repr=False, default=math.inf)
    _until: float = field(init=False, repr=False, default=-math.inf)

    def __post_init__(self) -> None:
        self._windows = [parse(each, "windows", i) for i, each in enumerate(self.windows)]
        try:
            self._zone = ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            rule = 'must be a time zone that this machine knows, such as "Europe/Berlin"'
            raise SettingError(rule, "timezone") from None

    def wish(self, now: float, seen: Seen) -> Wish:  # noqa: ARG002 - a calendar has its own clock
        """See `orchestrator.lifecycle.scaling.policy.Policy`."""
        if not self._since <= seen.unix_s < self._until:
            self._look_up(seen.unix_s)
        return self._wish

    def _look_up(self, unix_s: float) -> None:
        """The wish at a time, and from when until when it stays."""
        today = datetime.fromtimestamp(unix_s, self._zone).date()
        until = unix_s + LOOKED_AHEAD_S
        best: Window | None = None
        for window in self._windows:
            for days in (-1, 0, 1):
                day = today + timedelta(days=days)
                if not window.on(day):
                    continue
                start, end = window.span(day, self._zone)
                until = min([until, *(edge for edge in (start, end) if edge > unix_s)])
                if start <= unix_s < end and (best is None or window.replicas > best.replicas):
                    best = window
        self._since, self._until = unix_s, until
        if best is None:
            self._wish = Wish(0, f"no window of the schedule holds now ({self.timezone})")
        else:
            self._wish = Wish(best.replicas, f"window {best.label} ({self.timezone})")

"""The parameters of a query string: each known, given once, and of a sensible value."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.router.json_body import clipped

if TYPE_CHECKING:
    from collections.abc import Collection

_WHOLE: Final = re.compile(r"\d{1,15}", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_SPAN: Final = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(s|m|h|d|)", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_YES: Final = ("true", "1", "")
_NO: Final = ("false", "0")


class Parameters:
    """What a caller asked for in the address; every reader raises `BadRequest`."""

    __slots__ = ("_given",)

    def __init__(self, query: bytes, known: Collection[str]) -> None:
        """Reads a query string.

        Args:
            query: raw, without the question mark.
            known: names that make sense at this address.

        Raises:
            BadRequest: there is another one, or one twice.
        """
        self._given: dict[str, str] = {}
        for part in query.split(b"&"):
            if not part:
                continue
            name, _, value = (_decoded(piece) for piece in part.partition(b"="))
            if name not in known:
                possible = f"possible: {', '.join(sorted(known))}" if known else "none is possible"
                raise BadRequest(clipped(name), f"there is no such parameter; {possible}")
            if name in self._given:
                raise BadRequest(name, "it is given twice")
            self._given[name] = value

    def text(self, name: str) -> str | None:
        """A parameter as it is; None: it is not given."""
        return self._given.get(name)

    def one_of(self, name: str, values: Collection[str]) -> str | None:
        """A parameter that is one of some words; None: it is not given."""
        given = self._given.get(name)
        if given is not None and given not in values:
            rule = f"one of {', '.join(values)} is needed, not {clipped(given)!r}"
            raise BadRequest(name, rule)
        return given

    def whole(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number."""
        given = self._given.get(name)
        if given is None:
            return default
        number = int(given) if _WHOLE.fullmatch(given) else lowest - 1
        if not lowest <= number <= highest:
            rule = f"a whole number from {lowest} to {highest} is needed, not {clipped(given)!r}"
            raise BadRequest(name, rule)
        return number

    def seconds(self, name: str, highest: float) -> float:
        """A number of seconds; 0 where it is not given."""
        given = self._given.get(name)
        if given is None:
            return 0.0
        number = float(given) if _NUMBER.fullmatch(given) else math.nan
        if not 0 <= number <= highest:
            rule = f"a number of seconds from 0 to {highest:g} is needed, not {clipped(given)!r}"
            raise BadRequest(name, rule)
        return number

    def flag(self, name: str) -> bool:
        """Whether something is wanted: `?name`, `?name=true` or `1`; else `false` or `0`."""
        given = self._given.get(name)
        if given is not None and given not in _YES + _NO:
            rule = f"one of {', '.join(filter(None, _YES + _NO))} is needed, not {clipped(given)!r}"
            raise BadRequest(name, rule)
        return given in _YES

    def span(self, name: str, highest: float) -> float | None:
        """A length of time, in seconds or as in `90s`, `10m`, `2h`, `1d`; None: not given."""
        given = self._given.get(name)
        if given is None:
            return None
        found = _SPAN.fullmatch(given)
        seconds = float(found[1]) * _UNITS[found[2]] if found else math.nan
        if not 0 <= seconds <= highest:
            rule = (
                f"a length of time is needed, as in 600, 10m or 2h, at most {highest:g} s,"
                f" not {clipped(given)!r}"
            )
            raise BadRequest(name, rule)
        return seconds


def _decoded(piece: bytes) -> str:
    return unquote_to_bytes(piece.replace(b"+", b" ")).decode("utf-8", "replace")

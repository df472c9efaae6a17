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

_WHOLE: Final = re.compile(r"\d{1,9}", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


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


def _decoded(piece: bytes) -> str:
    return unquote_to_bytes(piece.replace(b"+", b" ")).decode("utf-8", "replace")

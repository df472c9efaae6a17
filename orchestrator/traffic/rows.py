"""Requests by columns: what readers and generators make, and scaling works on.

Column by column numpy does in nanoseconds what takes a microsecond request by request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.traffic.arrival import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

BATCH: Final = 8192
"""Requests in one piece: enough that a call of numpy costs next to nothing for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some requests, in order; each column has one value for each. None: nothing is known.

    Attributes:
        at: seconds since the beginning of the source; never falling.
        prompt_tokens, output_tokens: 0: not known.
        service_s, deadline_s: seconds; nan: not known, or none.
        asynchronous: whether it is for later.
        environment: texts; empty: none.
    """

    at: Floats
    prompt_tokens: Integers | None = None
    output_tokens: Integers | None = None
    service_s: Floats | None = None
    deadline_s: Floats | None = None
    asynchronous: Flags | None = None
    environment: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        """How many requests there are."""
        return self.at.size

    def take(self, which: Index | Flags | slice) -> Rows:
        """Those of an index, in its order, or those that a mask or a slice marks."""
        taken = {name: column[which] for name, column in _columns(self)}
        return Rows(**taken)

    def with_times(self, at: Floats) -> Rows:
        """The same requests at other times."""
        return replace(self, at=at)

    def replaced(self, **columns: Any) -> Rows:
        """The same requests with other columns."""
        return replace(self, **columns)

    def arrivals(self) -> Iterator[Arrival]:
        """The same, request by request."""
        return map(
            Arrival._make,
            zip(
                self.at.tolist(),
                _values(self.prompt_tokens, 0),
                _values(self.output_tokens, 0),
                _seconds(self.service_s),
                _seconds(self.deadline_s),
                _values(self.asynchronous, False),
                _values(self.environment, ""),
                strict=False,  # columns that are not there are without end
            ),
        )


_ABSENT: Final[dict[str, Any]] = {
    "prompt_tokens": np.int64(0),
    "output_tokens": np.int64(0),
    "service_s": np.float64(np.nan),
    "deadline_s": np.float64(np.nan),
    "asynchronous": np.False_,
    "environment": "",
}


def joined(parts: Sequence[Rows]) -> Rows:
    """Several as one, in that order; at least one."""
    if len(parts) == 1:
        return parts[0]
    names = {name for part in parts for name, _ in _columns(part)}
    return Rows(**{name: np.concatenate([_filled(part, name) for part in parts]) for name in names})


def merged(parts: Sequence[Rows]) -> Rows:
    """Several as one, in the order of time; where times are the same, in theirs."""
    together = joined(parts)
    return together.take(np.argsort(together.at, kind="stable"))


def pieces(rows: Rows, size: int = BATCH) -> Iterator[Rows]:
    """The same in pieces of at most `size`."""
    return (rows.take(slice(begin, begin + size)) for begin in range(0, len(rows), size))


def _columns(rows: Rows) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in Rows.__slots__:
        column = getattr(rows, name)
        if column is not None:
            yield name, column


def _filled(rows: Rows, name: str) -> NDArray[Any]:
    """A column, also where it is not there."""
    column: NDArray[Any] | None = getattr(rows, name)
    if column is None:
        value = _ABSENT[name]
        return np.full(len(rows), value, dtype=object if value == "" else value.dtype)
    return column


def _values(column: NDArray[Any] | None, absent: Any) -> Iterable[Any]:
    return repeat(absent) if column is None else column.tolist()


def _seconds(column: Floats | None) -> Iterable[float | None]:
    if column is None:
        return repeat(None)
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - nan

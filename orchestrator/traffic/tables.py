"""Tables of several kinds, told by their suffix: column names, and rows piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.config.problems import listed, suggestion
from orchestrator.traffic import csv_table, json_table, parquet_table
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.traffic.piece import Piece


class _Reader(Protocol):
    """What each of the modules can do."""

    def names(self, file: str) -> list[str]: ...

    def read(self, file: str, wanted: Sequence[str]) -> Iterator[Piece]: ...


_READERS: Final[dict[str, _Reader]] = {
    ".csv": csv_table,
    ".tsv": csv_table,
    ".txt": csv_table,
    ".json": json_table,
    ".jsonl": json_table,
    ".ndjson": json_table,
    ".parquet": parquet_table,
}


def names(file: str) -> list[str]:
    """The columns of a table.

    Raises:
        TrafficError: it is of no known kind, cannot be read, or is empty.
    """
    return _reader(file).names(file)


def read(file: str, wanted: Sequence[str]) -> Iterator[Piece]:
    """The rows of a table with the columns that are wanted; at least one row.

    Raises:
        TrafficError: as `names`; a column is missing; or, on the way, a row is broken.
    """
    reader = _reader(file)
    there = reader.names(file)
    for name in wanted:
        if name not in there:
            raise _missing(file, name, there)
    some = False
    for piece in reader.read(file, list(dict.fromkeys(wanted))):
        some = True
        yield piece
    if not some:
        raise TrafficError(file, None, "has no rows", "at least one below its header")


def _reader(file: str) -> _Reader:
    kind = suffix(file)
    try:
        return _READERS[kind]
    except KeyError:
        what = f'ends in "{kind}"' if kind else "has no suffix that says what it is"
        expected = f"one of {listed(_READERS)}, and .gz, .zst, .bz2 or .xz behind it"
        raise TrafficError(file, None, what, expected) from None


def _missing(file: str, name: str, there: Sequence[str]) -> TrafficError:
    what = f'has no column "{name}"{suggestion(name, there)}'
    only = there[0] if len(there) == 1 else ""
    separator = next((mark for mark in (";", "\t", "|") if mark in only), None)
    if separator is not None:
        return TrafficError(file, 1, what, f"columns separated by commas, not by {separator!r}")
    return TrafficError(file, None, f"{what}; it has {listed(there)}", "columns that are there")

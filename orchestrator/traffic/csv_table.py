"""Tables as comma-separated (or, in `.tsv`, tab-separated) text with a header."""

from __future__ import annotations

import csv
from itertools import count, islice
from typing import TYPE_CHECKING, Final

from orchestrator.config.problems import shown
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import opened_text, suffix
from orchestrator.traffic.piece import Piece
from orchestrator.traffic.rows import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    Row = list[str]
    Lines = Iterator[tuple[int, Row]]

LONGEST_HEADER: Final = 1000
"""Columns; what has more is no table."""


def names(file: str) -> list[str]:
    """The columns that there are.

    Raises:
        TrafficError: it cannot be read, or is empty.
    """
    with opened_text(file) as text:
        return _header(_reader(text, file), file)


def read(file: str, wanted: Sequence[str]) -> Iterator[Piece]:
    """The rows' values in those columns, all of which must be there.

    Raises:
        TrafficError: on the way: a row has another number of columns than the header.
    """
    with opened_text(file) as text:
        reader = _reader(text, file)
        header = _header(reader, file)
        yield from _pieces(reader, file, header, wanted)


def read_bare(file: str, header: Sequence[str]) -> Iterator[Piece]:
    """The same of a file without a header, whose columns those are; all of them."""
    with opened_text(file) as text:
        yield from _pieces(_reader(text, file), file, header, header, begin=1)


def _pieces(
    reader: Iterator[Row], file: str, header: Sequence[str], wanted: Sequence[str], begin: int = 2
) -> Iterator[Piece]:
    chosen = [header.index(name) for name in wanted]
    lines = count(begin)
    while rows := list(islice(reader, BATCH)):
        where: Sequence[int] = list(islice(lines, len(rows)))
        if [] in rows:  # an empty line
            where = [line for line, row in zip(where, rows, strict=True) if row]
            rows = [row for row in rows if row]
        if set(map(len, rows)) - {len(header)}:
            raise _uneven(file, where, rows, header)
        if rows:
            columns = list(zip(*rows, strict=True))
            found = {name: columns[at] for name, at in zip(wanted, chosen, strict=True)}
            yield Piece(file, where, found)


def _reader(text: IO[str], file: str) -> Iterator[Row]:
    """Rows of a file, with the reader's own complaints as errors."""
    tabs = suffix(file) == ".tsv"
    reader = csv.reader(text, delimiter="\t" if tabs else ",")
    while True:
        try:
            yield from reader
        except csv.Error as error:
            raise TrafficError(file, reader.line_num, f"is no table of text: {error}") from None
        return


def _header(reader: Iterator[Row], file: str) -> Row:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise TrafficError(file, None, "is empty", "a header with the names of its columns")
    if header[0].startswith("{"):
        what = "begins with JSON, not with the names of columns"
        raise TrafficError(file, 1, what, "the suffix .jsonl for a file of JSON lines")
    if len(header) > LONGEST_HEADER:
        raise TrafficError(file, 1, f"has {len(header)} columns", "a table with one row a line")
    return header


def _uneven(
    file: str, lines: Sequence[int], rows: Sequence[Row], header: Sequence[str]
) -> TrafficError:
    line, row = next(
        (line, row) for line, row in zip(lines, rows, strict=True) if len(row) != len(header)
    )
    has = "a JSON object" if row[0].startswith("{") else f"{len(row)} column{'s' * (len(row) != 1)}"
    what = f"has {has}: {shown(','.join(row))}"
    return TrafficError(file, line, what, f"{len(header)}, as in the header")

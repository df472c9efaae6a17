"""Tables as JSON lines: one object a line, with the columns as its keys."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.config.problems import shown
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import opened
from orchestrator.traffic.piece import Piece
from orchestrator.traffic.rows import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    Lines = Iterator[tuple[int, bytes]]


def names(file: str) -> list[str]:
    """The keys of the first object.

    Raises:
        TrafficError: it cannot be read, is empty, or the first line is no object.
    """
    with opened(file) as stream:
        first = next(_lines(stream), None)
    if first is None:
        raise TrafficError(file, None, "is empty", "one JSON object a line")
    return list(_object(file, *first))


def read(file: str, wanted: Sequence[str]) -> Iterator[Piece]:
    """The objects' values at those keys; None where one has no such key.

    Raises:
        TrafficError: on the way: a line is no JSON object.
    """
    # Keys that nobody wants (token by token hashes) are skipped without making objects.
    row = msgspec.defstruct(
        "Row",
        [(f"c{index}", Any, None) for index in range(len(wanted))],
        rename={f"c{index}": name for index, name in enumerate(wanted)},
        gc=False,
    )
    decode = msgspec.json.Decoder(row).decode
    with opened(file) as stream:
        lines = _lines(stream)
        while some := list(islice(lines, BATCH)):
            try:
                found = [msgspec.structs.astuple(decode(line)) for _, line in some]
            except msgspec.DecodeError:
                raise _wrong(file, some, decode) from None
            where = [line for line, _ in some]
            yield Piece(file, where, dict(zip(wanted, zip(*found, strict=True), strict=True)))


def _lines(stream: IO[bytes]) -> Lines:
    """Lines with their numbers, but empty ones."""
    return ((number, line) for number, line in enumerate(stream, start=1) if not line.isspace())


def _object(file: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        text = line.decode(errors="replace").strip()
        if text.startswith("["):
            what = "is a JSON list"
        elif not text.startswith("{"):
            what = f"is no JSON object: {shown(text)}"
        else:
            what = f"is broken JSON ({error}): {shown(text)}"
        raise TrafficError(file, number, what, "one JSON object a line") from None


def _wrong(file: str, lines: Sequence[tuple[int, bytes]], decode: Any) -> TrafficError:
    for number, line in lines:
        try:
            decode(line)
        except msgspec.DecodeError as error:
            try:
                _object(file, number, line)
            except TrafficError as found:
                return found
            return TrafficError(file, number, f"cannot be read: {error}")
    raise AssertionError("one of them was refused")

"""A table of a report's numbers for a terminal that is too narrow for all of it."""

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.reports.tables import Rows

GAP: Final = 2
"""Cells between two columns."""

DISPENSABLE: Final = (
    "seeds",
    "utilisation",
    "latency p50",
    "answered",
    "latency p95",
    "requests",
    "GPU-hours",
    "cold share",
)
"""Columns that are left out where there is no room, in this order."""

_SPREAD: Final = re.compile(r" ± [\d.,]+")


def fitted(rows: "Rows", width: int) -> "Rows":
    """As much of a table as has room, of the numbers first without their intervals.

    Args:
        rows: the whole table.
        width: of the terminal, in cells.
    """
    if _width(rows) > width:
        rows = rows._replace(rows=[[_SPREAD.sub("", cell) for cell in row] for row in rows.rows])
    for name in DISPENSABLE:
        if _width(rows) > width and name in rows.header:
            rows = _without(rows, rows.header.index(name))
    return rows


def _width(rows: "Rows") -> int:
    columns = zip(rows.header, *rows.rows, strict=True)
    return sum(max(map(len, column)) + GAP for column in columns) - GAP


def _without(rows: "Rows", column: int) -> "Rows":
    header, *kept = [
        [cell for at, cell in enumerate(row) if at != column] for row in (rows.header, *rows.rows)
    ]
    return rows._replace(header=header, rows=kept, texts=rows.texts - (column < rows.texts))

"""Rows of a report's numbers as a table on a terminal."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from orchestrator.reports.tables import Rows


def table_of(rows: "Rows") -> Table:
    """The rows as a table: text to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column, title in enumerate(rows.header):
        table.add_column(escape(title), justify="left" if column < rows.texts else "right")
    for row in rows.rows:
        table.add_row(*map(escape, row))
    return table

"""What is wrong with a trace, and where."""

from __future__ import annotations


class TrafficError(Exception):
    """A trace cannot be read.

    Attributes:
        file: as the experiment names it, or where it was found.
        row: line of a text file, the first being 1; row of a Parquet file; None: all of it.
        what: what is wrong.
        expected: what would be right; empty: that goes without saying.
    """

    def __init__(self, file: str, row: int | None, what: str, expected: str = "") -> None:
        """The message reads `file:row: what; expected ...`."""
        self.file = file
        self.row = row
        self.what = what
        self.expected = expected
        place = file if row is None else f"{file}:{row}"
        super().__init__(f"{place}: {what}" + (f"; expected {expected}" if expected else ""))

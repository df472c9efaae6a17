"""One column of numbers out of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from orchestrator.traffic import tables
from orchestrator.traffic.files import place

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.traffic.rows import Floats

EXPECTED: Final = "a number of at least 0"


def read_column(file: str, column: str, *, folder: Path) -> Floats:
    """All numbers of a column, in order.

    Args:
        file: CSV with a header, JSON lines or Parquet, by its suffix; with `.gz` and the
            like behind it where it is compressed.
        column: its name.
        folder: what the file is relative to.

    Raises:
        TrafficError: the file cannot be read or is empty, the column is missing, or a
            value is no number of at least 0.
    """
    found = tables.read(place(file, folder), [column])
    return np.concatenate([piece.numbers(column, EXPECTED) for piece in found])

"""Some rows of a table, and what stands in them: text, or values of JSON or Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from orchestrator.config.problems import shown
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.traffic.rows import Flags, Floats, Integers

LARGEST_WHOLE: Final = 2**53
"""Beyond it a float is not exact."""

A_DURATION: Final = "a number of seconds of at least 0, or nothing"
TOKENS: Final = "a whole number of at least 0, or nothing"
A_FLAG: Final = "true or false, yes or no, 1 or 0"

_FLAGS: Final[dict[Any, bool]] = {
    **dict.fromkeys((True, "1", "true", "yes"), True),
    **dict.fromkeys((False, "0", "false", "no", "", None), False),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a table; at least one.

    Attributes:
        file: for errors.
        rows: where they are in it: lines, the first being 1 (of Parquet, rows).
        columns: values by the column's name; what is missing is an empty text or None.
    """

    file: str
    rows: Sequence[int]
    columns: Mapping[str, Sequence[Any]]

    def error(self, index: int, what: str, expected: str) -> TrafficError:
        """What is wrong with one of the rows."""
        return TrafficError(self.file, self.rows[index], what, expected)

    def durations(self, column: str) -> Floats:
        """Seconds; nan where there are none.

        Raises:
            TrafficError: one is negative, or no number.
        """
        values = self.columns[column]
        if "" not in values and None not in values:
            return self.numbers(column, A_DURATION)
        missing = np.array([each in ("", None) for each in values])
        filled = [0 if gap else each for each, gap in zip(values, missing, strict=True)]
        found = Piece(self.file, self.rows, {column: filled}).numbers(column, A_DURATION)
        found[missing] = np.nan
        return found

    def tokens(self, column: str) -> Integers:
        """Whole numbers; 0 where there are none.

        Raises:
            TrafficError: one is negative, or no whole number.
        """
        values = self.columns[column]
        if "" in values or None in values:
            values = [0 if each in ("", None) else each for each in values]
        found = Piece(self.file, self.rows, {column: values}).numbers(column, TOKENS)
        wrong = (found != np.rint(found)) | (found > LARGEST_WHOLE)
        if wrong.any():
            raise self._wrong(column, int(wrong.argmax()), TOKENS)
        return found.astype(np.int64)

    def flags(self, column: str) -> Flags:
        """True or false; false where there is nothing.

        Raises:
            TrafficError: one is neither.
        """
        values = self.columns[column]
        try:
            return np.array([_flag(each) for each in values], dtype=np.bool_)
        except (KeyError, TypeError):
            raise self._wrong(column, _first_bad(values, _flag), A_FLAG) from None

    def texts(self, column: str) -> list[str]:
        """Texts, also of numbers; empty where there are none."""
        return ["" if each is None else str(each) for each in self.columns[column]]

    def numbers(self, column: str, expected: str) -> Floats:
        """Numbers of at least 0.

        Args:
            column: its name.
            expected: for the error.

        Raises:
            TrafficError: one is negative, no number, infinite, or missing.
        """
        values = self.columns[column]
        try:
            if bool in set(map(type, values)):
                raise TypeError  # noqa: TRY301 - float(True) is 1.0
            found = np.fromiter(map(float, values), np.float64, len(values))
        except (TypeError, ValueError):
            raise self._wrong(column, _first_bad(values, _number), expected) from None
        wrong = ~((found >= 0) & np.isfinite(found))
        if wrong.any():
            raise self._wrong(column, int(wrong.argmax()), expected)
        return found

    def _wrong(self, column: str, index: int, expected: str) -> TrafficError:
        value = self.columns[column][index]
        what = f"{column} is empty" if value in ("", None) else f"{column} is {shown(value)}"
        return self.error(index, what, expected)


def _flag(value: Any) -> bool:
    return _FLAGS[value.lower() if isinstance(value, str) else value]


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _first_bad(values: Sequence[Any], convert: Callable[[Any], object]) -> int:
    """The first value that `convert` refuses."""
    for index, value in enumerate(values):
        try:
            convert(value)
        except (KeyError, TypeError, ValueError):
            return index
    raise AssertionError("one of them was refused")

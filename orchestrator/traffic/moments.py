"""When requests came, as a table says it: numbers of some unit, or dates."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from orchestrator.config.problems import shown
from orchestrator.traffic.survey import Suspicion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.traffic.errors import TrafficError
    from orchestrator.traffic.piece import Piece
    from orchestrator.traffic.rows import Floats, Integers
    from orchestrator.traffic.settings import Unit

PER_SECOND: Final[dict[str, float]] = {
    "seconds": 1.0,
    "milliseconds": 1e3,
    "microseconds": 1e6,
    "nanoseconds": 1e9,
}

EPOCH_SECONDS: Final = (1e9, 2.5e9)
"""From 2001 to 2049, as seconds since 1970."""

A_MOMENT: Final = "a date and time such as 2026-01-31 08:00:00.250"

_ZONE: Final = len("+00:00")
_DATE: Final = len("2026-01-31")


class Moments:
    """Turns a column of times into seconds since its first one.

    Dates are exact to the nanosecond. Numbers are floats: as nanoseconds since 1970 they
    are exact to a quarter of a microsecond.

    Args:
        column: its name.
        unit: of its numbers; None: seconds, or iso where the first one is no number.
        ordered: whether a time before the one above it is an error.
        suspicions: where to note that the unit is probably wrong.
    """

    def __init__(
        self, column: str, unit: Unit | None, *, ordered: bool, suspicions: list[Suspicion]
    ) -> None:
        self._column = column
        self._unit = unit
        self._ordered = ordered
        self._suspicions = suspicions
        self._zero: float | np.int64 | None = None
        self._last = -np.inf

    def seconds(self, piece: Piece) -> Floats:
        """The times of a piece; pieces are given in order.

        Raises:
            TrafficError: one is no time of that unit, or before the one above it.
        """
        if self._unit is None:
            values = piece.columns[self._column]
            first = next((each for each in values if each not in ("", None)), 0)
            self._unit = "seconds" if _is_number(first) else "iso"
        found = self._dates(piece) if self._unit == "iso" else self._numbers(piece, self._unit)
        if self._ordered:
            self._check_order(piece, found)
        return found

    def _numbers(self, piece: Piece, unit: Unit) -> Floats:
        expected = f"{unit}, a number of at least 0"
        numbers = piece.numbers(self._column, expected)
        if self._zero is None:
            self._zero = float(numbers[0])
            self._check_epoch(piece, self._zero, unit)
        return (numbers - self._zero) / PER_SECOND[unit]

    def _dates(self, piece: Piece) -> Floats:
        values = piece.columns[self._column]
        try:
            moments = nanoseconds(values)
        except (AttributeError, TypeError, ValueError):
            raise self._no_date(piece) from None
        if self._zero is None:
            self._zero = moments[0]
        return (moments - np.int64(self._zero)) / 1e9

    def _no_date(self, piece: Piece) -> TrafficError:
        values = piece.columns[self._column]
        for index, value in enumerate(values):
            if not _is_date(value):
                expected = A_MOMENT
                if _is_number(value):
                    expected += f", or a unit for numbers ({', '.join(PER_SECOND)})"
                return piece.error(index, f"{self._column} is {shown(value)}", expected)
            if not _is_date(values[0], value):
                what = f"{self._column} has dates with a time zone and without"
                return piece.error(index, what, A_MOMENT)
        raise AssertionError("one of them was refused")

    def _check_order(self, piece: Piece, found: Floats) -> None:
        before = np.concatenate([[self._last], found[:-1]])
        wrong = found < before
        if wrong.any():
            at = int(wrong.argmax())
            values = piece.columns[self._column]
            above = f", {shown(values[at - 1])}" if at else ""
            raise piece.error(
                at,
                f"{self._column} is {shown(values[at])}, which is {before[at] - found[at]:g} s "
                f"before the row above it{above}",
                "times that never fall, or sort: true, which sorts them in memory",
            )
        self._last = found[-1]

    def _check_epoch(self, piece: Piece, first: float, unit: Unit) -> None:
        """Whether the first time looks like one since 1970 in another unit."""
        least, most = EPOCH_SECONDS
        looks = next((u for u, n in PER_SECOND.items() if least <= first / n <= most), None)
        if looks is None or looks == unit:
            return
        what = f"{self._column} begins with {first:.15g}: as {unit}, that is "
        if PER_SECOND[looks] > PER_SECOND[unit]:
            years = first / PER_SECOND[unit] / (365.25 * 86_400)
            raise piece.error(0, f"{what}{years:,.0f} years after 1970", f"unit: {looks}")
        days = first / PER_SECOND[unit] / 86_400
        hint = f"it looks like {looks} since 1970: unit: {looks}"
        self._suspicions.append(Suspicion(f"{what}{days:.3g} days after 1970", hint))


def nanoseconds(values: Sequence[str]) -> Integers:
    """ISO dates as nanoseconds since 1970, exactly; a zone may be behind them.

    Raises:
        ValueError: one is no such date; or some have a zone, and some have none.
    """
    first = values[0]
    if first.endswith("Z"):
        return _plain([_without(value, "Z") for value in values])
    if len(first) > _DATE + _ZONE and first[-_ZONE] in "+-" and first[-3] == ":":
        shifts = {zone: _shift(zone) for zone in {value[-_ZONE:] for value in values}}
        local = _plain([value[:-_ZONE] for value in values])
        return np.subtract(local, [shifts[value[-_ZONE:]] for value in values])
    return _plain(values)


def _plain(values: Sequence[str]) -> Integers:
    """ISO dates without a zone."""
    # numpy takes "now", too, and lets years that nanoseconds do not reach overflow.
    if not (min(values) >= "1970-" and max(values) < "2262"):
        raise ValueError("no date, or one too far away")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.array(values, dtype="datetime64[ns]").astype(np.int64)
        except UserWarning as warning:  # something is behind it
            raise ValueError(str(warning)) from None


def _without(value: str, zone: str) -> str:
    if not value.endswith(zone):
        raise ValueError(f"no {zone}")
    return value[: -len(zone)]


def _shift(zone: str) -> int:
    """Nanoseconds of `+02:00`."""
    if zone[0] not in "+-" or zone[3] != ":":
        raise ValueError(f"no zone: {zone}")
    minutes = int(zone[1:3]) * 60 + int(zone[4:])
    return (-minutes if zone[0] == "-" else minutes) * 60 * 10**9


def _is_date(*values: Any) -> bool:
    """Whether a value is a date, or several are of one kind."""
    try:
        nanoseconds(values)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float)

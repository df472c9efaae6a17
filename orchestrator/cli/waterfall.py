"""The waterfall of a request in a terminal, as `orchestrator.telemetry.waterfall` describes it."""

from __future__ import annotations

from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from orchestrator.telemetry.sentences import took

View = dict[str, Any]
Bar = dict[str, Any]

_COLOURS: Final = {"ok": "green", "warn": "yellow", "error": "red", "muted": "cyan"}
_WAITING: Final = "░"
_WORKING: Final = "█"
_WITHIN: Final = "▒"
_SHORT: Final = "▏"
_FOLD: Final = "⋮"

_WAITS: Final = frozenset({"queue.wait"})
_INDENT: Final = 2
_LONGEST_PROCESS: Final = 19
_SECONDS_CELLS: Final = 9
_LABEL_CELLS: Final = 15
_FEWEST_CELLS: Final = 12
_SEEN: Final = 0.5
"""Cells; what is shorter is drawn as a stroke."""

_SMALLEST_PART: Final = 11


def drawn(view: View, width: int) -> list[Text]:
    """A request's view, as lines of at most `width` cells; sentences may be longer.

    Args:
        view: as the API gives it.
        width: of the terminal.
    """
    summary = Text("\n".join(wrap(view["summary"], width)), style=f"bold {_COLOURS[view['level']]}")
    lines = [_title(view), summary, Text(), *_Drawing(view, width).lines(), Text()]
    lines += [_fact(label, text, width) for label, text in view["facts"]]
    if view["trace_id"]:
        lines.append(_fact("trace", view["trace_id"], width))
    if view["place"] is not None:
        lines.append(_fact("place in line", f"{view['place']['ahead']} before it", width))
    if view["error"]:
        lines.append(_fact("error", view["error"], width, style="red"))
    if view["others"]:
        lines.append(_others(view["others"]))
    return lines


def _title(view: View) -> Text:
    """Which request, of what, when."""
    title = Text(view["request_id"], style="bold")
    where = f"{view['model']}/{view['environment']}" if view["environment"] else view["model"]
    if where:
        title.append(f"  {where}", style="not bold")
    if view["deployment"]:
        title.append(f" ({view['deployment']})", style="not bold dim")
    return title.append(f"  {_clock(view['began'])}", style="not bold dim")


def _clock(at: float) -> str:
    """A Unix time for people, in local time: `11-23 14:02:07.123`."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%m-%d %H:%M:%S.%f")[:-3]


def _fact(label: str, text: str, width: int, *, style: str = "") -> Text:
    margin = " " * _LABEL_CELLS
    wrapped = f"\n{margin}".join(wrap(text, max(width - _LABEL_CELLS, _FEWEST_CELLS)))
    return Text(f"{label:<{_LABEL_CELLS}}", style="dim").append(wrapped, f"not dim {style}".strip())


def _others(count: int) -> Text:
    what = "request has" if count == 1 else "requests have"
    return Text(f"{count} other {what} this id; this is the newest", style="dim")


class _Drawing:
    """One waterfall: columns for names, processes and times, and the bars between them."""

    def __init__(self, view: View, width: int) -> None:
        self._bars: list[Bar] = view["bars"]
        self._axis: list[list[float]] = view["axis"]
        self._began: float = view["began"]
        self._now = self._began + view["seconds"]
        self._name = max(_INDENT * each["depth"] + cell_len(each["name"]) for each in self._bars)
        processes = max((cell_len(each["process"]) for each in self._bars), default=0)
        left = width - self._name - _SECONDS_CELLS - 3
        self._process = max(min(processes, _LONGEST_PROCESS, left - _FEWEST_CELLS - 10), 6)
        self._cells = max(left - self._process, _FEWEST_CELLS)
        self._parts = self._split()

    def _split(self) -> list[tuple[float, float, int, int]]:
        """The axis' parts: from, to (Unix), first cell, number of cells."""
        lengths = [max(end - at, 0.0) for at, end in self._axis]
        free = self._cells - (len(lengths) - 1)
        whole = sum(lengths) or 1.0
        least = min(_SMALLEST_PART, free // len(lengths))
        shared = free - least * len(lengths)
        sizes = [least + int(shared * length / whole) for length in lengths]
        sizes[lengths.index(max(lengths))] += free - sum(sizes)
        parts, cell = [], 0
        for (at, end), size in zip(self._axis, sizes, strict=True):
            parts.append((at, end, cell, size))
            cell += size + 1
        return parts

    def lines(self) -> list[Text]:
        """The ruler, and a line for each bar, with its note below where that says more."""
        lines = [self._ruler()]
        above: tuple[str, int] = ("", 0)
        for each in self._bars:
            process, depth = each["process"], each["depth"]
            told = process == above[0] and depth >= above[1]
            lines.append(self._line(each, "" if told else process))
            above = (process, depth)
            if _says_more(each):
                margin = " " * (_INDENT * depth)
                note = Text(f"{margin}└ {each['note']}", style=f"dim {_COLOURS[each['level']]}")
                lines.append(note)
        return lines

    def _line(self, each: Bar, process: str) -> Text:
        name = " " * (_INDENT * each["depth"]) + each["name"]
        colour = _COLOURS[each["level"]]
        if each["seconds"] is None:
            seconds = f"{took(self._now - each['at'])}…"
        else:
            seconds = took(each["seconds"])
        line = Text(set_cell_size(name, self._name))
        line.append(" " + _cut(process, self._process), style="dim")
        line.append(" ").append_text(self._cells_of(each, colour))
        return line.append(f" {seconds:>{_SECONDS_CELLS}}")

    def _cells_of(self, each: Bar, colour: str) -> Text:
        """The bar itself, over all parts of the axis."""
        at = float(each["at"])
        end = self._now if each["seconds"] is None else at + float(each["seconds"])
        end = max(end, at)
        row = Text()
        for index, (since, until, _, size) in enumerate(self._parts):
            if index:
                row.append(_FOLD, style="dim")
            row.append_text(Text(_strip(each, (at, end), (since, until), size), style=colour))
        return row

    def _ruler(self) -> Text:
        """When the parts of the axis begin and the last one ends, since the beginning."""
        cells = [" "] * self._cells
        free_from = 0

        def put(label: str, cell: int, until: int) -> None:
            nonlocal free_from
            if cell >= free_from and cell + len(label) <= until:
                cells[cell : cell + len(label)] = label
                free_from = cell + len(label) + 1

        for index, (since, until, first, size) in enumerate(self._parts):
            if index:
                cells[first - 1] = _FOLD
            put(f"+{took(since - self._began)}" if index else "0", first, first + size)
            end = took(until - self._began)
            put(end, first + size - len(end), first + size)
        margin = " " * (self._name + self._process + 2)
        return Text(margin + "".join(cells), style="dim")


def _strip(each: Bar, span: tuple[float, float], part: tuple[float, float], size: int) -> str:
    """What a bar leaves on one part of the axis: as many cells as that has."""
    (at, end), (since, until) = span, part
    if end < since or at > until:
        return " " * size
    length = (until - since) or 1.0
    first = int((max(at, since) - since) / length * size)
    last = round((min(end, until) - since) / length * size)
    first = min(first, size - 1)
    if last <= first or (end - at) / length * size < _SEEN:
        drawing = _SHORT
    else:
        fill = _WAITING if each["name"] in _WAITS else _WITHIN
        if each["level"] != "muted" and each["name"] not in _WAITS:
            fill = _WORKING
        drawing = fill * (last - first)
    if each["seconds"] is None and end <= until:
        drawing = drawing[:-1] + "▶"
    return (" " * first + drawing).ljust(size)[:size]


def _says_more(each: Bar) -> bool:
    """Whether a bar's note is worth a line of its own."""
    note = each["note"]
    if not note or not each["depth"] or note == "under way":
        return False
    return not note.startswith("answered 2")


def _cut(text: str, cells: int) -> str:
    """A text in exactly so many cells."""
    if cell_len(text) <= cells:
        return set_cell_size(text, cells)
    return set_cell_size(text, cells - 1) + "…"

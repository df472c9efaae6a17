"""How settings are marked in plots: each has a colour, and each kind of run a line of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from matplotlib.lines import Line2D

from orchestrator.reports.plots.theme import MOST_OVERLAID, MOST_ROWS, TONES
from orchestrator.reports.report import LIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from orchestrator.reports.summary import Group

_LONGEST: Final = 44
"""Characters of a label that are shown."""

_LEGEND_CHARACTERS: Final = 120
"""As many go in one row of a legend."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a setting is drawn: solid lines are simulated runs, dashed ones live runs."""

    group: Group
    colour: str
    dashes: str

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of a line."""
        return {"color": self.colour, "linestyle": self.dashes}


def marks(groups: Sequence[Group]) -> list[Mark]:
    """The settings that are drawn over each other: the first ones, as many as can be told apart.

    A label has one colour, in whichever kinds of runs it is.
    """
    colours: dict[str, str] = {}
    found = []
    for group in groups[:MOST_OVERLAID]:
        colour = colours.setdefault(group.label, TONES[len(colours)])
        found.append(Mark(group, colour, "--" if group.kind == LIVE else "-"))
    return found


def rows(groups: Sequence[Group]) -> Sequence[Group]:
    """The settings that have a row of their own: the first ones, as many as a picture holds."""
    return groups[:MOST_ROWS]


def shortened(text: str) -> str:
    """A label that has room in a plot."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def legend(figure: Figure, found: Sequence[Mark]) -> None:
    """Above the figure: which line is which setting; nothing where there is one only."""
    if len(found) < 2:
        return
    handles = [Line2D([], [], **mark.line) for mark in found]
    labels = [shortened(mark.group.name) for mark in found]
    columns = max(1, min(len(labels), _LEGEND_CHARACTERS // (max(map(len, labels)) + 6)))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)

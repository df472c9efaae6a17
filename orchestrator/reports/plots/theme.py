"""Colours and type of the plots.

Figures are drawn in the light theme's colours. Each colour is used for one thing alone,
so that `orchestrator.reports.plots.svg` can put a CSS variable in its place, which is
another colour in the dark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycler import cycler

from orchestrator.lifecycle.replica import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "text": ("#1a1f27", "#e4e8ee"),
    "muted": ("#57606e", "#98a3b3"),
    "axis": ("#b4bbc6", "#4a5462"),
    "grid": ("#e6e9ee", "#242b35"),
    "surface": ("#fefefe", "#151a21"),
    "tone-1": ("#2a62d4", "#7ea9ff"),
    "tone-2": ("#c2610c", "#f0a35c"),
    "tone-3": ("#11806f", "#4cc9b3"),
    "tone-4": ("#b3231b", "#ff8d83"),
    "tone-5": ("#6f4bc0", "#b79bff"),
    "tone-6": ("#8a6a00", "#dcc04f"),
    "tone-7": ("#b02a78", "#f58ac4"),
    "tone-8": ("#4d5a6b", "#a3b1c4"),
    "provisioning": ("#b9c1cc", "#566172"),
    "starting": ("#7aa7ea", "#3f6fc0"),
    "loading": ("#9b80d8", "#7a5fc4"),
    "warming": ("#dba43c", "#b58324"),
    "ready": ("#46a572", "#2f8f5c"),
    "draining": ("#cf8a80", "#9a554c"),
}
"""What is drawn: its colour on light ground, and on dark."""

TEXT, MUTED, AXIS, GRID, SURFACE = (
    COLOURS[name][0] for name in ("text", "muted", "axis", "grid", "surface")
)

TONES: Final = tuple(light for name, (light, _) in COLOURS.items() if name.startswith("tone-"))
"""For settings, in their order."""

STAGES: Final = {
    stage.value: COLOURS[stage.value.lower()][0]
    for stage in Stage
    if stage.value.lower() in COLOURS
}

MOST_OVERLAID: Final = len(TONES)
"""So many settings are drawn over each other at most."""

MOST_ROWS: Final = 40
"""So many settings are drawn under each other at most."""

SIZE: Final = 9.0

STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": AXIS,
    "axes.facecolor": "none",
    "axes.formatter.use_mathtext": False,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": SIZE,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=TONES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": TEXT,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.titlesize": SIZE + 0.5,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": SIZE,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.borderaxespad": 0.0,
    "legend.fontsize": SIZE,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.labelcolor": TEXT,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "path.simplify_threshold": 0.3,
    "svg.fonttype": "none",
    "text.color": TEXT,
    "text.parse_math": False,
    "xtick.color": AXIS,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": SIZE - 0.5,
    "ytick.color": AXIS,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": SIZE - 0.5,
}


def css(theme: int) -> str:
    """The variables of one theme: 0 is the light one, 1 the dark one."""
    return "".join(f"--plot-{name}:{both[theme]};" for name, both in COLOURS.items())

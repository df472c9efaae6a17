"""Figures as SVG that follows the reader's theme and lies in a page beside others."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING, Final

from orchestrator.reports.plots.theme import COLOURS, css

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VARIABLES: Final = {light: f"var(--plot-{name}, {light})" for name, (light, _) in COLOURS.items()}
_COLOUR: Final = re.compile("|".join(_VARIABLES))
_PROLOGUE: Final = re.compile(r"^.*?(?=<svg )", re.DOTALL)
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_STYLE: Final = re.compile(r'\s*<style type="text/css">.*?</style>', re.DOTALL)
_OPENING: Final = re.compile(r"<svg [^>]*>")
_VIEW_BOX: Final = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_REFERENCE: Final = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_ID: Final = re.compile(r' id="([^"]*)"')
_FONT: Final = re.compile(r"(font: (?:\w+ )*[\d.]+px )[^;\"]+")
_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")

_GROUND: Final = 12.0
"""Points of ground around a figure that stands alone."""

_PIXELS: Final = 4 / 3
"""Of a point."""

_SANS: Final = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"
)


def rendered(figure: Figure, name: str, *, label: str, standalone: bool) -> str:
    """A figure as an `<svg>` element.

    Args:
        figure: drawn in the theme's light colours.
        name: a word that no other figure of the page has; begins all ids in it.
        label: what it shows, for those who cannot see it.
        standalone: a file of its own, which brings both themes and a ground along;
            otherwise a part of a page that defines the theme's variables.
    """
    raw = io.StringIO()
    figure.savefig(raw, format="svg", metadata={"Date": None, "Creator": None})
    text = _STYLE.sub("", _METADATA.sub("", _PROLOGUE.sub("", raw.getvalue())))
    text = _FONT.sub(rf"\g<1>{_SANS}", _own_ids(text, name))
    text = _COLOUR.sub(lambda found: _VARIABLES[found[0]], text)
    text = _NUMBER.sub(lambda found: f"{float(found[0]):.2f}", text)
    return _opened(text, label, standalone=standalone)


def _own_ids(text: str, name: str) -> str:
    """Ids that something refers to get the name in front; the others go."""
    referred = set(_REFERENCE.findall(text))
    text = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in referred else "", text)
    return _REFERENCE.sub(
        lambda found: found[0].replace(f"#{found[1]}", f"#{name}-{found[1]}"), text
    )


def _opened(text: str, label: str, *, standalone: bool) -> str:
    """Another opening tag: as wide as there is room, with what it shows in words."""
    size = _VIEW_BOX.search(text)
    if size is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    width, height = float(size[1]), float(size[2])
    space = _GROUND if standalone else 0.0
    box = f"{-space:g} {-space:g} {width + 2 * space:g} {height + 2 * space:g}"
    begins = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{box}" stroke-linejoin="round" role="img" aria-label="{escape(label)}"'
    )
    ground = ""
    if standalone:
        wide, high = ((each + 2 * space) * _PIXELS for each in (width, height))
        begins += f' width="{wide:.0f}" height="{high:.0f}"'
        dark = f"@media (prefers-color-scheme: dark){{:root{{{css(1)}}}}}"
        ground = (
            f"<style>:root{{{css(0)}}}{dark}</style>"
            f'<rect x="{-space:g}" y="{-space:g}" width="{width + 2 * space:g}"'
            f' height="{height + 2 * space:g}" rx="6" fill="var(--plot-surface)"/>'
        )
    return _OPENING.sub(lambda _: f"{begins}>{ground}", text, count=1).strip()

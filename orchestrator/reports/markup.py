"""Pieces of an HTML page, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.reports.tables import Rows

_LONG = 40
"""Characters of a cell from which it may be broken into lines."""


def section(name: str, title: str, about: str, *parts: str) -> str:
    """A section of the page; empty where it would have nothing in it.

    Args:
        name: its anchor.
        title: as text.
        about: as text: what is to be seen.
        parts: HTML.
    """
    body = "".join(parts)
    if not body:
        return ""
    told = f"<p>{escape(about)}</p>" if about else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{told}{body}</section>\n'


def table(rows: Rows) -> str:
    """A table; columns of numbers to the right."""
    if not rows.rows:
        return ""
    kinds = ["" if column < rows.texts else "number" for column in range(len(rows.header))]
    head = "".join(
        f'<th scope="col"{_class(kind)}>{escape(name)}</th>'
        for name, kind in zip(rows.header, kinds, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in rows.rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def figure(svg: str | None, caption: str = "") -> str:
    """A figure; nothing where there is none.

    Args:
        svg: an element that has been made safe.
        caption: as text.
    """
    if svg is None:
        return ""
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{told}</figure>"


def details(title: str, more: str, *parts: str) -> str:
    """What is folded away; nothing where it would hold nothing.

    Args:
        title: as text, and `more` too, in a lighter type.
        more: see `title`.
        parts: HTML.
    """
    body = "".join(parts)
    if not body:
        return ""
    return (
        f'<details><summary>{escape(title)} <span class="muted">{escape(more)}</span></summary>'
        f"{body}</details>"
    )


def notice(title: str, sentences: Iterable[str]) -> str:
    """Something that has to be known before the numbers are believed."""
    lines = [escape(sentence) for sentence in sentences]
    if not lines:
        return ""
    return f'<div class="notice"><strong>{escape(title)}</strong><br>{"<br>".join(lines)}</div>\n'


def _cells(row: list[str], kinds: list[str]) -> str:
    return "".join(
        f"<td{_class(kind or ('long' if len(cell) > _LONG else ''))}>{escape(cell)}</td>"
        for cell, kind in zip(row, kinds, strict=True)
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

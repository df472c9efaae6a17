"""A table of figures, and the file that it is put into. Pure, but for the file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.report import put_between_markers


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page.

    Attributes:
        name: of its block in the page.
        how: how it was measured, one sentence or two.
        header: of its table.
        rows: cells as they are shown.
        figures: every single one, for the JSON file.
    """

    name: str
    how: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[Mapping[str, Any]] = field(default_factory=list)


def shown(value: float | None, digits: int = 0) -> str:
    """A number with thousands separators; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def middle(values: Sequence[float]) -> float:
    """The median of what several rounds saw."""
    return median(values)


def as_markdown(section: Section, machine: Mapping[str, Any]) -> str:
    """How it was measured, on what, and the table."""
    where = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gigabytes']:g} GiB, "
        f"{machine['system']}, Python {machine['python']}; "
        f"{machine['busy_percent_before']:.0f} % busy before"
    )
    lines = [
        f"{section.how} {where}.",
        "",
        "| " + " | ".join(section.header) + " |",
        "| " + " | ".join(["---", *["---:"] * (len(section.header) - 1)]) + " |",
        *("| " + " | ".join(row) + " |" for row in section.rows),
    ]
    return "\n".join(lines) + "\n"


def put_into(page: Path, section: Section, text: str) -> None:
    """Replace a section's block of the page; raises ``ValueError`` where it has none."""
    old = page.read_text(encoding="utf-8")
    page.write_text(put_between_markers(old, text, section.name), encoding="utf-8")


def write(folder: Path, section: Section, text: str, machine: Mapping[str, Any]) -> None:
    """The section's two result files: `scale-NAME.json` and `.md`."""
    whole = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        **asdict(section),
    }
    stem = f"scale-{section.name}"
    (folder / f"{stem}.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")

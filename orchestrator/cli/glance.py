"""Environments at a glance: the table of `orchestrator top`."""

from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from orchestrator.overview import milliseconds

Row = dict[str, Any]

_STATUSES = {
    "ACTIVE": "[green]active[/]",
    "UNHEALTHY": "[red]unhealthy[/]",
    "SCALED_TO_ZERO": "[dim]at zero[/]",
    "WAKING_UP": "[yellow]waking up[/]",
    "LOADING_MODEL": "[yellow]loading[/]",
}

_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARK_CELLS = 20

_WIDE = 100
_WIDEST = 140


def environments_at_a_glance(rows: list[Row], width: int, most: int | None = None) -> Table:
    """One line an environment, those with the most to do first.

    Args:
        rows: as `/api/v1/overview` has them.
        width: of the terminal, in cells; what does not fit is left out.
        most: lines at most.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("environment", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column("status", no_wrap=True)
    for column in ("ready", "running", "in line", "oldest", "req/s", "p95", "failed"):
        table.add_column(column, justify="right", no_wrap=True)
    if width >= _WIDE:
        table.add_column("requests", no_wrap=True)
    if width >= _WIDEST:
        table.add_column("last decision", no_wrap=True, overflow="ellipsis")
    for row in sorted(rows, key=_busy)[:most]:
        cells = _cells(row)
        if width >= _WIDE:
            cells.append(spark(row.get("spark", {}).get("requests", ())))
        if width >= _WIDEST:
            cells.append(escape(_reason(row)))
        table.add_row(*cells)
    return table


def totals_line(rows: list[Row]) -> Text:
    """All environments in one line."""
    unhealthy = sum(row["status"] == "UNHEALTHY" for row in rows)
    per_s = sum(row["requests_per_s"] or 0.0 for row in rows)
    parts = (
        f"{sum(row['replicas'].get('READY', 0) for row in rows)} replicas",
        f"{sum(row['in_flight'] for row in rows)} running",
        f"{sum(row['waiting'] for row in rows)} in line",
        f"{per_s:.4g} req/s",
    )
    line = Text(f"{len(rows)} environments", style="dim")
    if unhealthy:
        line.append(f" ({unhealthy} unhealthy)", style="not dim red")
    return line.append(", " + ", ".join(parts))


def spark(values: list[float | None] | tuple[()]) -> str:
    """The last values as a row of blocks; the highest of them is the highest block."""
    last = [value or 0.0 for value in values[-_SPARK_CELLS:]]
    top = max(last, default=0.0)
    if not top:
        return " " * len(last)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(value / top * steps)] if value else " " for value in last)


def _busy(row: Row) -> tuple[float, float, str, str]:
    """What environments are ordered by: load, then rate, then name."""
    load = row["in_flight"] + row["waiting"]
    return (-load, -(row["requests_per_s"] or 0.0), row["model"], row["environment"])


def _cells(row: Row) -> list[str]:
    status = str(row["status"])
    failed = row["error_rate"] or 0.0
    return [
        escape(f"{row['model']}/{row['environment']}"),
        _STATUSES.get(status, escape(status.lower())),
        f"{row['replicas'].get('READY', 0)}/{row['desired']}",
        f"{row['in_flight']}/{row['slots']}",
        str(row["waiting"] or ""),
        milliseconds(row["oldest_wait_s"]) if row["oldest_wait_s"] else "",
        f"{row['requests_per_s']:.3g}" if row["requests_per_s"] else "",
        milliseconds(row["p95_s"]) if row["p95_s"] is not None else "",
        f"[red]{failed * 100:.2g} %[/]" if failed else "",
    ]


def _reason(row: Row) -> str:
    """Why it is as it is: what is wrong, or the autoscaler's last word."""
    if row["status"] == "UNHEALTHY" and row.get("reason"):
        return str(row["reason"])
    decision = row.get("decision") or {}
    return str(decision.get("reason") or "")

"""Which recent requests are meant, and how they are shown: for `orchestrator requests`."""

import re
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from orchestrator.cluster.records import ClusterError
from orchestrator.overview import milliseconds

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd]?)").fullmatch

_WIDE = 110
"""Cells from which there is room for how requests ended, and whose they were."""


def seconds_of(option: str, text: str) -> float:
    """The seconds that a duration means: `90`, `500ms`, `90s`, `10m`, `2h`, `1d`.

    Raises:
        ClusterError: it is none; names the option.
    """
    found = _DURATION(text.strip())
    if found is None:
        raise ClusterError(f"{option} {text!r} is no duration: say 500ms, 90s, 10m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def recent_table(requests: list[dict[str, Any]], width: int) -> Table:
    """HTTP requests, one row each, as `ClusterClient.recent_requests` gives them.

    Args:
        requests: newest first.
        width: of the terminal, in cells.
    """
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("at", no_wrap=True)
    # The id is there to be copied: all else gives way to it.
    table.add_column("environment", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    if wide:
        table.add_column("waited", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    longest = max((len(found["request_id"]) for found in requests), default=0)
    table.add_column("request", no_wrap=True, min_width=min(longest, width - 48))
    if wide:
        table.add_column("key", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
    for found in requests:
        row = [
            _clock(found["began"]),
            escape(_environment(found)),
            _answer(found),
            milliseconds(found["seconds"]),
            _what(found),
            escape(found["request_id"]),
        ]
        if wide:
            row.insert(4, milliseconds(found["waited_s"]) if found["waited_s"] >= 0.001 else "")
            row += [escape(found["key"]), f"{found['outcome']}"]
        table.add_row(*row)
    return table


def _environment(found: dict[str, Any]) -> str:
    if not found["model"]:
        return str(found["path"])
    return f"{found['model']}/{found['environment']}" if found["environment"] else found["model"]


def _answer(found: dict[str, Any]) -> str:
    """The status, in the colour that says whose fault it was."""
    status, outcome = found["status"], found["outcome"]
    if outcome.endswith("caller_gone"):
        colour = "yellow"
    elif status >= 500 or outcome.startswith(("failed", "evicted")):
        colour = "red"
    else:
        colour = "green" if status < 400 else "dim"
    return f"[{colour}]{status or '-'}[/]"


def _what(found: dict[str, Any]) -> str:
    """What was special: kind, cold start, attempts, broken off, slow."""
    words = []
    if found["kind"] == "submit":
        words.append("async")
    if found["cold_start"]:
        words.append("cold")
    if found["attempts"] > 1:
        words.append(f"{found['attempts']} tries")
    if found["outcome"].startswith("failed") and found["first_byte_s"] is not None:
        words.append("[red]cut[/]")
    if found["kept"] == "slow":
        words.append("slow")
    return " ".join(words)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")

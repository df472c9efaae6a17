"""`orchestrator top`: all environments, live, those with the most to do first."""

import asyncio
import contextlib
import sys
import termios
import tty
from collections.abc import AsyncGenerator, Generator
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.cli.glance import environments_at_a_glance, totals_line
from orchestrator.cli.terminal import (
    AsJson,
    Name,
    Url,
    address,
    ask,
    out,
    refusals,
    show_json,
    show_table,
)
from orchestrator.http_client import CallError, ClusterClient

app = typer.Typer()

_NO_EDGE = 10_000
_AROUND_LINES = 5
"""Of the screen that are not environments: title, totals, heads of columns, keys, an empty one."""

_PAUSE_SECONDS = 1.0
"""Until a connection that broke off is tried again."""

_END_KEYS = frozenset("qQ\x1b\x03\x04")

Rows = dict[tuple[str, str], dict[str, Any]]


@app.command()
def top(
    *,
    json: AsJson = False,
    once: Annotated[bool, typer.Option("--once", help="Show how it is now, and end.")] = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show all environments live, those with the most to do first; q ends it.

    Where no person looks on, and with --once: as they are now. The columns: replicas that
    are ready, of those wanted; requests running, of the slots; in line, and how long the
    first of them has waited; requests a second; their 95th percentile; share of failures.
    """
    with refusals():
        place = address(name, url)
        if json:
            show_json(ask(place, lambda client: client.overview()))
        elif once or not (out.is_terminal and sys.stdin.isatty()):
            rows: Rows = {}
            _take_in(rows, ask(place, lambda client: client.overview()))
            width = out.width if out.is_terminal else _NO_EDGE
            show_table(environments_at_a_glance(list(rows.values()), width))
        else:
            with contextlib.suppress(KeyboardInterrupt):
                ask(place, lambda client: _watch(client, place))


async def _watch(client: ClusterClient, place: str) -> None:
    """Draw what comes until a key ends it."""
    rows: Rows = {}
    with _keys() as ended, Live(console=out, screen=True, auto_refresh=False) as live:
        showing = asyncio.create_task(_show(client, place, rows, live))
        waiting = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait((showing, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing


async def _show(client: ClusterClient, place: str, rows: Rows, live: Live) -> None:
    """Draw every overview; connect again when that breaks off after it had begun."""
    while True:
        try:
            async with contextlib.aclosing(client.overviews()) as overviews:
                await _draw_all(overviews, place, rows, live)
            trouble = "the connection was closed"
        except CallError as error:
            if not rows or error.status in (401, 403, 404):
                raise
            trouble = str(error)
        live.update(_page(place, rows, out, trouble), refresh=True)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _draw_all(
    overviews: AsyncGenerator[dict[str, Any]], place: str, rows: Rows, live: Live
) -> None:
    fresh = True
    async for overview in overviews:
        if fresh:
            rows.clear()  # what is gone since the last connection is not told
            fresh = False
        _take_in(rows, overview)
        live.update(_page(place, rows, out), refresh=True)


def _take_in(rows: Rows, overview: dict[str, Any]) -> None:
    """Bring rows up to date with what an overview says."""
    for row in overview["environments"]:
        rows[row["model"], row["environment"]] = row | {"now": overview.get("now", 0.0)}
    for gone in overview.get("gone", ()):
        model, _, environment = gone.partition("/")
        rows.pop((model, environment), None)


def _page(place: str, rows: Rows, console: Console, trouble: str = "") -> Group:
    """What fills the screen."""
    room = max(console.height - _AROUND_LINES, 1)
    shown = list(rows.values())
    title = Text(place, style="bold")
    if trouble:
        title.append(f"  {trouble}; trying again", style="not bold red")
    table = environments_at_a_glance(shown, console.width, most=room)
    left = len(shown) - room
    keys = "q ends" if left <= 0 else f"{left} more, less busy; q ends"
    return Group(title, totals_line(shown), Text(), table, Text(keys, style="dim"))


@contextlib.contextmanager
def _keys() -> Generator[asyncio.Event]:
    """Reads single keys; the event is set once one ends the view. Restores the terminal."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        typed = sys.stdin.read(1)
        if not typed or typed in _END_KEYS:
            ended.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield ended
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""`orchestrator trace`: where one request was, and for how long."""

from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.terminal import AsJson, Name, Url, address, ask, out, refusals, show_json
from orchestrator.cli.waterfall import drawn
from orchestrator.cluster.records import ClusterError
from orchestrator.router.identity import sane

app = typer.Typer()

_WIDEST = 140
"""Beyond that, bars only get further away from their names."""


@app.command()
def trace(
    request_id: Annotated[
        str,
        typer.Argument(help="Id of the request: its x-request-id, or of an asynchronous one."),
    ],
    *,
    json: AsJson = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show where a request was and for how long, as a waterfall over all processes.

    Works for requests that have ended, that run, and that wait in line (with their
    place in it). Cold starts are shown with their stages, asynchronous requests with
    every run and every try to deliver their webhook.

    ░ waits, █ works, ▒ is a part of something, ▶ goes on, ⋮ leaves out a pause.
    """
    with refusals():
        if not sane(request_id.encode(errors="replace")):
            raise ClusterError(
                f"{request_id[:60]!r} is no request id: those have 1 to 128 letters, digits"
                " and ._:/+=@~-"
            )
        found = ask(address(name, url), lambda client: client.timeline(request_id))
    if json:
        show_json(found)
        return
    width = min(out.width, _WIDEST)
    page = Console(highlight=False, width=width) if not out.is_terminal else out
    for line in drawn(found, width):
        page.print(line, soft_wrap=True)

"""`orchestrator logs`: what the replicas of an environment have written."""

import contextlib
import json as jsons
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from orchestrator.cli.terminal import Name, Url, address, ask, environment_of, err, out, refusals
from orchestrator.http_client import ClusterClient

app = typer.Typer()

_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


@app.command()
def logs(
    environment: Annotated[
        str, typer.Argument(help="MODEL/ENVIRONMENT; MODEL alone is its production.")
    ],
    *,
    replica: Annotated[str | None, typer.Option(help="Only lines of this replica.")] = None,
    request: Annotated[
        str | None, typer.Option(help="Only lines written while this request was run.")
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=5000, help="The newest so many.")
    ] = 200,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show what an environment's replicas have logged and printed.

    Also what servers that a `command` runner has started have printed. Where no replica
    runs: the last lines of the last one that failed.
    """
    with refusals(), contextlib.suppress(KeyboardInterrupt):
        model, target = environment_of(environment)

        async def show(client: ClusterClient) -> int:
            count = 0
            wanted = client.logs(
                model, target, replica=replica, request=request, lines=lines, follow=follow
            )
            async with contextlib.aclosing(wanted) as found:
                async for line in found:
                    _show(line, as_json=json)
                    count += 1
            return count

        if not ask(address(name, url), show):
            err.print("the replicas that run now have logged no such thing", style="dim")


def _show(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(jsons.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    out.print(_text(line))


def _text(line: dict[str, Any]) -> Text:
    """A line for people: when, which replica, what."""
    at = datetime.fromtimestamp(line["at"], UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    text = Text(f"{at} {line['replica']} ", style="dim")
    return text.append(line["text"], style=f"not dim {_COLOURS.get(line['level'], '')}".rstrip())

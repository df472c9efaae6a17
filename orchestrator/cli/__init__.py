"""The `orchestrator` command: each module here has the commands about one thing."""

from typing import Annotated

import typer

from orchestrator.cli import (
    calls,
    clusters,
    compare,
    dead_letters,
    drains,
    existing,
    kubernetes,
    logs,
    nodes,
    plan,
    replay,
    requests,
    simulate,
    top,
    traces,
    webhooks,
)
from orchestrator.cli.terminal import FAILED, REFUSED
from orchestrator.release import version

__all__ = ["FAILED", "REFUSED", "app"]

app = typer.Typer(
    rich_markup_mode="markdown",  # which fills paragraphs
    help="Run models behind one queueing, scale-to-zero front door on Ray Serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(clusters.app)
app.add_typer(existing.app)
app.add_typer(nodes.app)
app.add_typer(drains.app)
app.add_typer(plan.app)
app.add_typer(kubernetes.app)
app.add_typer(calls.app)
app.add_typer(traces.app)
app.add_typer(top.app)
app.add_typer(simulate.app)
app.add_typer(replay.app)
app.add_typer(logs.app)
app.add_typer(requests.app, name="requests")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(compare.app)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  # as typer calls it
    if wanted:
        typer.echo(version())
        raise typer.Exit


@app.callback()
def options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Run models behind one queueing, scale-to-zero front door on Ray Serve."""

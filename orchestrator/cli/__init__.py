"""The `orchestrator` command: each module here has the commands about one thing."""

import typer

from orchestrator.cli import (
    calls,
    clusters,
    compare,
    dead_letters,
    logs,
    replay,
    requests,
    simulate,
    top,
    traces,
    webhooks,
)
from orchestrator.cli.terminal import FAILED, REFUSED

__all__ = ["FAILED", "REFUSED", "app"]

app = typer.Typer(
    help="Run models behind one queueing, scale-to-zero front door on Ray Serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(clusters.app)
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

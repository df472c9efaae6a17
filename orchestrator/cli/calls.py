"""Commands that run models, and that show how they are."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from orchestrator import overview
from orchestrator.cli.terminal import (
    FAILED,
    Environment,
    Model,
    Name,
    Url,
    address,
    ask,
    err,
    out,
    refusals,
    show_table,
)
from orchestrator.cluster.records import ClusterError
from orchestrator.http_client import OPEN_STATES, CallError, ClusterClient

app = typer.Typer()

_FOR_EVER_SECONDS = 14 * 86_400.0
"""Longer than any asynchronous request may wait and run."""


@app.command()
def status(
    *,
    name: Name = None,
    url: Url = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until Ctrl-C.")] = False,
) -> None:
    """Show every environment: its status, replicas, who waits, and what is still to be run."""
    with refusals():
        place = address(name, url)
        ask(place, lambda client: _show_status(client, place, watch=watch))


@app.command()
def wake(model: Model, env: Environment = "production", name: Name = None, url: Url = None) -> None:
    """Start a replica of an environment that is scaled to zero."""
    with refusals():
        ask(address(name, url), lambda client: client.wake(model, env))
    out.print(f"{model}/{env}: waking up")


@app.command()
def call(
    model: Model,
    *,
    env: Environment = "production",
    data: Annotated[
        str, typer.Option(help="The request: JSON, or @FILE (@- for standard input).")
    ] = "{}",
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    later: Annotated[
        bool, typer.Option("--async", help="Hand it over and print its id, without waiting.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With --async: wait for its end and print its result.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="With --wait: seconds to wait at most.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="With --async: URL that its end is reported to.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=2, help="With --async: 0 to 2, 0 is run first.")
    ] = None,
    name: Name = None,
    url: Url = None,
) -> None:
    """Run a model and print its answer; times go to standard error."""
    with refusals():
        _check_options(
            {"--wait": wait, "--webhook": webhook, "--priority": priority is not None},
            "--async",
            given=later,
        )
        _check_options({"--timeout": timeout is not None}, "--wait", given=wait)
        if later and stream:
            raise ClusterError("--stream is of no use with --async: no answer comes by this call")
        place, value = address(name, url), _request(data)
        if not later:
            ask(place, lambda client: _call(client, model, env, value, stream=stream))
            return
        submission = {
            "model": model,
            "environment": env,
            "data": value,
            "webhook_endpoint": webhook,
            "priority": priority,
        }
        patience = _FOR_EVER_SECONDS if timeout is None else timeout
        ask(
            place,
            lambda client: _hand_over(client, submission, patience if wait else None),
        )


def _check_options(needy: dict[str, Any], needed: str, *, given: bool) -> None:
    """Refuse options that say something only beside another one."""
    alone = [name for name, value in needy.items() if value]
    if alone and not given:
        raise ClusterError(f"{' and '.join(alone)} can only be given with {needed}")


def _request(data: str) -> Any:
    """The JSON value that `--data` gives.

    Raises:
        ClusterError: it is not JSON, or the file cannot be read.
    """
    text = data
    try:
        if data == "@-":
            text = sys.stdin.read()
        elif data.startswith("@"):
            text = Path(data[1:]).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise ClusterError(f"--data: cannot read {data[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise ClusterError(
            f"--data is not JSON: {error}; got {text[:60]!r} (a string needs its quotes)"
        ) from error


async def _show_status(client: ClusterClient, url: str, *, watch: bool) -> None:
    if not watch:
        show_table(overview.environments_table(url, await client.environments()))
        return
    with Live(console=out, auto_refresh=False) as live:
        while True:
            table = overview.environments_table(url, await client.environments())
            live.update(table, refresh=True)
            await asyncio.sleep(0.5)


async def _call(
    client: ClusterClient, model: str, environment: str, data: Any, *, stream: bool
) -> None:
    try:
        answer = await client.predict(model, environment, data, on_chunk=_show if stream else None)
    except CallError as error:
        if "request_id" in error.body:
            hint = f"see `orchestrator trace {error.body['request_id']}`"
            err.print(hint, style="dim", markup=False)
        raise
    if not stream:
        _show(answer.body)
    if not answer.body.endswith(b"\n"):
        _show(b"\n")
    err.print(overview.call_summary(answer, stream=stream), style="dim")


async def _hand_over(
    client: ClusterClient, submission: dict[str, Any], wait_seconds: float | None
) -> None:
    """Submit a request and print its id; or wait, and print its result as `_call` would."""
    begun = time.perf_counter()
    request_id = await client.submit(**submission)
    if wait_seconds is None:
        out.print(request_id)
        return
    err.print(request_id, style="dim")
    found = await client.async_request(request_id, wait_seconds=wait_seconds)
    took = overview.milliseconds(time.perf_counter() - begun)
    if found["status"] in OPEN_STATES:
        hint = f"see `orchestrator requests show {request_id}`"
        err.print(f"{found['status']} after {took}: not ended yet; {hint}")
        raise typer.Exit(FAILED)
    if found.get("result") is not None:
        _show(json.dumps(found["result"], ensure_ascii=False).encode() + b"\n")
    err.print(f"{overview.request_summary(found)}, after {took}", style="dim", markup=False)
    if found["errors"]:
        raise typer.Exit(FAILED)


def _show(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()

"""`orchestrator requests`: the recent ones, and those that were handed over to be run later."""

from http import HTTPStatus
from typing import Annotated, Any

import typer

from orchestrator import overview
from orchestrator.cli.recent import recent_table, seconds_of
from orchestrator.cli.terminal import (
    FAILED,
    AsJson,
    Limit,
    Name,
    Url,
    address,
    ask,
    environment_of,
    err,
    out,
    refusals,
    show_json,
    show_table,
)
from orchestrator.cluster.records import ClusterError
from orchestrator.http_client import CallError, ClusterClient

app = typer.Typer()

_NO_EDGE = 10_000

RequestId = Annotated[str, typer.Argument(help="Id of the request, as `call --async` printed it.")]
OneModel = Annotated[str | None, typer.Argument(help="Name of a model; left out: all models.")]
OneEnvironment = Annotated[
    str | None, typer.Option("--env", help="Environment; left out: all, or production of MODEL.")
]


@app.callback(invoke_without_command=True)
def recent(
    context: typer.Context,
    *,
    slow: Annotated[bool, typer.Option("--slow", help="The slowest of their environment.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Those that failed.")] = False,
    cold: Annotated[bool, typer.Option("--cold", help="Those that waited for a start.")] = False,
    retried: Annotated[
        bool, typer.Option("--retried", help="Those that took several attempts.")
    ] = False,
    slower: Annotated[
        str | None, typer.Option("--slower-than", help="Only those over this time, such as 500ms.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only those that ended since: 90s, 10m, 2h, 1d ago.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", "--env", help="Only those of it; also MODEL/ENVIRONMENT."),
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only those that ended so, such as evicted_park_timeout.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 50,
    json: AsJson = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Recent requests of all kinds; and asynchronous ones: show, list, cancel them.

    Without a command: shows recent requests, newest first. --slow, --errors, --cold and
    --retried name kinds: with some of them, only requests of one of those kinds are
    shown. See one with `orchestrator trace ID`.
    """
    if context.invoked_subcommand is not None:
        with refusals():
            _refuse_lost_options(context)
        return
    with refusals():
        if environment is not None and "/" in environment:
            if model is not None:
                raise ClusterError("say the model once: --model, or --environment MODEL/NAME")
            model, environment = environment_of(environment)
        wanted = {
            "model": model,
            "environment": environment,
            "since": seconds_of("--since", since) if since is not None else None,
            "errors": errors,
            "slow": slow,
            "cold": cold,
            "retried": retried,
            "slow_ms": 1000 * seconds_of("--slower-than", slower) if slower is not None else None,
            "outcome": outcome,
            "limit": limit,
        }
        found = ask(address(name, url), lambda client: client.recent_requests(**wanted))
    if json:
        show_json(found)
        return
    if not found["requests"]:
        err.print("no such requests", style="dim")
    else:
        show_table(recent_table(found["requests"], out.width if out.is_terminal else _NO_EDGE))
    if found["missing"]:
        err.print(
            f"{found['missing']} of {found['routers']} routers did not answer", style="yellow"
        )


@app.command("list")
def list_(
    model: OneModel = None,
    *,
    env: OneEnvironment = None,
    status: Annotated[
        str | None, typer.Option(help="Only those in this state, such as QUEUED or FAILED.")
    ] = None,
    limit: Limit = 50,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show the newest asynchronous requests; without MODEL the key needs the scope `manage`."""
    state = status.upper() if status is not None else None
    with refusals():
        found = ask(address(name, url), lambda client: _list(client, model, env, state, limit))
    show_table(overview.requests_table(found))


@app.command()
def show(
    request_id: RequestId,
    *,
    json: AsJson = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show one asynchronous request: its state, where its webhook went, its result."""
    with refusals():
        found = ask(address(name, url), lambda client: _show(client, request_id))
    if json:
        show_json(found)
        return
    show_table(overview.request_table(found))
    if found["deliveries"]:
        show_table(overview.deliveries_table(found["deliveries"]))
    if found["result"] is not None:
        show_json(found["result"])


@app.command()
def cancel(request_id: RequestId, *, name: Name = None, url: Url = None) -> None:
    """Cancel an asynchronous request that waits or runs."""
    with refusals():
        answer = ask(address(name, url), lambda client: client.cancel(request_id))
    if answer["canceled"]:
        out.print(f"{request_id}: canceled")
        return
    err.print(f"{request_id}: not canceled: {answer['message']}")
    raise typer.Exit(FAILED)


def _refuse_lost_options(context: typer.Context) -> None:
    """Raise ClusterError for options before a command, which would have no effect."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    lost = [name for name, source in sources.items() if source and source.name != "DEFAULT"]
    if lost:
        command = context.invoked_subcommand
        raise ClusterError(
            f"--{lost[0].replace('_', '-')} before `{command}` has no effect: options of"
            f" `{command}` follow it; see `orchestrator requests {command} --help`"
        )


async def _list(
    client: ClusterClient,
    model: str | None,
    environment: str | None,
    status: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    if model is None:
        return await client.all_async_requests(environment=environment, status=status, limit=limit)
    return await client.async_requests(
        model, environment or "production", status=status, limit=limit
    )


async def _show(client: ClusterClient, request_id: str) -> dict[str, Any]:
    """A request with `deliveries`; None where the key may not see them."""
    found = await client.async_request(request_id)
    try:
        deliveries = (await client.deliveries(request_id))["deliveries"]
    except CallError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        deliveries = None
    return {**found, "deliveries": deliveries}

"""`orchestrator requests`: what was handed over to be run later, and what became of it."""

from http import HTTPStatus
from typing import Annotated, Any

import typer

from orchestrator import overview
from orchestrator.cli.terminal import (
    FAILED,
    AsJson,
    Limit,
    Name,
    Url,
    address,
    ask,
    err,
    out,
    refusals,
    show_json,
    show_table,
)
from orchestrator.http_client import CallError, ClusterClient

app = typer.Typer(help="Asynchronous requests: what was handed over to be run later.")

RequestId = Annotated[str, typer.Argument(help="Id of the request, as `call --async` printed it.")]
OneModel = Annotated[str | None, typer.Argument(help="Name of a model; left out: all models.")]
OneEnvironment = Annotated[
    str | None, typer.Option("--env", help="Environment; left out: all, or production of MODEL.")
]


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
    """Show the newest requests; without MODEL the key needs the scope `manage`."""
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
    """Show one request: its state, where its webhook went, its result."""
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
    """Cancel a request that waits or runs."""
    with refusals():
        answer = ask(address(name, url), lambda client: client.cancel(request_id))
    if answer["canceled"]:
        out.print(f"{request_id}: canceled")
        return
    err.print(f"{request_id}: not canceled: {answer['message']}")
    raise typer.Exit(FAILED)


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

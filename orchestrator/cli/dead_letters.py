"""`orchestrator dead-letters`: webhooks that were given up, and sending them again."""

import asyncio
from typing import Annotated, Any

import typer

from orchestrator import overview
from orchestrator.cli.terminal import (
    Name,
    Url,
    address,
    api_key,
    out,
    refusals,
    show_json,
    show_table,
)
from orchestrator.cluster_record import ClusterError
from orchestrator.http_client import ClusterClient

app = typer.Typer(help="Webhooks that were given up, and sending them again.")

LetterId = Annotated[str, typer.Argument(help="Id of the request that it tells of.")]
LetterIds = Annotated[list[str], typer.Argument(help="Ids of the requests that they tell of.")]
OneModel = Annotated[str | None, typer.Option("--model", help="Only those of this model.")]
OneEnvironment = Annotated[str | None, typer.Option("--env", help="Only those of it.")]
OneHost = Annotated[str | None, typer.Option("--host", help="Only those to this receiver.")]


@app.command("list")
def list_(
    *,
    model: OneModel = None,
    env: OneEnvironment = None,
    host: OneHost = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 50,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show the newest dead letters."""
    with refusals():
        found = asyncio.run(_list(address(name, url), model, env, host, limit))
    show_table(overview.dead_letters_table(found))


@app.command()
def show(
    request_id: LetterId,
    *,
    json: Annotated[bool, typer.Option("--json", help="All of it, as one JSON object.")] = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show one dead letter with every try."""
    with refusals():
        found = asyncio.run(_show(address(name, url), request_id))
    if json:
        show_json(found)
        return
    show_table(overview.dead_letters_table([found]))
    show_table(overview.deliveries_table(found["deliveries"]))


@app.command()
def replay(
    request_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of the requests that they tell of.")
    ] = None,
    *,
    model: OneModel = None,
    env: OneEnvironment = None,
    host: OneHost = None,
    everything: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Send dead letters again, from the first try on: by id, by what fits, or all."""
    which = {"model": model, "environment": env, "host": host}
    fits = any(value is not None for value in which.values())
    with refusals():
        if bool(request_ids) + fits + everything != 1:
            raise ClusterError(
                "say which: ids, or some of --model, --env and --host, or --all; one of the three"
            )
        place = address(name, url)
        count = asyncio.run(_replay(place, request_ids or [], which))
    out.print(f"{count} dead {'letter is' if count == 1 else 'letters are'} sent again")


@app.command()
def drop(request_ids: LetterIds, *, name: Name = None, url: Url = None) -> None:
    """Forget dead letters; what their requests gave stays as it is."""
    with refusals():
        asyncio.run(_drop(address(name, url), request_ids))
    count = len(request_ids)
    out.print(f"{count} dead {'letter is' if count == 1 else 'letters are'} dropped")


async def _list(
    url: str, model: str | None, environment: str | None, host: str | None, limit: int
) -> list[dict[str, Any]]:
    async with ClusterClient(url, api_key()) as client:
        return await client.dead_letters(
            model=model, environment=environment, host=host, limit=limit
        )


async def _show(url: str, request_id: str) -> dict[str, Any]:
    async with ClusterClient(url, api_key()) as client:
        return await client.dead_letter(request_id)


async def _replay(url: str, request_ids: list[str], which: dict[str, str | None]) -> int:
    async with ClusterClient(url, api_key()) as client:
        if not request_ids:
            return await client.replay_all(**which)
        for request_id in request_ids:
            await client.replay(request_id)
        return len(request_ids)


async def _drop(url: str, request_ids: list[str]) -> None:
    async with ClusterClient(url, api_key()) as client:
        for request_id in request_ids:
            await client.drop(request_id)

"""`orchestrator dead-letters`: webhooks that were given up, and sending them again."""

from typing import Annotated

import typer

from orchestrator import overview
from orchestrator.cli.terminal import (
    AsJson,
    Limit,
    Name,
    Url,
    address,
    ask,
    out,
    refusals,
    show_json,
    show_table,
)
from orchestrator.cluster.records import ClusterError
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
    limit: Limit = 50,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show the newest dead letters."""
    with refusals():
        found = ask(
            address(name, url),
            lambda client: client.dead_letters(
                model=model, environment=env, host=host, limit=limit
            ),
        )
    show_table(overview.dead_letters_table(found))


@app.command()
def show(
    request_id: LetterId,
    *,
    json: AsJson = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Show one dead letter with every try."""
    with refusals():
        found = ask(address(name, url), lambda client: client.dead_letter(request_id))
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
        count = ask(address(name, url), lambda client: _replay(client, request_ids or [], which))
    out.print(f"{count} dead {'letter is' if count == 1 else 'letters are'} sent again")


@app.command()
def drop(request_ids: LetterIds, *, name: Name = None, url: Url = None) -> None:
    """Forget dead letters; what their requests gave stays as it is."""
    with refusals():
        ask(address(name, url), lambda client: _drop(client, request_ids))
    count = len(request_ids)
    out.print(f"{count} dead {'letter is' if count == 1 else 'letters are'} dropped")


async def _replay(
    client: ClusterClient, request_ids: list[str], which: dict[str, str | None]
) -> int:
    if not request_ids:
        return await client.replay_all(**which)
    for request_id in request_ids:
        await client.replay(request_id)
    return len(request_ids)


async def _drop(client: ClusterClient, request_ids: list[str]) -> None:
    for request_id in request_ids:
        await client.drop(request_id)

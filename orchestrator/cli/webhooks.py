"""`orchestrator webhooks`: the keys that sign them, and a receiver to try them out."""

import asyncio
import contextlib
from typing import Annotated

import typer
from standardwebhooks.webhooks import Webhook

from orchestrator import overview
from orchestrator.cli.terminal import (
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
from orchestrator.webhooks.listener import FAILING_STATUS, listen, printer

app = typer.Typer(help="Webhooks: the keys that sign them, and a receiver to try them out.")
secrets = typer.Typer(help="The keys that webhooks are signed with.")
app.add_typer(secrets, name="secrets")

SecretId = Annotated[str, typer.Argument(help="Id of the secret, as `secrets list` shows it.")]


@secrets.command("list")
def list_(*, name: Name = None, url: Url = None) -> None:
    """Show which secrets there are; their values are told only when they are made."""
    with refusals():
        found = ask(address(name, url), lambda client: client.webhook_secrets())
    show_table(overview.secrets_table(found))


@secrets.command()
def create(*, name: Name = None, url: Url = None) -> None:
    """Make a secret that webhooks are signed with from now on, beside the others."""
    with refusals():
        _create(address(name, url), rotate=False)


@secrets.command()
def rotate(*, name: Name = None, url: Url = None) -> None:
    """Make a new secret; the one before it signs for 24 hours more."""
    with refusals():
        _create(address(name, url), rotate=True)


@secrets.command()
def delete(secret_id: SecretId, *, name: Name = None, url: Url = None) -> None:
    """Sign nothing with a secret from now on."""
    with refusals():
        ask(address(name, url), lambda client: client.delete_webhook_secret(secret_id))
    out.print(f"{secret_id}: deleted")


@app.command("listen")
def listen_(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    secret: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ORCHESTRATOR_WEBHOOK_SECRET",
            help="Secret to verify with, whsec_…; may be given more than once.",
        ),
    ] = None,
    fail: Annotated[
        int, typer.Option(min=0, help="How often each webhook is refused before it is taken.")
    ] = 0,
    status: Annotated[
        int, typer.Option(min=200, max=599, help="With --fail: what a refusal answers.")
    ] = FAILING_STATUS,
) -> None:
    """Receive webhooks on this machine, verify and print them, until Ctrl-C."""
    with refusals():
        for each in secret or ():
            _require_secret(each)
        if not secret:
            err.print("no --secret: nothing is verified", style="yellow")
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_listen(host, port, secret or [], fail, status))


def _require_secret(secret: str) -> None:
    """Raise ClusterError, without showing it, where nothing can be verified with a secret."""
    try:
        Webhook(secret)
    except (ValueError, RuntimeError) as error:
        raise ClusterError(
            "--secret is not a secret of `orchestrator webhooks secrets create`: it must be "
            "whsec_ and what follows, whole"
        ) from error


async def _listen(host: str, port: int, secrets: list[str], fail: int, status: int) -> None:
    try:
        await listen(
            host,
            port,
            secrets=secrets,
            fail=fail,
            status=status,
            on_delivery=printer(out),
            on_ready=lambda url: out.print(f"listening at {url} (Ctrl-C ends it)"),
        )
    except OSError as error:
        raise ClusterError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port"
        ) from error


def _create(url: str, *, rotate: bool) -> None:
    """The secret goes to standard output alone, so that it can be kept without being seen."""
    made = ask(url, lambda client: client.create_webhook_secret(rotate=rotate))
    err.print(f"{made['id']}: keep the secret, it is shown only now", style="dim")
    out.print(made["secret"], markup=False)

"""Deploying to a Ray cluster that was not started here, and leaving it again."""

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import overview
from orchestrator.cli.terminal import err, out, refusals, show_table
from orchestrator.cluster import remote
from orchestrator.config import load

app = typer.Typer()

ADDRESS = typer.Option(
    help="A Ray cluster that was not started here: its dashboard's URL (http://head:8265), "
    "or, on a node of it, its GCS address (head:6379) or auto."
)
Address = Annotated[str | None, ADDRESS]


@app.command()
def undeploy(address: Annotated[str, ADDRESS]) -> None:
    """Take everything of ours off an existing Ray cluster; requests that run there finish."""
    with refusals():
        cluster = remote.at(address, os.environ)
        with err.status(f"undeploying from {cluster.where} …"):
            gone, staying = remote.undeploy(cluster)
    if not gone:
        out.print(f"{cluster.where}: nothing of ours is deployed there")
        return
    out.print(f"{cluster.where}: these end when their requests have: {', '.join(gone)}")
    if staying:
        out.print(f"others' stay: {', '.join(staying)}")
    else:
        out.print("Serve itself still runs there; `serve shutdown` ends it")


def deploy_to(file: Path, address: str, *, wait: bool) -> None:
    """Deploy a file to an existing Ray cluster and say what became of it.

    Args:
        file: the config.
        address: as for `remote.at`.
        wait: until a router can take requests.
    """
    with refusals():
        config = load(file, os.environ)
        cluster = remote.at(address, os.environ, remote.needed_settings(config))
        with err.status(f"deploying {config.cluster.name} to {cluster.where} …"):
            deployed = remote.deploy(config, cluster, os.environ)
        for remark in deployed.remarks:
            err.print(f"note: {remark}", style="yellow", markup=False)
        out.print(f"{config.cluster.name}: config applied to {cluster.where}")
        if deployed.kept:
            out.print(f"others' applications stay as they are: {', '.join(deployed.kept)}")
        if wait:
            with err.status("waiting for a router …"):
                url = remote.await_router(config, cluster)
            out.print(f"[bold green]{config.cluster.name}[/] is ready at [bold]{url}[/]")
            show_table(overview.models_table(config))
    out.print(f"  orchestrator nodes --address {address}")
    out.print(f"  orchestrator undeploy --address {address}")

"""Machines that join a cluster of several nodes."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.holding import hold
from orchestrator.cli.terminal import err, out, refusals
from orchestrator.cluster import joining
from orchestrator.cluster.joining import Offer
from orchestrator.cluster.records import ClusterError

app = typer.Typer()

Labels = Annotated[
    list[str] | None,
    typer.Option("--label", help="KEY=VALUE for placement and node_labels; may be repeated."),
]
Resources = Annotated[
    list[str] | None,
    typer.Option("--resource", help="NAME=AMOUNT of a custom resource; may be repeated."),
]


@app.command()
def join(
    file: Annotated[
        Path, typer.Argument(help="The join.json that `orchestrator up --node-ip` has written.")
    ],
    *,
    node_ip: Annotated[
        str, typer.Option(help="Address of this machine that the other nodes reach.")
    ],
    cpus: Annotated[int | None, typer.Option(min=0, help="CPUs to offer, else all.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs to offer, else all.")] = None,
    label: Labels = None,
    resource: Resources = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave the node running in the background.")
    ] = False,
) -> None:
    """Make this machine a node of a running cluster; without --detach until Ctrl-C."""
    with refusals():
        offer = Offer(
            node_ip=node_ip,
            cpus=cpus,
            gpus=gpus,
            labels=labels_of(label),
            resources=resources_of(resource),
        )
        with err.status(f"joining by {file} …"):
            record = joining.join(file, offer, detach=detach)
    out.print(f"[bold green]{record.name}[/] has joined the cluster at [bold]{record.url}[/]")
    out.print(f"  orchestrator down --name {record.name}")
    if not detach:
        hold(record)


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Labels by key, out of `KEY=VALUE` each.

    Raises:
        ClusterError: one is none.
    """
    return dict(_pair("--label", text, "KEY=VALUE") for text in given or [])


def resources_of(given: list[str] | None) -> dict[str, float]:
    """Amounts by resource, out of `NAME=AMOUNT` each.

    Raises:
        ClusterError: one is none.
    """
    amounts = {}
    for text in given or []:
        name, amount = _pair("--resource", text, "NAME=AMOUNT")
        try:
            amounts[name] = float(amount)
        except ValueError:
            raise ClusterError(f"--resource {text}: {amount!r} is no number") from None
    return amounts


def _pair(option: str, text: str, form: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals or not value or "," in text:
        raise ClusterError(f"{option} {text}: must be {form}, without commas")
    return key, value

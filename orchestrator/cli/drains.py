"""`orchestrator nodes` and `drain`: the nodes of a cluster, and taking one out of it."""

import os
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from orchestrator.cli.existing import Address
from orchestrator.cli.terminal import AsJson, Name, err, out, refusals, show_json, show_table
from orchestrator.cluster import drain as draining
from orchestrator.cluster import local, member, records, remote
from orchestrator.cluster.dashboard import Dashboard
from orchestrator.cluster.member import Member
from orchestrator.cluster.membership import DEAD, SCALE_IN, SPOT, Node, Part
from orchestrator.cluster.records import ClusterError

app = typer.Typer()

_STATE_COLOURS = {"alive": "green", "draining": "yellow", "dead": "dim"}
_NODE_ID_LABEL = "ray.io/node-id"  # the id again


@app.command()
def nodes(
    name: Name = None,
    *,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """The nodes of a cluster: their resources, and what runs on each."""
    with refusals():
        cluster = reach(name, address)
        found = cluster.nodes()
    if json:
        show_json({"nodes": msgspec.to_builtins(found)})
        return
    show_table(_table(found))


@app.command()
def drain(
    node: Annotated[
        str | None, typer.Argument(help="Beginning of its id, its address or its name.")
    ] = None,
    *,
    this_node: Annotated[
        bool, typer.Option("--this-node", help="The node on this machine.")
    ] = False,
    deadline: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds until the node goes away; if left out, enough for every request to end "
            "and every replacement to start.",
        ),
    ] = None,
    reason: Annotated[
        str,
        typer.Option(
            help=f"{SPOT}: the node goes away, whatever runs on it; {SCALE_IN}: only if it is idle."
        ),
    ] = SPOT,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until nothing of the cluster runs there any more.")
    ] = False,
    name: Name = None,
    address: Address = None,
) -> None:
    """Take a node out: what runs there finishes, its replacements start elsewhere.

    Ray ends the node when nothing is left on it; a drain cannot be taken back.
    """
    with refusals():
        if (node is None) is not this_node:
            raise ClusterError("say either which NODE to drain or --this-node")
        if reason not in {SPOT, SCALE_IN}:
            raise ClusterError(f"--reason must be {SPOT} or {SCALE_IN}; got {reason!r}")
        cluster = _member(name, address)
        chosen = draining.choose(cluster, node)
        seconds = deadline or draining.default_seconds(cluster.details())
        draining.drain(cluster, chosen, reason=reason, seconds=seconds)
        if not wait:
            out.print(f"{chosen} drains and ends within {seconds:.0f} s; see `orchestrator nodes`")
            return
        with err.status(f"waiting until {chosen} is empty, at most {seconds:.0f} s …"):
            draining.wait(cluster, chosen, seconds)
    out.print(f"{chosen} is empty")


def reach(name: str | None, address: str | None) -> Dashboard | Member:
    """The cluster that is meant: at an address, or recorded here, or Ray's own here.

    Raises:
        ClusterError: there is none, or the choice is not clear.
    """
    if address is not None:
        return remote.at(address, os.environ)
    if name is None and not any(record.running for record in records.read_all()):
        return remote.at("auto", os.environ)
    return member.of_record(local.select(name), os.environ)


def _member(name: str | None, address: str | None) -> Member:
    cluster = reach(name, address)
    if isinstance(cluster, Dashboard):
        raise ClusterError(
            f"{cluster.where} is Ray's dashboard, which cannot drain; say the GCS address "
            "(head:6379), or --address auto, on a node of the cluster"
        )
    return cluster


def _table(found: list[Node]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("node", "address", "state", "CPU", "GPU", "labels", "runs"):
        table.add_column(column, no_wrap=column != "runs")
    for node in found:
        labels = (f"{k}={v}" for k, v in sorted(node.labels.items()) if k != _NODE_ID_LABEL)
        table.add_row(
            node.short_id,
            node.address,
            _state(node),
            _resource(node, "CPU"),
            _resource(node, "GPU"),
            escape(" ".join(labels)),
            escape(", ".join(map(_part, node.parts))),
        )
    return table


def _state(node: Node) -> str:
    text = f"[{_STATE_COLOURS[node.state]}]{node.state}[/]"
    if node.deadline_seconds is not None:
        text += f" for {node.deadline_seconds:.0f} s"
    return f"{text}, head" if node.head else text


def _resource(node: Node, name: str) -> str:
    """`used/total`; nothing of a node that is gone."""
    if node.state == DEAD:
        return ""
    used = "?" if node.used is None else f"{node.used.get(name, 0):g}"
    return f"{used}/{node.total.get(name, 0):g}"


def _part(part: Part) -> str:
    times = f" x{part.count}" if part.count > 1 else ""
    return f"{part.kind} {part.of}".rstrip() + times

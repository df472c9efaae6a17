"""`orchestrator plan`: what deploying a file would do."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.existing import Address
from orchestrator.cli.terminal import AsJson, File, Name, err, out, refusals, show_json
from orchestrator.cluster import local
from orchestrator.cluster.records import ClusterError
from orchestrator.config import Config, load
from orchestrator.config.problems import shown
from orchestrator.planning import reading
from orchestrator.planning.change import Change, Kind
from orchestrator.planning.changes import Platform, plan
from orchestrator.planning.deployed import Deployed
from orchestrator.planning.file_fields import FileField

RESTARTS = 2
"""Exit status with --exit-code where something restarts, goes, or is refused."""

_STYLES = {Kind.IN_PLACE: "green", Kind.ADDED: "green", Kind.REFUSED: "red"}

app = typer.Typer()


@app.command("plan")
def plan_(
    file: File,
    *,
    name: Name = None,
    address: Address = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="OLD", help="Another file, in place of a cluster that runs."),
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Where KubeRay runs it: what makes a new cluster.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 2 unless nothing that runs is disturbed.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Say what deploying a file would do, and change nothing.

    Compared is what the cluster runs now, as Serve tells it: a file that was edited since
    does not matter. --against compares two files instead.
    """
    with refusals():
        config = load(file, os.environ)
        old, new, obstacles = _states(config, file, name, address, against)
        platform = Platform.RAY if address is not None else Platform.MACHINE
        platform = Platform.KUBERNETES if kubernetes else platform
        changes = plan(old, new, platform, obstacles=obstacles)
    if json:
        show_json(
            {"changes": [change.as_json() for change in changes], **_summary(changes, platform)}
        )
    else:
        _show(changes)
    if exit_code and any(change.kind.disruptive for change in changes):
        raise typer.Exit(RESTARTS)


def _states(
    config: Config, file: Path, name: str | None, address: str | None, against: Path | None
) -> tuple[Deployed, Deployed, list[str]]:
    """What is, what would be, and what is in the way."""
    if sum(each is not None for each in (name, address, against)) > 1:
        raise ClusterError("--name, --address and --against each say what to compare: give one")
    if address is not None:
        with err.status(f"asking {address} …"):
            return reading.of_address(address, config, os.environ)
    new = reading.of_file(config, file, os.environ)
    if against is not None:
        before = load(against, os.environ)
        return reading.of_file(before, against, os.environ), new, []
    record = local.select(name or config.cluster.name)
    with err.status(f"asking {record.name} …"):
        return reading.of_cluster(record, os.environ), new, []


def _summary(changes: list[Change], platform: Platform) -> dict[str, Any]:
    """Whether anything that runs is disturbed, and whether `deploy` would refuse the file."""
    kinds = {change.kind for change in changes}
    refused = {Kind.REFUSED} | ({Kind.NEW_CLUSTER} if platform is Platform.MACHINE else set())
    return {
        "disruptive": any(kind.disruptive for kind in kinds),
        "refused": not kinds.isdisjoint(refused),
    }


def _show(changes: list[Change]) -> None:
    if not changes:
        out.print("nothing changes")
        return
    for change in changes:
        style = _STYLES.get(change.kind, "yellow")
        out.print(f"[bold]{change.part}[/]: [{style}]{change.kind}[/]")
        for field in change.fields:
            out.print(f"  {_line(field)}", markup=False)
        out.print(f"  {change.notice}", style="dim", markup=False)
    gentle = sum(not change.kind.disruptive for change in changes)
    out.print(f"{len(changes) - gentle} that disturb what runs, {gentle} that do not")


def _line(field: FileField) -> str:
    if field.secret:
        return f"{field.path}: changed (not shown)"
    old, new = _value(field.old), _value(field.new)
    if old == new:  # 1 and 1.0 are not the same to Serve
        old, new = shown(field.old), shown(field.new)
    return f"{field.path}: {old} → {new}"


def _value(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return shown(int(value))
    return "(none)" if value is None else shown(value)

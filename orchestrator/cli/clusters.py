"""Commands about a cluster as a whole: checking its file, starting and ending it."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from ruamel.yaml import YAML

from orchestrator import demo, overview
from orchestrator.cli.existing import Address, deploy_to
from orchestrator.cli.holding import hold
from orchestrator.cli.nodes import Labels, Resources, labels_of, resources_of
from orchestrator.cli.terminal import File, Name, api_key, err, out, refusals, show_table
from orchestrator.cluster import local, records, ticket
from orchestrator.cluster.records import ClusterRecord
from orchestrator.config import Config, compile_serve, json_schema, load

app = typer.Typer()


@app.command()
def validate(file: File) -> None:
    """Check a config file and say everything that is wrong with it."""
    with refusals():
        config = load(file, os.environ)
    environments = sum(len(model.environments) for model in config.models.values())
    out.print(f"{file}: valid: {len(config.models)} models, {environments} environments")


@app.command("compile")
def compile_(file: File) -> None:
    """Print Ray Serve's own config for a file, which `serve deploy` accepts."""
    with refusals():
        compiled = compile_serve(load(file, os.environ), os.environ)
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(compiled, sys.stdout)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config file, for editors."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


@app.command()
def up(
    file: File,
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave the cluster running in the background.")
    ] = False,
    node_ip: Annotated[
        str | None,
        typer.Option(help="Address of this machine that the nodes reach which will join it."),
    ] = None,
    label: Labels = None,
    resource: Resources = None,
    address: Address = None,
) -> None:
    """Start a cluster on this machine; without --detach it runs until Ctrl-C.

    With --node-ip other machines can join it, see `orchestrator join`; without, nothing but
    the public port can be reached from elsewhere. With --address nothing is started: the
    file is deployed to a Ray cluster that runs.
    """
    if address is not None:
        deploy_to(file, address, wait=True)
        return
    with refusals():
        config, plan = _plan(file, node_ip)
        plan = msgspec.structs.replace(
            plan, labels=labels_of(label), resources=resources_of(resource)
        )
        with err.status(f"starting {plan.name} …"):
            record = local.start(plan, detach=detach)
    _introduce(config, record)
    if not detach:
        hold(record)


@app.command()
def down(
    name: Name = None,
    *,
    discard: Annotated[
        bool,
        typer.Option("--discard", help="Also delete its asynchronous requests and their results."),
    ] = False,
) -> None:
    """End a cluster that `up` started, and everything that belongs to it."""
    with refusals():
        chosen = name or local.only_recorded()
        if chosen is None:
            out.print("nothing is running")
            return
        if not discard or local.recorded(chosen):
            with err.status(f"stopping {chosen} …"):
                local.stop(chosen)
        if discard:
            local.discard(chosen)
    out.print(f"{chosen}: stopped{', its data deleted' if discard else ''}")


@app.command()
def deploy(file: File, *, address: Address = None) -> None:
    """Apply a changed file to the running cluster; only what changed restarts."""
    if address is not None:
        deploy_to(file, address, wait=False)
        return
    with refusals():
        config = load(file, os.environ)
        node_ip = local.node_ip_of(config.cluster.name)
        plan = local.plan_of(config, file, os.environ, node_ip=node_ip)
        with err.status(f"deploying to {plan.name} …"):
            record = local.deploy(plan)
    out.print(f"{record.name}: config applied; see `orchestrator status`")


@app.command("demo")
def demo_(
    file: Annotated[Path, typer.Argument(help="The cluster to show.")] = Path(
        "configs/quickstart.yaml"
    ),
) -> None:
    """The tour: start a cluster, show what it does with measured times, stop it."""
    with refusals():
        _, plan = _plan(file)
        demo.show(plan, out, api_key())


def _plan(file: Path, node_ip: str | None = None) -> tuple[Config, local.ClusterPlan]:
    config = load(file, os.environ)
    return config, local.plan_of(config, file, os.environ, node_ip=node_ip)


def _introduce(config: Config, record: ClusterRecord) -> None:
    """Say where a new cluster listens, what runs on it and what to do next."""
    out.print(f"[bold green]{record.name}[/] is ready at [bold]{record.url}[/]")
    show_table(overview.models_table(config))
    first = next(iter(config.models))
    out.print("next:")
    out.print(f'  orchestrator call {first} --data \'{{"hello": "world"}}\'', markup=False)
    out.print(f"  orchestrator call {first} --async --wait")
    out.print("  orchestrator status --watch")
    out.print(f"  orchestrator down --name {record.name}")
    joins = records.folder_of(record.name) / ticket.FILE
    if joins.exists():
        out.print(f"others join with a copy of {joins}, which is secret:", soft_wrap=True)
        out.print("  orchestrator join join.json --node-ip ADDRESS")
    out.print(f"log: {local.log_path(record.name)}")

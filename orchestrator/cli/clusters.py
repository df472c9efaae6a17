"""Commands about a cluster as a whole: checking its file, starting and ending it."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from orchestrator import demo, overview
from orchestrator.cli.terminal import FAILED, File, Name, api_key, err, out, refusals, show_table
from orchestrator.cluster import local
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
) -> None:
    """Start a cluster on this machine; without --detach it runs until Ctrl-C."""
    with refusals():
        config, plan = _plan(file)
        with err.status(f"starting {plan.name} …"):
            record = local.start(plan, detach=detach)
    _introduce(config, record)
    if not detach:
        _hold(record)


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
def deploy(file: File) -> None:
    """Apply a changed file to the running cluster; only what changed restarts."""
    with refusals():
        _, plan = _plan(file)
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


def _plan(file: Path) -> tuple[Config, local.ClusterPlan]:
    config = load(file, os.environ)
    return config, local.plan_of(config, file, os.environ)


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
    out.print(f"log: {local.log_path(record.name)}")


def _hold(record: ClusterRecord) -> None:
    """Stay until Ctrl-C or SIGTERM, then end the cluster."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    out.print("Ctrl-C stops it")
    while record.running and not asked.wait(0.2):
        pass
    with refusals():
        if asked.is_set():
            with err.status(f"stopping {record.name} …"):
                local.stop(record.name)
            out.print(f"{record.name}: stopped")
            return
        local.clean_up(record.name)
        err.print(f"{record.name} ended by itself; its log: {local.log_path(record.name)}")
        raise typer.Exit(FAILED)

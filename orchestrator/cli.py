"""The `orchestrator` command."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from ruamel.yaml import YAML

from orchestrator import cluster, demo, overview
from orchestrator.cluster_record import ClusterError, ClusterRecord
from orchestrator.config import Config, ConfigError, compile_serve, json_schema, load
from orchestrator.http_client import CallError, ClusterClient

app = typer.Typer(
    help="Run models behind one queueing, scale-to-zero front door on Ray Serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

REFUSED = 2
FAILED = 1

File = Annotated[Path, typer.Argument(help="The YAML file that declares the cluster.")]
Model = Annotated[str, typer.Argument(help="Name of the model.")]
Environment = Annotated[str, typer.Option("--env", help="Environment of the model.")]
Name = Annotated[
    str | None, typer.Option(help="Name of the cluster; may be left out while only one runs.")
]
Url = Annotated[
    str | None, typer.Option(help="Where the cluster listens, if it was not started here.")
]


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
            record = cluster.start(plan, detach=detach)
    _introduce(config, record)
    if not detach:
        _hold(record)


@app.command()
def down(name: Name = None) -> None:
    """End a cluster that `up` started, and everything that belongs to it."""
    with refusals():
        chosen = name or cluster.only_recorded()
        if chosen is None:
            out.print("nothing is running")
            return
        with err.status(f"stopping {chosen} …"):
            cluster.stop(chosen)
    out.print(f"{chosen}: stopped")


@app.command()
def deploy(file: File) -> None:
    """Apply a changed file to the running cluster; only what changed restarts."""
    with refusals():
        _, plan = _plan(file)
        with err.status(f"deploying to {plan.name} …"):
            record = cluster.deploy(plan)
    out.print(f"{record.name}: config applied; see `orchestrator status`")


@app.command()
def status(
    *,
    name: Name = None,
    url: Url = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until Ctrl-C.")] = False,
) -> None:
    """Show every environment: its status, replicas, and who waits."""
    with refusals():
        address = _address(name, url)
        asyncio.run(_show_status(address, watch=watch))


@app.command()
def wake(model: Model, env: Environment = "production", name: Name = None, url: Url = None) -> None:
    """Start a replica of an environment that is scaled to zero."""
    with refusals():
        asyncio.run(_wake(_address(name, url), model, env))
    out.print(f"{model}/{env}: waking up")


@app.command()
def call(
    model: Model,
    *,
    env: Environment = "production",
    data: Annotated[
        str, typer.Option(help="The request: JSON, or @FILE (@- for standard input).")
    ] = "{}",
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    name: Name = None,
    url: Url = None,
) -> None:
    """Run a model and print its answer; times go to standard error."""
    with refusals():
        asyncio.run(_call(_address(name, url), model, env, _request(data), stream=stream))


@app.command("demo")
def demo_(
    file: Annotated[Path, typer.Argument(help="The cluster to show.")] = Path(
        "configs/quickstart.yaml"
    ),
) -> None:
    """The tour: start a cluster, show what it does with measured times, stop it."""
    with refusals():
        _, plan = _plan(file)
        demo.show(plan, out, _api_key())


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a user can put right into a sentence on standard error and exit status 2."""
    try:
        yield
    except CallError as error:
        err.print(f"error: {error}", style="red", markup=False)
        # The server said no: not the same as not having been asked.
        raise typer.Exit(REFUSED if error.status is None else FAILED) from error
    except (ConfigError, ClusterError) as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(REFUSED) from error


def _plan(file: Path) -> tuple[Config, cluster.ClusterPlan]:
    config = load(file, os.environ)
    return config, cluster.plan_of(config, file, os.environ)


def _api_key() -> str | None:
    return os.environ.get("ORCHESTRATOR_API_KEY")


def _address(name: str | None, url: str | None) -> str:
    return url if url is not None else cluster.select(name).url


def _request(data: str) -> Any:
    """The JSON value that `--data` gives.

    Raises:
        ClusterError: it is not JSON, or the file cannot be read.
    """
    text = data
    try:
        if data == "@-":
            text = sys.stdin.read()
        elif data.startswith("@"):
            text = Path(data[1:]).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise ClusterError(f"--data: cannot read {data[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise ClusterError(
            f"--data is not JSON: {error}; got {text[:60]!r} (a string needs its quotes)"
        ) from error


def _introduce(config: Config, record: ClusterRecord) -> None:
    """Say where a new cluster listens, what runs on it and what to do next."""
    out.print(f"[bold green]{record.name}[/] is ready at [bold]{record.url}[/]")
    out.print(overview.models_table(config))
    first = next(iter(config.models))
    out.print("next:")
    out.print(f'  orchestrator call {first} --data \'{{"hello": "world"}}\'', markup=False)
    out.print("  orchestrator status --watch")
    out.print(f"  orchestrator down --name {record.name}")
    out.print(f"log: {cluster.log_path(record.name)}")


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
                cluster.stop(record.name)
            out.print(f"{record.name}: stopped")
            return
        cluster.clean_up(record.name)
        err.print(f"{record.name} ended by itself; its log: {cluster.log_path(record.name)}")
        raise typer.Exit(FAILED)


async def _show_status(url: str, *, watch: bool) -> None:
    async with ClusterClient(url, _api_key()) as client:
        if not watch:
            out.print(overview.environments_table(url, await client.environments()))
            return
        with Live(console=out, auto_refresh=False) as live:
            while True:
                table = overview.environments_table(url, await client.environments())
                live.update(table, refresh=True)
                await asyncio.sleep(0.5)


async def _wake(url: str, model: str, environment: str) -> None:
    async with ClusterClient(url, _api_key()) as client:
        await client.wake(model, environment)


async def _call(url: str, model: str, environment: str, data: Any, *, stream: bool) -> None:
    def show(chunk: bytes) -> None:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()

    async with ClusterClient(url, _api_key()) as client:
        answer = await client.predict(model, environment, data, on_chunk=show if stream else None)
    if not stream:
        show(answer.body)
    if not answer.body.endswith(b"\n"):
        show(b"\n")
    err.print(overview.call_summary(answer, stream=stream), style="dim")


if __name__ == "__main__":
    app()

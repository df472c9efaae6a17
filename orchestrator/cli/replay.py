"""`orchestrator replay`: an experiment's requests sent to a running cluster, at their times."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from orchestrator.cli import experiments_extra
from orchestrator.cli.experiments import (
    all_refusals,
    check_places,
    load_plan,
    show_whole,
    warn,
    write,
)
from orchestrator.cli.rows import table_of
from orchestrator.cli.terminal import FAILED, AsJson, err, out, show_table

if TYPE_CHECKING:
    from orchestrator.replay.running import Replay
    from orchestrator.reports.report import Report, RunReport
    from orchestrator.simulator.loading import Plan, Point

app = typer.Typer()

_DRAW_S = 0.5


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="The YAML file of the experiment.")],
    *,
    target: Annotated[str, typer.Option(metavar="URL", help="Where the cluster listens.")],
    key_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with the API key.")
    ] = "ORCHESTRATOR_API_KEY",
    environment: Annotated[
        str | None, typer.Option(help="Only this environment of the experiment.")
    ] = None,
    point: Annotated[
        str | None, typer.Option(help="Label of the point, where the experiment has several.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed; by default the first of the file's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Set something over the file, as in environments.*.arrivals.time_scale=0.1. "
            "May be given several times.",
        ),
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--out", help="Write the whole report there, as JSON.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write the report there as a page.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Send an experiment's requests to a running cluster, and measure what becomes of them.

    Each is sent at its time, whatever became of those before. The same file and seed send
    the same requests as `orchestrator simulate` simulates, so that both reports can be laid
    side by side with `orchestrator compare`. The cluster's settings are its own; where they
    differ from the file's, that is said. Ctrl-C ends it with a report of what was sent.

    The exit status is 1 where the result is not valid: where it was stopped, or where this
    machine could not send the requests in time.
    """
    experiments_extra.require()
    key = os.environ.get(key_env)
    with all_refusals():
        check_places({"--out": report_file, "--html": page})
        plan = load_plan(file, settings or [])
        chosen = _point(plan, point)
        warn(dataclasses.replace(plan, points=(chosen,)))
        number = plan.seeds[0] if seed is None else seed
        import uvloop  # noqa: PLC0415

        run = uvloop.run(
            _replay(
                plan,
                chosen,
                number,
                environment=environment,
                url=target,
                key=key,
                key_env=key_env,
            )
        )
        report = _report(plan, run)
        write(report, report_file, page)
    if json:
        show_whole(report)
    else:
        _show(report)
    if not run.valid:
        err.print(f"not valid: {run.reason}", style="red", markup=False)
        raise typer.Exit(FAILED)


def _point(plan: "Plan", label: str | None) -> "Point":
    """The point that is meant: a cluster has one setting at a time."""
    from orchestrator.replay.errors import ReplayError  # noqa: PLC0415

    found = [point for point in plan.points if label in (None, point.label)]
    if len(found) == 1:
        return found[0]
    labels = ", ".join(f'"{point.label}"' for point in plan.points)
    if label is None:
        raise ReplayError(
            f"{plan.name} tries {len(found)} settings, and a cluster has one: choose it with "
            f"--point; there are {labels}"
        )
    raise ReplayError(f'{plan.name} has no point "{label}"; there are {labels}')


async def _replay(
    plan: "Plan",
    point: "Point",
    seed: int,
    *,
    environment: str | None,
    url: str,
    key: str | None,
    key_env: str,
) -> "RunReport":
    from orchestrator.replay.running import Replay  # noqa: PLC0415
    from orchestrator.replay.targets import targets_of  # noqa: PLC0415

    experiment = point.experiment
    targets = targets_of(experiment, seed, folder=plan.folder, only=environment)
    found = Replay(targets, url, key, duration_s=experiment.duration_seconds, key_from=key_env)
    err.print(f"request ids begin with {found.ids}", style="dim", markup=False)
    for note in await found.check():
        err.print(f"note: {note}", style="yellow", markup=False)
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, found.stop)
    async with _shown(found):
        return await found.run(
            measure_from_s=experiment.measure_from_seconds,
            label=point.label,
            parameters=point.parameters,
            seed=seed,
            gpus=experiment.pool.gpus,
            price_per_gpu_hour=experiment.pool.price_per_gpu_hour,
        )


@contextlib.asynccontextmanager
async def _shown(found: "Replay") -> AsyncIterator[None]:
    """A line that says how far it is, where a person looks on."""
    if not err.is_terminal:
        yield
        return

    async def draw(live: Live) -> None:
        while True:
            now = found.progress()
            under_way = now.sent - now.ended
            live.update(Text(f"{now.now:.0f} s: {now.sent} sent, {under_way} under way"))
            live.refresh()
            await asyncio.sleep(_DRAW_S)

    with Live(console=err, transient=True, auto_refresh=False) as live:
        drawing = asyncio.create_task(draw(live))
        try:
            yield
        finally:
            drawing.cancel()


def _report(plan: "Plan", run: "RunReport") -> "Report":
    from orchestrator.reports.report import assemble  # noqa: PLC0415

    return assemble(plan.name, [run], plan.description)


def _show(report: "Report") -> None:
    from orchestrator.reports import tables  # noqa: PLC0415

    show_table(table_of(tables.by_environment(report)))
    [run] = report.runs
    lag = {name: f"{seconds * 1000:.1f} ms" for name, seconds in (run.lag or {}).items()}
    out.print(
        f"{run.whole.arrived:,} requests in {run.span_s:,.0f} s; sent late by "
        + ", ".join(f"{late} ({name})" for name, late in lag.items())
    )

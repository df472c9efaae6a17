"""`orchestrator simulate`: an experiment under a virtual clock, in seconds instead of hours."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.cli import experiments_extra
from orchestrator.cli.experiments import (
    all_refusals,
    check_places,
    load_plan,
    show_whole,
    warn,
    write,
)
from orchestrator.cli.narrow import fitted
from orchestrator.cli.rows import table_of
from orchestrator.cli.terminal import AsJson, err, out, show_table
from orchestrator.config import ConfigError, Problem

if TYPE_CHECKING:
    from orchestrator.reports.report import Report
    from orchestrator.simulator.loading import Plan
    from orchestrator.simulator.running import Progress as Done

app = typer.Typer()

_CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="The YAML file of the experiment.")],
    *,
    report_file: Annotated[
        Path | None, typer.Option("--out", help="Write the whole report there, as JSON.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write the report there as a page.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")
    ] = _CPUS,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds in place of the file's, as in 1,2,3.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Set something over the file, as in environments.*.autoscaling.max_replica=4. "
            "A path that the file sweeps is then not swept. May be given several times.",
        ),
    ] = None,
    by_environment: Annotated[
        bool, typer.Option("--by-environment", help="A row for each environment.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Simulate an experiment: every point of its sweep, with every seed.

    The order, the permits, the retries and the autoscaling of requests are those of a
    cluster, decided by the same code; replicas, GPUs and callers are simulated. The same
    file and seeds give the same numbers. Numbers are means over the seeds, with 95 %
    confidence intervals.
    """
    experiments_extra.require()
    with all_refusals():
        plan = load_plan(file, [*(settings or ()), *_seeds(seeds)])
        check_places({"--out": report_file, "--html": page})
        warn(plan)
        report = _run(plan, jobs)
        write(report, report_file, page)
    if json:
        show_whole(report)
    else:
        _show(report, by_environment=by_environment)


def _seeds(text: str | None) -> list[str]:
    """The seeds of the command line as a setting."""
    if text is None:
        return []
    if not all(part.strip().isdecimal() for part in text.split(",")):
        rule = "must be whole numbers with commas between them, as in 1,2,3"
        raise ConfigError([Problem("--seeds", None, "", rule, text)])
    return [f"seeds=[{text}]"]


def _run(plan: "Plan", jobs: int) -> "Report":
    from orchestrator.simulator.running import run  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(escape(plan.name), total=len(plan.runs))

        def on_progress(done: "Done") -> None:
            last = f"{plan.name}: {done.run.label}, seed {done.run.seed}"
            bar.update(task, completed=done.done, description=escape(last))

        return run(plan, jobs=jobs, on_progress=on_progress)


def _show(report: "Report", *, by_environment: bool) -> None:
    from orchestrator.reports import tables  # noqa: PLC0415

    rows = tables.by_environment(report) if by_environment else tables.summary(report)
    out.print(f"[bold]{escape(report.experiment)}[/] {escape(report.description)}".rstrip())
    shown = fitted(rows, out.width) if out.is_terminal else rows
    show_table(table_of(shown))
    if shown != rows:
        out.print("wider terminals, --html and --json show more", style="dim")
    requests = sum(run.whole.arrived for run in report.runs)
    seconds = sum(run.cpu_s for run in report.runs)
    virtual = sum(run.span_s for run in report.runs)
    out.print(
        f"{len(report.runs)} runs, {requests:,} requests, {virtual / 3600:,.1f} hours "
        f"simulated in {seconds:,.1f} s of processor time"
    )

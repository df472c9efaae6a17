"""`orchestrator simulate`: an experiment under a virtual clock, in seconds instead of hours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.cli import experiments_extra
from orchestrator.cli.narrow import fitted
from orchestrator.cli.rows import table_of
from orchestrator.cli.terminal import (
    FAILED,
    REFUSED,
    AsJson,
    err,
    out,
    refusals,
    show_json,
    show_table,
)
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
    with _refusals():
        plan = _plan(file, [*(settings or ()), *_seeds(seeds)])
        _check_places({"--out": report_file, "--html": page})
        _warn(plan)
        report = _run(plan, jobs)
        _write(report, report_file, page)
    if json:
        _show_whole(report)
    else:
        _show(report, by_environment=by_environment)


@contextmanager
def _refusals() -> Iterator[None]:
    """As `refusals`, also for what only experiments can be told is wrong."""
    from orchestrator.reports.report import ReportError  # noqa: PLC0415 - needs the extra
    from orchestrator.simulator.running import RunError  # noqa: PLC0415
    from orchestrator.traffic.errors import TrafficError  # noqa: PLC0415

    try:
        with refusals():
            yield
    except (TrafficError, ReportError) as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(REFUSED) from error
    except RunError as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from error


def _plan(file: Path, settings: list[str]) -> "Plan":
    from orchestrator.simulator.loading import load  # noqa: PLC0415

    return load(file, settings)


def _seeds(text: str | None) -> list[str]:
    """The seeds of the command line as a setting."""
    if text is None:
        return []
    if not all(part.strip().isdecimal() for part in text.split(",")):
        rule = "must be whole numbers with commas between them, as in 1,2,3"
        raise ConfigError([Problem("--seeds", None, "", rule, text)])
    return [f"seeds=[{text}]"]


def _check_places(places: dict[str, Path | None]) -> None:
    """Refuse, before minutes of work, what could not be written after them."""
    for option, path in places.items():
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            rule = "must be a file in a folder that there is"
            raise ConfigError([Problem(option, None, "", rule, str(path))])


def _warn(plan: "Plan") -> None:
    """Say what looks wrong with the recorded traces before anything runs on them."""
    from orchestrator.simulator.running import surveys  # noqa: PLC0415

    for name, survey in surveys(plan):
        for suspicion in survey.suspicions:
            err.print(
                f"warning: environments.{name}.arrivals: {suspicion.what}; {suspicion.hint}",
                style="yellow",
                markup=False,
            )


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


def _write(report: "Report", report_file: Path | None, page: Path | None) -> None:
    if report_file is not None:
        from orchestrator.reports.report import save  # noqa: PLC0415

        save(report, report_file)
        err.print(f"report: {report_file}", markup=False)
    if page is not None:
        from orchestrator.reports.page import save as save_page  # noqa: PLC0415

        save_page(report, page)
        err.print(f"page: {page}", markup=False)


def _show_whole(report: "Report") -> None:
    import msgspec  # noqa: PLC0415

    show_json(msgspec.to_builtins(report))


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

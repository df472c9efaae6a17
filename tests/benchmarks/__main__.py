"""``python -m tests.benchmarks``: measure, show, and fail on a missed service level.

Three parts: ``predict`` beside other model servers, ``async`` beside job queues, ``tracing``
beside ours without it. Exit codes: 0 every service level holds, 1 one is missed, 2 the benchmark
could not run, 130 it was interrupted.
"""

import signal
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from tests.benchmarks import predict, report
from tests.benchmarks.asynchronous import benchmark as asynchronous
from tests.benchmarks.asynchronous import report as asynchronous_report
from tests.benchmarks.asynchronous.metrics import JOBS, Amounts
from tests.benchmarks.asynchronous.suite import SYSTEMS
from tests.benchmarks.asynchronous.suite import Plan as AsyncPlan
from tests.benchmarks.asynchronous.systems.base import System
from tests.benchmarks.peers.base import PROJECT, Peer, PeerError
from tests.benchmarks.profile import profile
from tests.benchmarks.service_levels import Verdict, missed
from tests.benchmarks.suite import PEERS, Plan
from tests.benchmarks.tracing import benchmark as tracing
from tests.benchmarks.tracing import report as tracing_report
from tests.benchmarks.tracing.variants import VARIANTS
from tests.benchmarks.wrk import LoadGeneratorError, find_wrk

RESULTS = PROJECT / ".bench"
README = PROJECT / "README.md"
# Ours is in both parts, once in this list.
NAMES = list(dict.fromkeys([*(one.name for one in PEERS), *(one.name for one in SYSTEMS)]))
EXIT_MISSED = 1
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130

SystemT = TypeVar("SystemT", type[Peer], type[System])
app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console()


class Part(StrEnum):
    """What can be measured on its own."""

    PREDICT = "predict"
    ASYNC = "async"
    TRACING = "tracing"


@app.command()
def benchmark(  # noqa: PLR0917  # typer's options, given by name only
    only: Annotated[Part | None, typer.Option(help="Only this part.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Visits to each system.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=1, help="predict, tracing: length of one measurement.")
    ] = 3,
    connections: Annotated[
        list[int], typer.Option(help="predict, tracing: open connections; repeatable.")
    ] = [  # noqa: B006  # typer copies it
        1,
        16,
        64,
    ],
    jobs: Annotated[int, typer.Option(min=64, help="async: jobs in one batch.")] = JOBS,
    system: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this one; repeatable. One of: {', '.join(NAMES)}."),
    ] = None,
    contended: Annotated[
        bool, typer.Option(help="predict: also measure ours with more connections than slots.")
    ] = True,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS,
    update_readme: Annotated[
        bool, typer.Option("--update-readme", help="Put the tables into README.md.")
    ] = False,
    profile_system: Annotated[
        str | None,
        typer.Option("--profile", help="Only record where this model server's time goes (py-spy)."),
    ] = None,
) -> None:
    """Measure ours beside other model servers, job queues and itself, one system at a time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        wrk = find_wrk()
        predict_plan = Plan(
            choose(system) if only in {None, Part.PREDICT} else [],
            sorted(connections),
            rounds,
            seconds,
            contended,
        )
        async_plan = AsyncPlan(
            among(SYSTEMS, system) if only in {None, Part.ASYNC} else [], rounds, Amounts(jobs)
        )
        tracing_plan = Plan(
            VARIANTS if only == Part.TRACING or not (only or system) else [],
            sorted(connections),
            rounds,
            seconds,
            contended=False,
        )
        if update_readme:
            # Before minutes of measuring, not after them.
            require_readme_blocks(predict_plan, async_plan, tracing_plan)
        prepare_folder(output)
        if profile_system is not None:
            profile(choose_one(profile_system), wrk, output, tell)
            return
        levels: list[Verdict] = []
        if predict_plan.systems:
            levels += run_predict(predict_plan, wrk, output, update_readme=update_readme)
        if async_plan.systems:
            levels += run_async(async_plan, wrk, output, update_readme=update_readme)
        if tracing_plan.systems:
            levels += run_tracing(tracing_plan, wrk, output, update_readme=update_readme)
    except KeyboardInterrupt as interrupt:
        console.print("interrupted; everything that was started has been ended", style="red")
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    except (PeerError, LoadGeneratorError, ValueError, OSError) as error:
        console.print(f"benchmark failed: {error}", style="red", markup=False)
        raise typer.Exit(EXIT_FAILED) from error
    if failures := missed(levels):
        console.print(f"{len(failures)} service level(s) missed", style="bold red")
        raise typer.Exit(EXIT_MISSED)


def run_predict(plan: Plan, wrk: str, output: Path, *, update_readme: bool) -> Sequence[Verdict]:
    """The part beside model servers: measured, written and shown; returns its levels."""
    seen = predict.measure(plan, wrk, output, tell)
    text = report.as_markdown(seen)
    predict.write(seen, text, output)
    if update_readme:
        put_into_readme(text, report.README_BLOCK)
    report.print_report(console, seen)
    tell(text)
    tell(f"written to {output}: latest.json, latest.md, latest.png")
    return seen.levels


def run_async(plan: AsyncPlan, wrk: str, output: Path, *, update_readme: bool) -> Sequence[Verdict]:
    """The part beside job queues: measured, written and shown; returns its levels."""
    seen = asynchronous.measure(plan, wrk, output, tell)
    text = asynchronous_report.as_markdown(seen)
    asynchronous.write(seen, text, output)
    if update_readme:
        put_into_readme(text, asynchronous_report.README_BLOCK)
    asynchronous_report.print_report(console, seen)
    tell(text)
    tell(f"written to {output}: async.json, async.md")
    return seen.levels


def run_tracing(plan: Plan, wrk: str, output: Path, *, update_readme: bool) -> Sequence[Verdict]:
    """The part beside ours without tracing: measured, written and shown; returns its levels."""
    seen = tracing.measure(plan, wrk, output, tell)
    text = tracing_report.as_markdown(seen)
    tracing.write(seen, text, output)
    if update_readme:
        put_into_readme(text, tracing_report.README_BLOCK)
    tracing_report.print_report(console, seen)
    tell(text)
    tell(f"written to {output}: tracing.json, tracing.md")
    return seen.levels


def tell(line: str) -> None:
    """One line of progress."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def choose(names: Sequence[str] | None) -> list[type[Peer]]:
    """The model servers of these names, all without any; raises as ``among`` does."""
    return among(PEERS, names)


def among(systems: Sequence[SystemT], names: Sequence[str] | None) -> list[SystemT]:
    """Those of these names, all without any; raises ``ValueError`` for a name of neither part."""
    if unknown := [name for name in names or [] if name not in NAMES]:
        raise ValueError(f"unknown system {unknown[0]!r}; the known ones are: {', '.join(NAMES)}")
    return [system for system in systems if not names or system.name in names]


def choose_one(name: str) -> type[Peer]:
    """The model server of this name; raises ``ValueError``."""
    for system in choose([name]):
        return system
    raise ValueError(f"{name} is no model server: only those can be recorded")


def require_readme_blocks(predict_plan: Plan, async_plan: AsyncPlan, tracing_plan: Plan) -> None:
    """Raise ``ValueError`` where README.md lacks a block that will be put into it."""
    readme = README.read_text(encoding="utf-8")
    if predict_plan.systems:
        report.put_between_markers(readme, "", report.README_BLOCK)
    if async_plan.systems:
        report.put_between_markers(readme, "", asynchronous_report.README_BLOCK)
    if tracing_plan.systems:
        report.put_between_markers(readme, "", tracing_report.README_BLOCK)


def put_into_readme(text: str, block: str) -> None:
    """Replace a block of README.md; raises ``ValueError`` where it is not there."""
    old = README.read_text(encoding="utf-8")
    README.write_text(report.put_between_markers(old, text, block), encoding="utf-8")


def prepare_folder(folder: Path) -> None:
    """Make ``folder``, with a file in it that keeps it out of git."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")


if __name__ == "__main__":
    app()

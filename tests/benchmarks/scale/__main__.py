"""``python -m tests.benchmarks.scale``: measure how the parts grow, and show it.

Exit codes: 0 all was measured, 2 something could not be, 130 it was interrupted.
"""

import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tests.benchmarks.__main__ import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    RESULTS,
    console,
    prepare_folder,
    tell,
)
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.peers.base import PROJECT, PeerError
from tests.benchmarks.report import put_between_markers
from tests.benchmarks.scale import dispatchers, environments, permits, routers
from tests.benchmarks.scale.table import Section, as_markdown, put_into, write
from tests.benchmarks.wrk import LoadGeneratorError, find_wrk, wrk_version

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = PROJECT / "docs" / "scale.md"
app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


class Part(StrEnum):
    """What can be measured on its own."""

    PERMITS = "permits"
    ENVIRONMENTS = "environments"
    ROUTERS = "routers"
    DISPATCHERS = "dispatchers"


@app.command()
def scale(  # noqa: PLR0917  # typer's options, given by name only
    only: Annotated[list[Part] | None, typer.Option(help="Only this section; repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each case.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 5,
    idle_seconds: Annotated[
        float, typer.Option(min=1, help="environments: how long idle ones are watched.")
    ] = 30,
    counts: Annotated[
        list[int] | None, typer.Option("--environments", help="environments: how many; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=64, help="dispatchers: requests of a batch.")] = (
        dispatchers.JOBS
    ),
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS,
    update: Annotated[
        bool, typer.Option("--update", help="Put the tables into docs/scale.md.")
    ] = False,
) -> None:
    """Measure how permits, environments, routers and dispatchers grow, on this machine."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    logs = output / "logs"
    parts = only or list(Part)
    try:
        wrk = find_wrk()
        measured: dict[Part, Callable[[], Section]] = {
            Part.PERMITS: lambda: permits.measure(rounds, seconds, logs, tell),
            Part.ENVIRONMENTS: lambda: environments.measure(
                counts or environments.COUNTS, idle_seconds, logs, tell
            ),
            Part.ROUTERS: lambda: routers.measure(rounds, seconds, wrk, logs, tell),
            Part.DISPATCHERS: lambda: dispatchers.measure(rounds, jobs, wrk, logs, tell),
        }
        if update:
            page = PAGE.read_text(encoding="utf-8")
            for part in parts:  # before minutes of measuring, not after them
                put_between_markers(page, "", part)
        prepare_folder(output)
        for part in parts:
            machine = describe_machine(wrk_version(wrk))
            section = measured[part]()
            text = as_markdown(section, machine)
            write(output, section, text, machine)
            if update:
                put_into(PAGE, section, text)
            tell(text)
    except KeyboardInterrupt as interrupt:
        console.print("interrupted; everything that was started has been ended", style="red")
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    except (PeerError, LoadGeneratorError, ValueError, OSError) as error:
        console.print(f"benchmark failed: {error}", style="red", markup=False)
        raise typer.Exit(EXIT_FAILED) from error


if __name__ == "__main__":
    app()

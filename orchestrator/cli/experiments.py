"""What the commands that run an experiment have in common: reading it, and telling what it came to.

What needs the extra `experiments` is imported when it is used, after
`experiments_extra.require`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.cli.terminal import FAILED, REFUSED, err, refusals, show_json
from orchestrator.config import ConfigError, Problem

if TYPE_CHECKING:
    from orchestrator.reports.report import Report
    from orchestrator.simulator.loading import Plan


@contextmanager
def all_refusals() -> Iterator[None]:
    """As `refusals`, also for what only experiments and replays can be told is wrong."""
    from orchestrator.replay.errors import ReplayError  # noqa: PLC0415
    from orchestrator.reports.report import ReportError  # noqa: PLC0415
    from orchestrator.simulator.running import RunError  # noqa: PLC0415
    from orchestrator.traffic.errors import TrafficError  # noqa: PLC0415

    try:
        with refusals():
            yield
    except (ReplayError, ReportError, TrafficError) as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(REFUSED) from error
    except RunError as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from error


def load_plan(file: Path, settings: list[str]) -> "Plan":
    """The experiment of a file, with these settings over it."""
    from orchestrator.simulator.loading import load  # noqa: PLC0415

    return load(file, settings)


def check_places(places: dict[str, Path | None]) -> None:
    """Refuse, before minutes of work, what could not be written after them.

    Args:
        places: the files that are to be written, by the options that name them.

    Raises:
        ConfigError: one of them cannot be.
    """
    for option, path in places.items():
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            rule = "must be a file in a folder that there is"
            raise ConfigError([Problem(option, None, "", rule, str(path))])


def warn(plan: "Plan") -> None:
    """Say what looks wrong with the recorded traces before anything runs on them."""
    from orchestrator.simulator.running import surveys  # noqa: PLC0415

    for name, survey in surveys(plan):
        for suspicion in survey.suspicions:
            err.print(
                f"warning: environments.{name}.arrivals: {suspicion.what}; {suspicion.hint}",
                style="yellow",
                markup=False,
            )


def write(report: "Report", report_file: Path | None, page: Path | None) -> None:
    """Write a report to where it is wanted: as JSON, as a page."""
    if report_file is not None:
        from orchestrator.reports.report import save  # noqa: PLC0415

        save(report, report_file)
        err.print(f"report: {report_file}", markup=False)
    if page is not None:
        from orchestrator.reports.page import save as save_page  # noqa: PLC0415

        save_page(report, page)
        err.print(f"page: {page}", markup=False)


def show_whole(report: "Report") -> None:
    """The whole report, as JSON."""
    import msgspec  # noqa: PLC0415

    show_json(msgspec.to_builtins(report))

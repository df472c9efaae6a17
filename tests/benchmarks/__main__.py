"""``python -m tests.benchmarks``: measure, show, and fail on a missed service level.

Exit codes: 0 every service level holds, 1 one is missed, 2 the benchmark could not run,
130 it was interrupted.
"""

import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.peers.base import PROJECT, Peer, PeerError
from tests.benchmarks.plot import draw
from tests.benchmarks.profile import profile
from tests.benchmarks.report import Report, as_json, as_markdown, print_report, put_between_markers
from tests.benchmarks.service_levels import missed, verdicts
from tests.benchmarks.suite import PEERS, Plan, Suite
from tests.benchmarks.summary import summarise
from tests.benchmarks.wrk import LoadGeneratorError, find_wrk, wrk_version

RESULTS = PROJECT / ".bench"
NAMES = ", ".join(peer.name for peer in PEERS)
EXIT_MISSED = 1
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console()


@app.command()
def benchmark(  # noqa: PLR0917  # typer's options, given by name only
    rounds: Annotated[int, typer.Option(min=1, help="Visits to each system.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 3,
    connections: Annotated[list[int], typer.Option(help="Open connections; repeatable.")] = [  # noqa: B006  # typer copies it
        1,
        16,
        64,
    ],
    system: Annotated[
        list[str] | None, typer.Option(help=f"Only this one; repeatable. One of: {NAMES}.")
    ] = None,
    contended: Annotated[
        bool, typer.Option(help="Also measure ours with more connections than slots.")
    ] = True,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS,
    update_readme: Annotated[
        bool, typer.Option("--update-readme", help="Put the tables into README.md.")
    ] = False,
    profile_system: Annotated[
        str | None,
        typer.Option("--profile", help="Only record where this system's time goes (py-spy)."),
    ] = None,
) -> None:
    """Measure our predict against other model servers, one system at a time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        chosen = choose(system if profile_system is None else [profile_system])
        plan = Plan(chosen, sorted(connections), rounds, seconds, contended)
        wrk = find_wrk()
        prepare_folder(output)
        if profile_system is not None:
            profile(chosen[0], wrk, output, tell)
            return
        report = measure(plan, wrk, output)
        text = as_markdown(report)
        write(report, text, output)
        if update_readme:
            readme = PROJECT / "README.md"
            readme.write_text(
                put_between_markers(readme.read_text(encoding="utf-8"), text), encoding="utf-8"
            )
    except KeyboardInterrupt as interrupt:
        console.print("interrupted; everything that was started has been ended", style="red")
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    except (PeerError, LoadGeneratorError, ValueError, OSError) as error:
        console.print(f"benchmark failed: {error}", style="red", markup=False)
        raise typer.Exit(EXIT_FAILED) from error
    print_report(console, report)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written to {output}: latest.json, latest.md, latest.png")
    if failures := missed(list(report.levels)):
        console.print(f"{len(failures)} service level(s) missed", style="bold red")
        raise typer.Exit(EXIT_MISSED)


def tell(line: str) -> None:
    """One line of progress."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def choose(names: list[str] | None) -> list[type[Peer]]:
    """The systems of these names, all without any; raises ``ValueError`` for an unknown one."""
    known = {peer.name: peer for peer in PEERS}
    if unknown := [name for name in names or [] if name not in known]:
        raise ValueError(f"unknown system {unknown[0]!r}; the known ones are: {NAMES}")
    return [peer for peer in PEERS if not names or peer.name in names]


def prepare_folder(folder: Path) -> None:
    """Make ``folder``, with a file in it that keeps it out of git."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def measure(plan: Plan, wrk: str, output: Path) -> Report:
    """Carry out ``plan``; raises ``PeerError`` or ``LoadGeneratorError``."""
    machine = describe_machine(wrk_version(wrk))
    suite = Suite(plan, wrk, output / "logs", tell)
    suite.prepare()
    suite.run()
    summary = summarise(suite.runs)
    return Report(
        plan=plan,
        machine=machine,
        versions=suite.versions(),
        runs=suite.runs,
        idle=suite.idle,
        summary=summary,
        levels=verdicts(summary),
    )


def write(report: Report, text: str, output: Path) -> None:
    """The three result files."""
    (output / "latest.json").write_text(
        json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (output / "latest.md").write_text(text, encoding="utf-8")
    draw(report, output / "latest.png")


if __name__ == "__main__":
    app()

"""Runs every point of an experiment with every seed, in processes side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from orchestrator.reports.measures import RunMeasures
from orchestrator.reports.report import Report, RunReport, assemble
from orchestrator.simulator.compiling import scenario
from orchestrator.simulator.engine import simulate
from orchestrator.traffic.source import inspect

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection

    from orchestrator.simulator.loading import Plan, Point
    from orchestrator.traffic.survey import Survey

_ENDED = "its process ended before it did: killed, or out of memory"


class RunError(Exception):
    """A run failed. Made of plain text, so that it can cross from one process to another.

    Attributes:
        label: of its point.
        seed: it ran with.
        why: one sentence.
    """

    def __init__(self, label: str, seed: int, why: str) -> None:
        self.label, self.seed, self.why = label, seed, why
        super().__init__(label, seed, why)

    def __str__(self) -> str:
        """Which run it was, and why it failed."""
        return f"{self.label}, seed {self.seed}: {self.why}"


class Progress(NamedTuple):
    """A run has ended.

    Attributes:
        done: runs that have ended, this one included, of `total`.
        run: what it came to.
    """

    done: int
    total: int
    run: RunReport


def run(
    plan: Plan, *, jobs: int = 1, on_progress: Callable[[Progress], None] | None = None
) -> Report:
    """Runs an experiment.

    Args:
        plan: what to run.
        jobs: how many runs go on at a time; with more than one, each in a process of its
            own. None of them outlives this call, or this process.
        on_progress: told of each run that ends.

    Raises:
        RunError: one failed; the others are called off.
    """
    runs = plan.runs
    jobs = min(jobs, len(runs))
    ended = _in_processes(plan, jobs) if jobs > 1 else _one_by_one(plan)
    reports: dict[int, RunReport] = {}
    with closing(ended):
        for number, report in ended:
            reports[number] = report
            if on_progress is not None:
                on_progress(Progress(len(reports), len(runs), report))
    return assemble(plan.name, (reports[number] for number in range(len(runs))), plan.description)


def run_point(point: Point, seed: int, folder: Path) -> RunReport:
    """One run.

    Args:
        point: what to run.
        seed: it draws with.
        folder: where the experiment's relative paths begin.

    Raises:
        RunError: it failed.
    """
    experiment = point.experiment
    measures = RunMeasures(measure_from_s=experiment.measure_from_seconds, seed=seed)
    try:
        summary = simulate(scenario(experiment, seed, folder=folder), measures)
    except Exception as error:
        why = str(error) or type(error).__name__
        raise RunError(point.label, seed, why) from error
    return measures.report(
        label=point.label,
        parameters=point.parameters,
        span_s=summary.span_s,
        cpu_s=summary.cpu_s,
        events=summary.events,
        gpus=experiment.pool.gpus,
        price_per_gpu_hour=experiment.pool.price_per_gpu_hour,
        valid=not summary.trouble,
        reason=summary.trouble,
    )


def surveys(plan: Plan) -> Iterator[tuple[str, Survey]]:
    """What each recorded trace of an experiment is like, with an environment that has it.

    Raises:
        TrafficError: one is missing, or something in it is wrong.
    """
    seen: set[str] = set()
    for point in plan.points:
        until = point.experiment.duration_seconds
        for name, environment in point.experiment.environments.items():
            traffic = environment.arrivals
            key = f"{traffic.model_dump_json()} {until}"
            if traffic.trace is not None and key not in seen:
                seen.add(key)
                yield name, inspect(traffic, folder=plan.folder, until_s=until)


def _one_by_one(plan: Plan) -> Generator[tuple[int, RunReport]]:
    for number, (point, seed) in enumerate(plan.runs):
        yield number, run_point(point, seed, plan.folder)


def _in_processes(plan: Plan, jobs: int) -> Generator[tuple[int, RunReport]]:
    """Runs' numbers and reports, in the order in which they end."""
    runs = plan.runs
    waiting = iter(enumerate(runs))
    going: dict[Future[bytes], int] = {}
    with _processes(jobs) as submit:
        while True:
            # No more than can run: those that are called off need not be found again.
            while len(going) < jobs and (following := next(waiting, None)) is not None:
                number, (point, seed) = following
                going[submit(point, seed, plan.folder)] = number
            if not going:
                return
            for future in wait(going, return_when=FIRST_COMPLETED).done:
                number = going.pop(future)
                try:
                    encoded = future.result()
                except BrokenProcessPool:
                    point, seed = runs[number]
                    raise RunError(point.label, seed, _ENDED) from None
                yield number, msgspec.msgpack.decode(encoded, type=RunReport)


@contextmanager
def _processes(jobs: int) -> Iterator[Callable[[Point, int, Path], Future[bytes]]]:
    """Processes that end at the end of the block, whatever they do then.

    They end, too, when this process does: each waits for the other end of a pipe that
    only this one holds. Ctrl-C, which reaches all processes of a terminal, is for this
    one alone to act upon.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(here,))

    def submit(point: Point, seed: int, folder: Path) -> Future[bytes]:
        # A process is started by the first calls, and begins with this thread's mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_encoded, point, seed, folder)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield submit
    except BaseException:
        there.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        there.close()
        here.close()


def _begin(parent: Connection) -> None:
    """Let this process end when the other end of a pipe is closed, and find users' policies."""

    def watch() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # As when a file is loaded: modules are found in the working directory, too.
    sys.path.insert(0, str(Path.cwd()))


def _encoded(point: Point, seed: int, folder: Path) -> bytes:
    return msgspec.msgpack.encode(run_point(point, seed, folder))

"""``python -m tests.benchmarks.theory``: the simulator against theory, with many requests.

What `tests/unit/simulator/test_theory.py` shows in a minute, ten times as sharply: 99 %
confidence intervals of waits in M/M/1, M/M/4 and M/D/1, and cold starts on the recorded
traces by keep-alive. Exit codes: 0 all agree, 1 something does not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from tests import recorded
from tests.unit.simulator import keep_alive
from tests.unit.simulator.queueing import (
    BATCHES,
    SEEDS,
    Queue,
    erlang_c,
    interval,
    mean_wait_fixed,
    mean_wait_markov,
    poisson,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE: Final = 100.0
RHOS: Final = {0.5: 12_000, 0.8: 30_000, 0.9: 50_000}
"""Requests in a batch."""

SYSTEMS: Final = (
    ("M/M/1", 1, 1, False),
    ("M/M/4, 4 replicas", 4, 1, False),
    ("M/M/4, 4 slots", 1, 4, False),
    ("M/D/1", 1, 1, True),
)
KEEP_ALIVES_S: Final = (0.55, 1.05, 3.05, 10.05, 30.05, 60.05, 300.05, 900.05)

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console()


@app.command()
def theory(
    scale: Annotated[float, typer.Option(min=0.1, help="Of the number of requests.")] = 1.0,
) -> None:
    """Compare, show, and fail where something does not agree."""
    began = time.process_time()
    agree = waits(scale)
    agree = cold_starts() and agree
    console.print(f"{time.process_time() - began:.0f} s of processor time")
    raise typer.Exit(0 if agree else 1)


def waits(scale: float) -> bool:
    """A row for each system and load: both sides, and whether theory is in the interval."""
    table = Table("system", "load", "mean wait", "theory", "share waiting", "theory", "")
    every = True
    for name, replicas, slots, fixed in SYSTEMS:
        for rho, size in RHOS.items():
            servers = replicas * slots
            batches = list(_batches(replicas, slots, rho, int(size * scale), fixed=fixed))
            wait, half_of_wait = interval([mean for mean, _ in batches])
            share, half_of_share = interval([share for _, share in batches])
            mean = mean_wait_fixed(rho) if fixed else mean_wait_markov(servers, rho)
            waiting = erlang_c(servers, rho)
            agree = abs(wait - mean) <= half_of_wait and abs(share - waiting) <= half_of_share
            every = every and agree
            table.add_row(
                name,
                f"{rho:g}",
                f"{wait:.4f} ± {half_of_wait:.4f}",
                f"{mean:.4f}",
                f"{share:.4f} ± {half_of_share:.4f}",
                f"{waiting:.4f}",
                "agrees" if agree else "DIFFERS",
            )
    console.print(table)
    console.print("Waits in units of the mean service time; 99 % confidence.")
    return every


def _batches(
    replicas: int, slots: int, rho: float, size: int, *, fixed: bool
) -> Iterator[tuple[float, float]]:
    """Mean wait and share of those that wait, by batch."""
    count = (1 + BATCHES) * size  # the first fills the queue
    servers = replicas * slots
    for seed in SEEDS:
        rng = np.random.default_rng([seed, round(100 * rho), servers, slots, fixed])
        at = poisson(rho * servers * RATE, count, rng)
        service_s = np.full(count, 1 / RATE) if fixed else rng.exponential(1 / RATE, count)
        found = run(Queue(at, service_s, replicas, slots)).waits[size:] * RATE
        for batch in found.reshape(BATCHES, size):
            yield float(batch.mean()), float((batch > 0).mean())


def cold_starts() -> bool:
    """A row for each trace and keep-alive: cold requests, simulated and implied by the times."""
    table = Table("trace", "requests", "keep-alive", "cold", "implied", "")
    every = True
    for name, spec in keep_alive.TRACES.items():
        if not (recorded.folder() / spec["trace"]["file"]).is_file():
            console.print(f"{name}: no recorded trace below {recorded.folder()}; left out")
            continue
        at = keep_alive.times(name)
        for keep_alive_s in KEEP_ALIVES_S:
            found = keep_alive.simulated(at, keep_alive_s, 0.0)
            implied = keep_alive.implied(at, keep_alive_s, 0.0)
            agree = bool(np.array_equal(found, implied))
            every = every and agree
            table.add_row(
                name,
                f"{at.size:,}",
                f"{keep_alive_s:g} s",
                f"{found.sum():,}",
                f"{implied.sum():,}",
                "the same" if agree else "DIFFERS",
            )
    console.print(table)
    return every


if __name__ == "__main__":
    app()

"""The requests of an experiment, from its settings."""

from __future__ import annotations

import math
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.traffic import files, formats, scaling, servegen
from orchestrator.traffic.generators import generate
from orchestrator.traffic.settings import Trace
from orchestrator.traffic.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.random import Generator

    from orchestrator.traffic.arrival import Arrival
    from orchestrator.traffic.rows import Rows
    from orchestrator.traffic.settings import Arrivals
    from orchestrator.traffic.survey import Suspicion


class _Purpose(IntEnum):
    """What chance is used for: each has a sequence of its own, so that none moves another."""

    SOURCE = 0
    RATE = 1
    ASYNCHRONOUS = 2
    PROMPT = 3
    OUTPUT = 4


def arrivals(settings: Arrivals, seed: int, *, folder: Path) -> Iterator[Arrival]:
    """The requests, in the order in which they come.

    Memory does not grow with their number (but of a trace that is sorted, and of a log).
    Generators without `duration_seconds`, and without an end of their own, never end. The
    same settings and seed give the same requests.

    Args:
        settings: the source and its scaling.
        seed: at least 0.
        folder: where relative paths begin: that of the experiment's file.

    Raises:
        TrafficError: the trace is missing; or something in it is wrong: on the way, when
            that row is reached.
    """
    parts = requests(settings, seed, folder=folder)
    return chain.from_iterable(part.arrivals() for part in parts)


def inspect(
    settings: Arrivals,
    seed: int = 1,
    *,
    folder: Path,
    until_s: float | None = None,
    most: int = 1_000_000,
) -> Survey:
    """Reads through the requests and says what they are like, and what looks wrong.

    Args:
        settings: the source and its scaling.
        seed: as of `arrivals`.
        folder: as of `arrivals`.
        until_s: where to stop, in the requests' (scaled) time; None: at their end.
        most: after how many requests to stop in any case.

    Raises:
        TrafficError: as of `arrivals`.
    """
    suspicions: list[Suspicion] = []
    rows = requests(settings, seed, folder=folder, suspicions=suspicions)
    if until_s is not None:
        rows = scaling.cut(rows, 0.0, until_s)
    return survey(rows, most, suspicions)


def requests(
    settings: Arrivals, seed: int, *, folder: Path, suspicions: list[Suspicion] | None = None
) -> Iterator[Rows]:
    """The same as `arrivals`, by columns; what looks wrong is noted in `suspicions`."""
    rngs = {purpose: np.random.default_rng([seed, purpose]) for purpose in _Purpose}
    rows = _cut(settings, seed, rngs, folder, [] if suspicions is None else suspicions)
    if settings.time_scale != 1:
        rows = scaling.faster(rows, settings.time_scale)
    if settings.asynchronous_percent is not None:
        share = settings.asynchronous_percent / 100
        rows = scaling.for_later(rows, share, rngs[_Purpose.ASYNCHRONOUS])
    if settings.deadline_seconds is not None:
        rows = scaling.with_deadline(rows, settings.deadline_seconds)
    if settings.tokens is not None:
        rngs_of_tokens = rngs[_Purpose.PROMPT], rngs[_Purpose.OUTPUT]
        rows = scaling.with_tokens(rows, settings.tokens, rngs_of_tokens, folder)
    return rows


def _cut(
    settings: Arrivals,
    seed: int,
    rngs: dict[_Purpose, Generator],
    folder: Path,
    suspicions: list[Suspicion],
) -> Iterator[Rows]:
    """The part of the source that is wanted, at the rate that is wanted."""
    source, scale = settings.source, settings.rate_scale
    begin = float(settings.start_seconds)
    end = math.inf if settings.duration_seconds is None else begin + settings.duration_seconds
    if not isinstance(source, Trace):
        rng = rngs[_Purpose.SOURCE]
        made = generate(source, rng, rate_scale=scale, begin_s=begin, end_s=end)
        return scaling.cut(made, begin, end)
    file = files.place(source.file, folder)
    if formats.told(file, source) == "servegen":
        clients = servegen.read(file, source.client)
        made = servegen.generate(clients, seed, rate_scale=scale, begin_s=begin, end_s=end)
        return scaling.cut(made, begin, end)
    rows = scaling.cut(formats.read(file, source, suspicions), begin, end)
    if scale < 1:
        return scaling.thinned(rows, scale, rngs[_Purpose.RATE])
    if scale > 1:
        return scaling.overlaid(rows, scale, settings.copy_shift_seconds, rngs[_Purpose.RATE])
    return rows

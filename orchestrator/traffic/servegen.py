"""ServeGen's traces: the rates of many clients over two weeks, in windows of ten minutes.

Of each client and window there are the rate, the coefficient of variation of the gaps
between its requests, and which distribution fits the gaps best: Gamma (`param1` is the
shape, `param2` the scale) or Weibull (likewise). Requests are drawn as ServeGen's own
generator does it: gaps of that shape, stretched so that they fill the window with as
many requests as its rate asks for. The scale, which says how dense the requests were
while there were any, and the coefficient of variation, which the shape stands for, are
not used.

Source: Xiang et al., "ServeGen: Workload Characterization and Generation of Large
Language Model Serving in Production", arXiv 2505.09999; github.com/alibaba/ServeGen.

Two layouts are read: one table with all clients (columns `client`, `start_s`,
`rate_rps`, `cv`, `pattern`, `param1`, `param2`; a window that is not there has rate 0),
and the repository's own, a folder with `chunk-N-trace.csv` for each client N and, where
lengths are wanted, `chunk-N-dataset.json` (see `servegen_lengths`).
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from orchestrator.config.problems import listed, shown
from orchestrator.traffic import csv_table, tables
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.rows import Floats, Rows, merged, pieces
from orchestrator.traffic.servegen_lengths import Lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.random import Generator

    from orchestrator.traffic.piece import Piece

WINDOW_S: Final = 600.0

COLUMNS: Final = ("client", "start_s", "rate_rps", "cv", "pattern", "param1", "param2")
PATTERNS: Final = ("Gamma", "Weibull")

MOST_IN_WINDOW: Final = 20_000_000
"""Requests of one client in ten minutes: 33,333 a second."""

_CHUNK: Final = re.compile(r"chunk-(\d+)-trace\.csv").fullmatch


class Window(NamedTuple):
    """Ten minutes of one client.

    Attributes:
        start_s: when it begins.
        client: its number.
        rate: requests per second.
        pattern: `Gamma` or `Weibull`.
        shape: of the distribution of gaps.
    """

    start_s: float
    client: int
    rate: float
    pattern: str
    shape: float


class Clients(NamedTuple):
    """What was read.

    Attributes:
        windows: those in which something comes, by time and client.
        lengths: by client, where the layout has them.
    """

    windows: list[Window]
    lengths: dict[int, Lengths]


def is_folder(path: str) -> bool:
    """Whether a path is a folder in the repository's layout."""
    folder = Path(path)
    return folder.is_dir() and any(_CHUNK(each.name) for each in folder.iterdir())


def is_chunk(path: str) -> bool:
    """Whether a path is the file of one client in that layout."""
    return _CHUNK(Path(path).name) is not None


def read(path: str, client: int | None) -> Clients:
    """All windows of one client, or of all of them.

    Raises:
        TrafficError: something in it is wrong, or there is no such client.
    """
    windows: list[Window] = []
    lengths: dict[int, Lengths] = {}
    known: set[int] = set()
    if Path(path).is_dir() or is_chunk(path):
        for number, file in _chunks(Path(path)):
            known.add(number)
            if client in (None, number):
                windows += _of_chunk(str(file), number)
                lengths[number] = Lengths(file.with_name(f"chunk-{number}-dataset.json"))
    else:
        for piece in tables.read(path, COLUMNS):
            found = _windows(piece, piece.tokens("client").tolist())
            known.update(window.client for window in found)
            windows += (window for window in found if client in (None, window.client))
    if client is not None and client not in known:
        there = f"one of {min(known)} to {max(known)}" if known else "another file"
        raise TrafficError(path, None, f"has no client {client}", there)
    return Clients(sorted(window for window in windows if window.rate > 0), lengths)


def generate(
    clients: Clients, seed: int, *, rate_scale: float = 1.0, begin_s: float, end_s: float
) -> Iterator[Rows]:
    """Their requests in the windows that `begin_s` to `end_s` touches.

    What a client sends in a window depends on the seed, the client and the window alone.
    """
    windows = (w for w in clients.windows if begin_s - WINDOW_S < w.start_s < end_s)
    for _, together in groupby(windows, key=lambda window: window.start_s):
        found = [
            rows for window in together if len(rows := _drawn(window, clients, seed, rate_scale))
        ]
        if found:
            yield from pieces(merged(found))


def _drawn(window: Window, clients: Clients, seed: int, rate_scale: float) -> Rows:
    rng = np.random.default_rng([seed, window.client, int(window.start_s)])
    wanted = window.rate * rate_scale * WINDOW_S
    # A fraction of a request is one by chance.
    count = int(wanted + rng.random())
    at = window.start_s + _filling(window, count, rng)
    lengths = clients.lengths.get(window.client)
    prompt, output = (None, None) if lengths is None else lengths.draw(window.start_s, count, rng)
    name = np.full(count, f"client-{window.client}", dtype=np.object_)
    return Rows(at=at, prompt_tokens=prompt, output_tokens=output, environment=name)


def _filling(window: Window, count: int, rng: Generator) -> Floats:
    """So many moments in a window, from its beginning, with gaps of its pattern."""
    draw = rng.gamma if window.pattern == "Gamma" else rng.weibull
    # One gap more than requests: the last one leads into the next window.
    reached = np.cumsum(draw(window.shape, size=count + 1))
    if not reached[-1] > 0:  # a shape so small that all of them are 0
        return np.sort(rng.random(count)) * WINDOW_S
    at: Floats = reached[:-1] * (WINDOW_S / reached[-1])
    return np.minimum(at, np.nextafter(WINDOW_S, 0))


def _chunks(path: Path) -> list[tuple[int, Path]]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [(int(named[1]), file) for file in files if (named := _CHUNK(file.name))]
    if not found:
        raise TrafficError(str(path), None, "has no chunk-N-trace.csv", "ServeGen's own layout")
    return found


def _of_chunk(file: str, client: int) -> Iterable[Window]:
    for piece in csv_table.read_bare(file, COLUMNS[1:]):
        yield from _windows(piece, [client] * len(piece.rows))


def _windows(piece: Piece, clients: list[int]) -> list[Window]:
    """The rows of a piece, each checked."""
    starts = piece.numbers("start_s", "seconds, a number of at least 0")
    rates = piece.numbers("rate_rps", "requests per second, a number of at least 0")
    wrong = (starts % WINDOW_S != 0) | (rates * WINDOW_S > MOST_IN_WINDOW)
    if wrong.any():
        at = int(wrong.argmax())
        if starts[at] % WINDOW_S:
            raise piece.error(at, f"start_s is {starts[at]:g}", f"a multiple of {WINDOW_S:g}")
        most = f"at most {MOST_IN_WINDOW / WINDOW_S:,.0f} requests per second"
        raise piece.error(at, f"rate_rps is {rates[at]:g}", most)
    shapes = piece.numbers("param1", "the shape of the distribution, a number above 0")
    patterns = piece.texts("pattern")
    for at, (rate, shape, pattern) in enumerate(zip(rates, shapes, patterns, strict=True)):
        if rate > 0 and pattern not in PATTERNS:
            raise piece.error(at, f"pattern is {shown(pattern)}", f"one of {listed(PATTERNS)}")
        if rate > 0 and not shape > 0:
            raise piece.error(at, f"param1 is {shape:g}", "the shape, a number above 0")
    rows = zip(starts.tolist(), clients, rates.tolist(), patterns, shapes.tolist(), strict=True)
    return [Window(*row) for row in rows]

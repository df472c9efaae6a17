"""What is done to requests on their way from a source: cut, scaled, completed.

Each takes requests in order and gives requests in order, a piece at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from orchestrator.traffic.distribution import draw
from orchestrator.traffic.rows import BATCH, Integers, Rows, joined, merged, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.random import Generator

    from orchestrator.traffic.distribution import Draw
    from orchestrator.traffic.settings import Tokens

LEAST_PIECE: Final = 64
"""Requests that are copied at once, where there are very many copies."""


def cut(rows: Iterable[Rows], begin_s: float, end_s: float) -> Iterator[Rows]:
    """Those from `begin_s` until before `end_s`, which from then on is 0."""
    for part in rows:
        begin, end = np.searchsorted(part.at, (begin_s, end_s), side="left")
        within = part.take(slice(begin, end))
        if len(within):
            yield within.with_times(within.at - begin_s)
        if end < len(part):
            return


def thinned(rows: Iterable[Rows], share: float, rng: Generator) -> Iterator[Rows]:
    """A share of them, each by chance."""
    for part in rows:
        kept = part.take(rng.random(len(part)) < share)
        if len(kept):
            yield kept


def overlaid(rows: Iterable[Rows], times: float, shift_s: float, rng: Generator) -> Iterator[Rows]:
    """`times` (at least 1) as many: them, and shifted copies of them.

    Of 2.5 times there are the requests themselves, a copy, and a copy thinned by half.
    A copy is later by a time that is drawn once, uniformly up to `shift_s`. Requests of
    the last `shift_s` are held in memory.
    """
    whole = math.floor(times)
    shares = [1.0] * whole + ([times - whole] if times > whole else [])
    shifts = [0.0, *(rng.random(len(shares) - 1) * shift_s)]
    size = max(BATCH // len(shares), LEAST_PIECE)
    held: list[Rows] = []
    for part in (piece for whole_part in rows for piece in pieces(whole_part, size)):
        for share, shift in zip(shares, shifts, strict=True):
            copy = part if share == 1 else part.take(rng.random(len(part)) < share)
            held.append(copy.with_times(copy.at + shift))
        together = merged(held)
        # What comes later in the source is not before this.
        done = int(np.searchsorted(together.at, part.at[-1], side="left"))
        held = [together.take(slice(done, None))]
        yield from pieces(together.take(slice(done)))
    if held:
        yield from pieces(joined(held))


def faster(rows: Iterable[Rows], time_scale: float) -> Iterator[Rows]:
    """The same with all times multiplied."""
    return (part.with_times(part.at * time_scale) for part in rows)


def for_later(rows: Iterable[Rows], share: float, rng: Generator) -> Iterator[Rows]:
    """The same, of which a share, each by chance, is asynchronous."""
    for part in rows:
        yield part.replaced(asynchronous=rng.random(len(part)) < share)


def with_deadline(rows: Iterable[Rows], seconds: float) -> Iterator[Rows]:
    """The same, all with that deadline."""
    return (part.replaced(deadline_s=np.full(len(part), float(seconds))) for part in rows)


def with_tokens(
    rows: Iterable[Rows], tokens: Tokens, rngs: tuple[Generator, Generator], folder: Path
) -> Iterator[Rows]:
    """The same, with lengths drawn where they are not known.

    Args:
        rows: the requests.
        tokens: the distributions of lengths.
        rngs: for prompts and for answers.
        folder: where relative paths of distributions begin.
    """
    prompt, output = (
        None if spec is None else draw(spec, rng, folder=folder)
        for spec, rng in zip((tokens.prompt, tokens.output), rngs, strict=True)
    )
    for part in rows:
        yield part.replaced(
            prompt_tokens=_completed(part.prompt_tokens, prompt, len(part)),
            output_tokens=_completed(part.output_tokens, output, len(part)),
        )


def _completed(known: Integers | None, lengths: Draw | None, count: int) -> Integers | None:
    if lengths is None:
        return known
    missing = np.ones(count, dtype=np.bool_) if known is None else known == 0
    drawn = np.fromiter((lengths() for _ in range(int(missing.sum()))), dtype=np.float64)
    completed = np.zeros(count, dtype=np.int64) if known is None else known.copy()
    completed[missing] = np.maximum(np.rint(drawn), 1).astype(np.int64)
    return completed

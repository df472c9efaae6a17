"""Recorded requests: tables of which some columns say when they came and what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from orchestrator.config.problems import listed, suggestion
from orchestrator.traffic import tables
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.moments import Moments
from orchestrator.traffic.rows import Rows, joined, pieces
from orchestrator.traffic.settings import Columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.traffic.piece import Piece
    from orchestrator.traffic.settings import Trace, Unit
    from orchestrator.traffic.survey import Suspicion

AZURE: Final = Columns(
    at="TIMESTAMP", prompt_tokens="ContextTokens", output_tokens="GeneratedTokens"
)
"""Of Azure's traces of language models; times are dates, in UTC."""

MOONCAKE: Final = Columns(
    at="timestamp", prompt_tokens="input_length", output_tokens="output_length"
)
"""Of Mooncake's traces; times are milliseconds."""

MOST_IN_MEMORY: Final = 20_000_000
"""Requests that are sorted in memory: about a gigabyte."""

MOST_ENVIRONMENTS: Final = 1000
"""Names that are remembered for an error message."""


def names(columns: Columns) -> frozenset[str]:
    """The columns that there are."""
    return frozenset(name for name in columns.model_dump().values() if name is not None)


def read(
    file: str, columns: Columns, unit: Unit | None, trace: Trace, suspicions: list[Suspicion]
) -> Iterator[Rows]:
    """The requests of a table; the first one of the file comes at 0.

    Args:
        file: where it is.
        columns: what its columns mean.
        unit: of its times; None: told from the first one.
        trace: what else the experiment says of it.
        suspicions: where to note what looks wrong.

    Raises:
        TrafficError: on the way: something in it is wrong.
    """
    moments = Moments(columns.at, unit, ordered=not trace.sort, suspicions=suspicions)
    wanted = sorted(names(columns))
    unsorted = (_rows(piece, columns, moments) for piece in tables.read(file, wanted))
    found = in_order(unsorted, file) if trace.sort else unsorted
    return found if trace.environment is None else only(found, trace.environment, file)


def in_order(rows: Iterable[Rows], file: str) -> Iterator[Rows]:
    """The same by time, all held in memory; the first one comes at 0.

    Raises:
        TrafficError: there are more than `MOST_IN_MEMORY`.
    """
    held: list[Rows] = []
    count = 0
    for part in rows:
        held.append(part)
        count += len(part)
        if count > MOST_IN_MEMORY:
            what = f"has more than {MOST_IN_MEMORY:,} requests, too many to sort in memory"
            raise TrafficError(file, None, what, "a file that is in order, without sort: true")
    together = joined(held)
    ordered = together.take(np.argsort(together.at, kind="stable"))
    yield from pieces(ordered.with_times(ordered.at - ordered.at[0]))


def only(rows: Iterable[Rows], environment: str, file: str) -> Iterator[Rows]:
    """Those for one environment.

    Raises:
        TrafficError: at the end: there were none.
    """
    others: set[str] = set()
    some = False
    for part in rows:
        names = np.full(len(part), "") if part.environment is None else part.environment
        kept = part.take(np.asarray(names == environment, dtype=np.bool_))
        if len(kept):
            some = True
            yield kept
        elif not some and len(others) < MOST_ENVIRONMENTS:
            others.update(names.tolist())
    if not some:
        there = sorted(others - {""})
        what = f'has no request for the environment "{environment}"'
        expected = f"one of {listed(there)}" if there else "a column that names environments"
        raise TrafficError(file, None, what + suggestion(environment, there), expected)


def _rows(piece: Piece, columns: Columns, moments: Moments) -> Rows:
    prompt, output = columns.prompt_tokens, columns.output_tokens
    service, deadline = columns.service_seconds, columns.deadline_seconds
    later, environment = columns.asynchronous, columns.environment
    return Rows(
        at=moments.seconds(piece),
        prompt_tokens=None if prompt is None else piece.tokens(prompt),
        output_tokens=None if output is None else piece.tokens(output),
        service_s=None if service is None else piece.durations(service),
        deadline_s=None if deadline is None else piece.durations(deadline),
        asynchronous=None if later is None else piece.flags(later),
        environment=None
        if environment is None
        else np.array(piece.texts(environment), dtype=np.object_),
    )

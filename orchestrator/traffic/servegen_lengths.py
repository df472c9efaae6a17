"""Lengths of prompts and answers of one of ServeGen's clients, in its repository's layout.

A `chunk-N-dataset.json` has, by the second at which a span of some hours begins, the
shares of each length: `{"21600": {"input_tokens": "{163: 0.25, 165: 0.01}", ...}}`, the
inner mapping being a Python literal in a text. Prompt and answer are drawn each for
themselves.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from orchestrator.config.problems import shown
from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import opened

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.random import Generator

    from orchestrator.traffic.rows import Floats, Integers

SHARES: Final = "shares of lengths, such as {163: 0.25, 165: 0.75}"


class _Shares(NamedTuple):
    """A discrete distribution: lengths, and the sums of their shares up to each."""

    lengths: Integers
    sums: Floats


class Lengths:
    """The lengths of one client's requests; read when they are first asked for."""

    def __init__(self, file: Path) -> None:
        """The file need not exist: then no lengths are known."""
        self._file = file

    def draw(
        self, at: float, count: int, rng: Generator
    ) -> tuple[Integers | None, Integers | None]:
        """Tokens of so many prompts and answers at that time; None: not known.

        Raises:
            TrafficError: the file is broken.
        """
        prompts, outputs = self._spans
        return _drawn(prompts, at, count, rng), _drawn(outputs, at, count, rng)

    @cached_property
    def _spans(self) -> tuple[dict[float, _Shares], dict[float, _Shares]]:
        if not self._file.is_file():
            return {}, {}
        file = str(self._file)
        with opened(file) as stream:
            try:
                found = msgspec.json.decode(stream.read(), type=dict[float, dict[str, Any]])
            except msgspec.DecodeError as error:
                raise TrafficError(file, None, f"is no dataset of ServeGen: {error}") from None
        spans = sorted(found.items())
        return _by_span(spans, "input_tokens", file), _by_span(spans, "output_tokens", file)


def _by_span(
    spans: list[tuple[float, dict[str, Any]]], name: str, file: str
) -> dict[float, _Shares]:
    """The shares by when they begin to hold; spans in which nothing came have none."""
    shares = {at: _shares(fields.get(name, "{}"), f"{at:g}: {name}", file) for at, fields in spans}
    return {at: each for at, each in shares.items() if each is not None}


def _shares(text: Any, where: str, file: str) -> _Shares | None:
    try:
        found = {int(length): float(share) for length, share in ast.literal_eval(text).items()}
        lengths, shares = np.array(list(found)), np.array(list(found.values()))
        if (lengths < 0).any() or (shares < 0).any() or (found and not shares.sum() > 0):
            raise ValueError  # noqa: TRY301
    except (AttributeError, MemoryError, SyntaxError, TypeError, ValueError):
        raise TrafficError(file, None, f"{where} is {shown(text)}", SHARES) from None
    if not found:
        return None
    return _Shares(lengths.astype(np.int64), np.cumsum(shares) / shares.sum())


def _drawn(spans: dict[float, _Shares], at: float, count: int, rng: Generator) -> Integers | None:
    index = bisect_right(list(spans), at) - 1
    if index < 0:
        return None
    lengths, sums = list(spans.values())[index]
    return np.maximum(lengths[np.searchsorted(sums[:-1], rng.random(count), side="right")], 1)

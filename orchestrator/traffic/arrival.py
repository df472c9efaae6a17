"""One request as a trace has it."""

from __future__ import annotations

from typing import NamedTuple


class Arrival(NamedTuple):
    """A request that comes in. A named tuple: millions of them are made.

    Attributes:
        at: seconds since the beginning of the trace; never less than the one before.
        prompt_tokens: tokens of its prompt; 0: not known.
        output_tokens: tokens of its answer; 0: not known.
        service_s: how long it runs where the trace says so; None: the model decides.
        deadline_s: its caller gives up, and says so, after so many seconds; None: never.
        asynchronous: accepted for later, rather than waited for.
        environment: which it is for, where a trace holds several; empty: the only one.
    """

    at: float
    prompt_tokens: int = 0
    output_tokens: int = 0
    service_s: float | None = None
    deadline_s: float | None = None
    asynchronous: bool = False
    environment: str = ""

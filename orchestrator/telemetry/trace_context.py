"""W3C Trace Context: which trace a request belongs to, read from its headers and written into them.

The rules are those of https://www.w3.org/TR/trace-context/ (sections are named
where they are followed): the Recommendation of Level 1, with what Level 2 adds
that does no harm: the random flag, and its wider grammar of keys.
Identifiers are lower-case hexadecimal digits, as they stand in headers.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Final, NamedTuple

SAMPLED: Final = 0x01
"""Flag: the caller may have recorded the trace (section "Sampled flag")."""

RANDOM: Final = 0x02
"""Flag: the last 7 bytes of the trace id are random (Level 2, "Random Trace ID Flag")."""

MOST_MEMBERS: Final = 32
"""Of a tracestate (section "tracestate Header Field Values")."""

MOST_STATE_BYTES: Final = 512
"""Of a tracestate that is passed on (section "tracestate Limits")."""

MOST_READ_BYTES: Final = 8192
"""A tracestate longer than this is not looked at."""

MOST_BAGGAGE_BYTES: Final = 8192
MOST_BAGGAGE_MEMBERS: Final = 180
"""Limits of https://www.w3.org/TR/baggage/: what must be passed on at least is what is at most."""

_LARGE_MEMBER_BYTES: Final = 128
_LONGEST_PARENT: Final = 512
"""Of a traceparent of a later version, whose end is unknown."""

_MOST_COMMAS: Final = 255
"""Of a tracestate that is looked at: empty members are allowed, and do not count."""

_BLANKS: Final = b" \t"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16

# What follows the flags belongs to a later version (section "Versioning of
# traceparent"). It has no comma: that is how two headers become one (RFC 9110,
# 5.3), and which of two would count is nobody's to say.
_PARENT: Final = re.compile(
    rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x2b\x2d-\x7e]*)?"
).fullmatch

# Sections "Key" and "Value"; blanks around a member have been taken off.
_MEMBER: Final = re.compile(
    rb"([a-z0-9][a-z0-9_\-*/@]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
).fullmatch

_PRINTABLE: Final = re.compile(rb"[\x20-\x7e\t]+").fullmatch


class TraceContext(NamedTuple):
    """Where in which trace the caller was.

    Attributes:
        trace_id: 32 hexadecimal digits.
        parent_id: of the caller's span, 16 hexadecimal digits; empty: there is none.
        flags: `SAMPLED` and `RANDOM`; all others are zero.
        tracestate: as it is to be passed on; empty: none.
    """

    trace_id: bytes
    parent_id: bytes
    flags: int
    tracestate: bytes = b""

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded the trace."""
        return self.flags & SAMPLED == SAMPLED


def read(traceparent: bytes | None, tracestate: bytes | None) -> TraceContext | None:
    """The caller's context.

    Args:
        traceparent: the header's value; of several headers joined by commas, which
            is not valid: it is one value (section "traceparent Header Field Values").
        tracestate: the header's value; of several headers joined by commas, in order.

    Returns:
        None: there is none, or none that counts, and neither does the tracestate then
        (section "Tracestate Header"): the trace begins anew.
    """
    if traceparent is None or len(traceparent) > _LONGEST_PARENT:
        return None
    found = _PARENT(traceparent.strip(_BLANKS))
    if found is None:
        return None
    version, trace_id, parent_id, flags, later = found.groups()
    if trace_id == _NO_TRACE or parent_id == _NO_SPAN:
        return None
    if version == b"ff" or (version == b"00" and later is not None):
        return None
    return TraceContext(
        trace_id,
        parent_id,
        # "Other Flags": those that are not defined are passed on as zero.
        int(flags, 16) & (SAMPLED | RANDOM),
        _state(tracestate) if tracestate else b"",
    )


def traceparent(trace_id: bytes, span_id: bytes, flags: int) -> bytes:
    """The header's value, of version 00, for what a span of ours asks of others."""
    return b"00-%b-%b-%02x" % (trace_id, span_id, flags)


def baggage(value: bytes) -> bytes | None:
    """A baggage header if it may be passed on; None: it is over the limits, or not text."""
    if len(value) > MOST_BAGGAGE_BYTES or value.count(b",") >= MOST_BAGGAGE_MEMBERS:
        return None
    return value if _PRINTABLE(value) else None


def start_context(application: str, replica_id: str) -> tuple[str, str]:
    """Trace and span id of a replica's start.

    Both are derived, so that the queue that exports the span and those that link
    to it agree without telling each other.

    Args:
        application: name of the environment's Serve application.
        replica_id: Serve's.
    """
    digits = hashlib.sha256(f"replica.start\0{application}\0{replica_id}".encode()).hexdigest()
    return digits[:32], digits[32:48]


class Ids:
    """New trace and span ids, random in all their bits (so `RANDOM` may be set)."""

    __slots__ = ("_spans", "_traces")

    _BATCH: Final = 256

    def __init__(self) -> None:
        self._traces: list[bytes] = []
        self._spans: list[bytes] = []

    def trace_id(self) -> bytes:
        """32 hexadecimal digits that were never given out, not all zero."""
        if not self._traces:
            self._traces = self._pool(32, _NO_TRACE)
        return self._traces.pop()

    def span_id(self) -> bytes:
        """16 hexadecimal digits that were never given out, not all zero."""
        if not self._spans:
            self._spans = self._pool(16, _NO_SPAN)
        return self._spans.pop()

    def requests(self) -> list[tuple[bytes, bytes, bytes]]:
        """A trace id and two span ids for each of many requests."""
        traces = self._pool(32, _NO_TRACE)
        spans = iter(self._pool(16, _NO_SPAN, 2 * self._BATCH))
        # Of ids that are all zero there might be one less.
        return list(zip(traces, spans, spans, strict=False))

    def _pool(self, digits: int, forbidden: bytes, count: int = _BATCH) -> list[bytes]:
        # One system call for many: it costs more than the rest of an id.
        pool = os.urandom(digits // 2 * count).hex().encode("ascii")
        made = [pool[at : at + digits] for at in range(0, len(pool), digits)]
        return [each for each in made if each != forbidden]


def _state(given: bytes) -> bytes:
    """A tracestate as it is passed on; empty: it is not valid, which counts for all of it.

    A key that is there twice stays where it is first: members are ordered from the
    latest to the earliest (section "Combined Header Value"), and to discard the
    other is an allowed mutation (section "Mutating the tracestate Field").
    """
    if len(given) > MOST_READ_BYTES or given.count(b",") > _MOST_COMMAS:
        return b""
    members: dict[bytes, bytes] = {}
    count = 0
    for piece in given.split(b","):
        member = piece.strip(_BLANKS)
        if not member:
            continue
        count += 1
        # The blanks before it are none of the value's; those after it are optional.
        found = _MEMBER(member)
        if found is None or count > MOST_MEMBERS:
            return b""
        members.setdefault(found[1], member)
    return b",".join(_within_limits(list(members.values())))


def _within_limits(members: list[bytes]) -> list[bytes]:
    """As many whole members as fit, by the order of section "tracestate Limits"."""
    size = sum(map(len, members)) + len(members) - 1
    for large in (True, False):
        for at in range(len(members) - 1, -1, -1):
            if size <= MOST_STATE_BYTES:
                return members
            if not large or len(members[at]) > _LARGE_MEMBER_BYTES:
                size -= len(members.pop(at)) + 1
    return members

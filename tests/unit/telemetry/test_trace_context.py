"""W3C Trace Context: every rule of the recommendation that a receiver can break."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.telemetry.trace_context import (
    MOST_MEMBERS,
    MOST_STATE_BYTES,
    Ids,
    TraceContext,
    baggage,
    read,
    start_context,
    traceparent,
)

TRACE = b"12345678901234567890123456789012"
SPAN = b"1234567890123456"
VALID = b"00-" + TRACE + b"-" + SPAN + b"-01"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (VALID, 1),
        (VALID[:-2] + b"00", 0),
        (VALID[:-2] + b"02", 2),
        (VALID[:-2] + b"03", 3),
        # "Other Flags": not defined, so passed on as zero.
        (VALID[:-2] + b"ff", 3),
        (VALID[:-2] + b"08", 0),
        (VALID[:-2] + b"09", 1),
        # Blanks around a field's value are none of it (RFC 9110, 5.6.3).
        (b" " + VALID, 1),
        (b"\t" + VALID, 1),
        (VALID + b" ", 1),
        (b"\t " + VALID + b" \t", 1),
        # "Versioning of traceparent".
        (b"cc" + VALID[2:], 1),
        (b"01" + VALID[2:], 1),
        (b"fe" + VALID[2:], 1),
        (b"cc" + VALID[2:] + b"-", 1),
        (b"cc" + VALID[2:] + b"-what-the-future-will-be-like", 1),
        (b"cc" + VALID[2:] + b"-what.the future=will|be", 1),
    ],
)
def test_a_valid_traceparent_is_continued(header: bytes, flags: int) -> None:
    assert read(header, None) == TraceContext(TRACE, SPAN, flags, b"")


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b" ",
        b"-",
        b"00",
        VALID[:-1],
        VALID + b"0",
        VALID + b".",
        VALID + b"-",
        VALID + b"-what-the-future-will-be-like",
        b"cc" + VALID[2:] + b".what-the-future-will-be-like",
        b"cc" + VALID[2:] + b"0",
        b"cc" + VALID[2:-1],
        b"ff" + VALID[2:],
        b"ff" + VALID[2:] + b"-more",
        b".0" + VALID[2:],
        b"0." + VALID[2:],
        b"0" + VALID[2:],
        b"000" + VALID[2:],
        b"0000" + VALID[2:],
        b"CC" + VALID[2:],
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b"cc-" + b"0" * 32 + b"-" + SPAN + b"-01-more",
        b"00-." + TRACE[1:] + b"-" + SPAN + b"-01",
        b"00-" + TRACE[1:] + b".-" + SPAN + b"-01",
        b"00-" + TRACE + b"3-" + SPAN + b"-01",
        b"00-" + TRACE[1:] + b"-" + SPAN + b"-01",
        b"00-" + TRACE[:-1] + b"A-" + SPAN + b"-01",
        b"00-" + TRACE + b"-." + SPAN[1:] + b"-01",
        b"00-" + TRACE + b"-" + SPAN[1:] + b"-01",
        b"00-" + TRACE + b"-" + SPAN + b"7-01",
        b"00-" + TRACE + b"-" + SPAN[:-1] + b"F-01",
        VALID[:-2] + b".0",
        VALID[:-2] + b"0.",
        VALID[:-2] + b"001",
        VALID[:-2] + b"1",
        VALID[:-2] + b"0A",
        VALID.replace(b"-", b"_"),
        # Two headers are one value with a comma in it.
        VALID + b"," + VALID,
        VALID + b", " + VALID,
        b"cc" + VALID[2:] + b"," + b"cc" + VALID[2:],
        b"cc" + VALID[2:] + b"-x," + b"cc" + VALID[2:],
        # "only disallow prohibitively large headers"
        b"cc" + VALID[2:] + b"-" + b"x" * 1000,
        b"cc" + VALID[2:] + b"-\x00",
        b"\xff" * 55,
    ],
)
def test_any_other_traceparent_begins_a_new_trace(header: bytes | None) -> None:
    # "If the vendor failed to parse traceparent, it MUST NOT attempt to parse tracestate."
    assert read(header, b"foo=1") is None


def test_sampled_is_one_bit_of_the_flags() -> None:
    assert [TraceContext(TRACE, SPAN, flags).sampled for flags in (0, 1, 2, 3)] == [
        False,
        True,
        False,
        True,
    ]


def state(header: bytes) -> bytes:
    found = read(VALID, header)
    # "failure to parse tracestate MUST NOT affect the parsing of traceparent"
    assert found is not None
    assert found[:3] == (TRACE, SPAN, 1)
    return found.tracestate


KEY_CHARS = (string.ascii_lowercase + string.digits + "_-*/@").encode()
VALUE_CHARS = bytes(each for each in range(0x20, 0x7F) if each not in b",=")
MEMBERS_32 = b",".join(b"bar%02d=%02d" % (n, n) for n in range(1, 33))


@pytest.mark.parametrize(
    ("header", "passed_on"),
    [
        (b"foo=1", b"foo=1"),
        (b"foo=1,bar=2", b"foo=1,bar=2"),
        # Blanks around members, and empty members.
        (b"foo=1 \t , \t bar=2, \t baz=3", b"foo=1,bar=2,baz=3"),
        (b"\t foo=1 \t", b"foo=1"),
        (b"", b""),
        (b" ", b""),
        (b",", b""),
        (b"foo=1,", b"foo=1"),
        (b",foo=1", b"foo=1"),
        (b"foo=1, ,\t,bar=2", b"foo=1,bar=2"),
        # Blanks before a value are of it, those after it are not.
        (b"foo=  1  ,bar=2", b"foo=  1,bar=2"),
        # "discard duplicate keys"
        (b"foo=1,foo=1", b"foo=1"),
        (b"foo=1,bar=3,foo=2", b"foo=1,bar=3"),
        # "Key" and "Value", at their limits.
        (KEY_CHARS[:26] + KEY_CHARS[36:40] + b"=1", KEY_CHARS[:26] + KEY_CHARS[36:40] + b"=1"),
        (b"k=" + VALUE_CHARS, b"k=" + VALUE_CHARS),
        (b"z" * 256 + b"=1", b"z" * 256 + b"=1"),
        (b"k=" + b"v" * 256, b"k=" + b"v" * 256),
        (b"0a=1", b"0a=1"),
        (b"t" * 241 + b"@" + b"v" * 14 + b"=1", b"t" * 241 + b"@" + b"v" * 14 + b"=1"),
        (b"t" * 242 + b"@v=1", b"t" * 242 + b"@v=1"),
        (b"foo@=1,bar=2", b"foo@=1,bar=2"),
        (b"foo@@bar=1,bar=2", b"foo@@bar=1,bar=2"),
        (MEMBERS_32, MEMBERS_32),
        (MEMBERS_32 + b", ,", MEMBERS_32),
    ],
)
def test_a_valid_tracestate_is_passed_on(header: bytes, passed_on: bytes) -> None:
    assert state(header) == passed_on


@pytest.mark.parametrize(
    "header",
    [
        b"foo",
        b"=1",
        b"foo=",
        b"foo=,bar=3",
        b"foo=bar=baz",
        b"foo =1",
        b"FOO=1",
        b"foo.bar=1",
        b"@foo=1,bar=2",
        b"_foo=1",
        b"z" * 257 + b"=1,foo=1",
        b"foo=1,k=" + b"v" * 257,
        b"foo=1\x00",
        b"foo=\xe9",
        b"foo=a\tb",
        MEMBERS_32 + b",bar33=33",
        b"," * 300,
        b"a=1," * 3000,
        b"k=" + b"v" * 9000,
    ],
)
def test_a_tracestate_that_is_not_valid_is_dropped_whole(header: bytes) -> None:
    assert state(header) == b""


def test_large_members_of_a_long_tracestate_go_first_then_those_at_its_end() -> None:
    large = [b"large%d=" % n + b"x" * 130 for n in range(3)]
    small = [b"small%d=" % n + b"x" * 60 for n in range(6)]
    mixed = [large[0], *small[:3], large[1], *small[3:], large[2]]
    # The six small ones have 413 bytes: only one large one had to go less.
    assert state(b",".join(mixed)) == b",".join(small)
    many = [b"k%02d=" % n + b"x" * 40 for n in range(20)]
    assert state(b",".join(many)) == b",".join(many[:11])


def test_no_more_large_members_go_than_must() -> None:
    large = [b"large%d=" % n + b"x" * 130 for n in range(4)]
    assert state(b",".join([*large, b"small=1"])) == b",".join([*large[:3], b"small=1"])


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=600))
def test_whatever_comes_is_either_valid_or_nothing(parent: bytes, given_state: bytes) -> None:
    found = read(parent, given_state)
    if found is not None:
        assert read(traceparent(*found[:3]), found.tracestate) == found


HEX = st.text("0123456789abcdef")
MEMBER = st.tuples(
    st.from_regex(r"\A[a-z0-9][a-z0-9_*/@-]{0,30}\Z"),
    st.from_regex(r"\A[!-+\--<>-~]{1,200}\Z"),
).map("=".join)


@settings(deadline=None)
@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
    st.lists(MEMBER, max_size=MOST_MEMBERS),
)
def test_what_is_valid_comes_through(trace: int, span: int, flags: int, members: list[str]) -> None:
    sent = traceparent(b"%032x" % trace, b"%016x" % span, flags)
    found = read(sent, ", ".join(members).encode())
    assert found is not None
    assert (int(found.trace_id, 16), int(found.parent_id, 16)) == (trace, span)
    assert found.flags == flags & 3
    passed_on = found.tracestate.decode().split(",") if found.tracestate else []
    assert len(found.tracestate) <= MOST_STATE_BYTES
    # In order, whole members only, one of each key.
    rest = iter(members)
    assert all(any(member == each for each in rest) for member in passed_on)
    keys = [member.split("=")[0] for member in passed_on]
    assert len(set(keys)) == len(keys)
    firsts = {member.split("=")[0]: member for member in reversed(members)}
    if len(",".join(firsts.values())) <= MOST_STATE_BYTES:
        assert set(passed_on) == set(firsts.values())


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"a=1", b"b=2", b"", b" ", b"c=3"]), max_size=40))
def test_reading_again_what_was_passed_on_changes_nothing(pieces: list[bytes]) -> None:
    once = state(b",".join(pieces))
    assert state(once) == once


def test_new_ids_are_valid_and_never_the_same() -> None:
    ids = Ids()
    traces = [ids.trace_id() for _ in range(600)]
    spans = [ids.span_id() for _ in range(600)]
    assert len(set(traces)) == len(set(spans)) == 600
    for trace, span in zip(traces, spans, strict=True):
        assert read(traceparent(trace, span, 1), None) == TraceContext(trace, span, 1)


def test_the_ids_of_many_requests_at_a_time() -> None:
    many = Ids().requests()
    assert len(many) >= 250
    for trace, span, attempt in many:
        assert read(traceparent(trace, span, 0), None) is not None
        assert read(traceparent(trace, attempt, 0), None) is not None
    assert len({each for ids in many for each in ids}) == 3 * len(many)


@pytest.mark.parametrize(
    "value", [b"a=1", b"userId=alice;p=1,x=%20", b"k=" + b"v" * 8190, b",".join([b"k=1"] * 180)]
)
def test_baggage_within_its_limits_is_passed_on_as_it_is(value: bytes) -> None:
    assert baggage(value) == value


@pytest.mark.parametrize(
    "value",
    [b"", b"k=" + b"v" * 8191, b",".join([b"k=1"] * 181), b"k=\x00", b"k=\xff", b"a=1\r\nb: 2"],
)
def test_baggage_over_its_limits_is_dropped(value: bytes) -> None:
    assert baggage(value) is None


def test_the_context_of_a_start_is_the_same_for_all_who_ask() -> None:
    first = start_context("echo.production", "abc")
    assert first == start_context("echo.production", "abc")
    assert first != start_context("echo.production", "abd")
    assert first != start_context("echo.productiona", "bc")
    assert re.fullmatch("[0-9a-f]{32}", first[0])
    assert re.fullmatch("[0-9a-f]{16}", first[1])

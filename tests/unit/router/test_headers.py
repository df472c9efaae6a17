"""Which headers pass, for any headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.lifecycle.request import RequestLife
from orchestrator.router.headers import (
    CREDENTIALS,
    HOP_BY_HOP,
    NOT_TO_REPLICA,
    RequestHead,
    own_headers,
    to_caller,
)
from orchestrator.router.identity import RequestIds, sane

IDS = RequestIds()
TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12).map(str.encode)
INTERESTING = st.sampled_from(sorted(NOT_TO_REPLICA - {b"content-length"}))
NAMES = st.one_of(TOKENS, INTERESTING)
VALUES = st.binary(max_size=20).map(
    lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127)
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def _scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"headers": headers, "client": ("10.1.2.3", 5), "scheme": "http"}


def _passed(head: RequestHead) -> list[tuple[bytes, bytes]]:
    lines = head.passed.split(b"\r\n")
    assert lines.pop() == b""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


@given(HEADERS, st.lists(TOKENS, max_size=3))
def test_what_passes_to_the_replica(
    headers: list[tuple[bytes, bytes]], listed: list[bytes]
) -> None:
    headers = [*headers, (b"connection", b", ".join(listed).upper())]
    dropped = set(NOT_TO_REPLICA) | set(listed)
    for name, value in headers:
        if name == b"connection":
            dropped |= {token.strip().lower() for token in value.split(b",")}
    passed = _passed(RequestHead(_scope(headers), IDS))
    ours = passed[-5:]
    assert passed[:-5] == [header for header in headers if header[0] not in dropped]
    assert [name for name, _ in ours] == [
        b"x-request-id",
        b"x-baseten-request-id",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
    ]
    assert ours[0][1] == ours[1][1]
    assert sane(ours[0][1])


@given(HEADERS)
def test_nothing_secret_or_hop_by_hop_ever_passes(headers: list[tuple[bytes, bytes]]) -> None:
    names = {name for name, _ in _passed(RequestHead(_scope(headers), IDS))}
    assert not names & (HOP_BY_HOP | CREDENTIALS)
    assert b"\r\n\r\n" not in RequestHead(_scope(headers), IDS).passed


@given(HEADERS, st.booleans())
def test_what_passes_to_the_caller(headers: list[tuple[bytes, bytes]], bodiless: bool) -> None:
    passed = to_caller(headers, bodiless=bodiless)
    names = [name for name, _ in passed]
    assert not set(names) & HOP_BY_HOP
    assert not (bodiless and b"content-length" in names)
    assert [header for header in headers if header in passed] == passed
    for ours, _ in own_headers(RequestLife(), b"id", says_id=True):
        assert ours not in names


def test_a_listed_header_of_the_answer_goes_no_further() -> None:
    headers = [(b"connection", b"x-internal, Close"), (b"x-internal", b"1"), (b"x-kept", b"2")]
    assert to_caller(headers, bodiless=False) == [(b"x-kept", b"2")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, b"10.1.2.3"),
        (b"1.1.1.1", b"1.1.1.1, 10.1.2.3"),
        (b"1.1.1.1, 10.1.2.3", b"1.1.1.1, 10.1.2.3"),
    ],
)
def test_the_peer_is_forwarded_once(given: bytes | None, expected: bytes) -> None:
    headers = [] if given is None else [(b"x-forwarded-for", given)]
    assert dict(_passed(RequestHead(_scope(headers), IDS)))[b"x-forwarded-for"] == expected


@given(st.integers(1, 10**15 - 1), st.integers(1, 10**15 - 1))
def test_the_earlier_deadline_holds(timeout: int, deadline: int) -> None:
    head = RequestHead(
        _scope(
            [
                (b"request-timeout-ms", b"%d" % timeout),
                (b"request-deadline-ms", b"%d" % deadline),
            ]
        ),
        IDS,
    )
    found = head.deadline(now=5.0, wall_ms=1000.0)
    assert found is not None
    assert found[0] == min(5.0 + timeout / 1000, 5.0 + (deadline - 1000.0) / 1000)


@given(st.binary(max_size=30))
def test_a_deadline_is_a_number_or_refused(value: bytes) -> None:
    head = RequestHead(_scope([(b"request-timeout-ms", value)]), IDS)
    try:
        found = head.deadline(0.0, 0.0)
    except BadRequest as error:
        assert error.field == "Request-Timeout-Ms"  # noqa: PT017 - either way is right
    else:
        assert found is not None
        assert found[0] == int(value) / 1000 > 0


def test_ids_are_never_given_out_twice() -> None:
    ids = [IDS.new() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert all(len(identity) == 32 and sane(identity) for identity in ids)

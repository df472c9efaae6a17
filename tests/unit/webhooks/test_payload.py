"""What a webhook says."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.async_request import AsyncState
from orchestrator.webhooks.payload import embed, payload, timestamp
from tests.unit.webhooks.receiving import ID, record


def _data(answer: bytes, content_type: str) -> Any:
    return json.loads(payload(record(data=answer, content_type=content_type), answer))["data"]


def test_a_result_is_told_in_the_contracts_words() -> None:
    assert (
        payload(record(), b'{"a": 1}')
        == (
            f'{{"request_id":"{ID}","model_id":"echo","deployment_id":"v1",'
            '"type":"async_request_completed","time":"2026-07-01T12:00:00.250000Z",'
            '"data":{"a": 1},"errors":[]}'
        ).encode()
    )


@pytest.mark.parametrize("state", [AsyncState.FAILED, AsyncState.EXPIRED])
def test_a_failure_is_told_with_one_error_and_no_data(state: AsyncState) -> None:
    said = json.loads(payload(record(state), None))
    assert said["data"] is None
    assert said["errors"] == [{"code": "MODEL_PREDICT_ERROR", "message": "it raised"}]


def test_an_earlier_attempts_error_is_not_told_of_what_succeeded() -> None:
    failed = record(AsyncState.FAILED)
    known = msgspec.structs.replace(record(), error=failed.error)
    assert json.loads(payload(known, b"1"))["errors"] == []


@pytest.mark.parametrize(
    "answer",
    [
        b'{"b":1, "a":\t[1.0e5, 12345678901234567890123, "\\u00e9"], "a":2}',
        b"null",
        b'"text"',
        b"[]",
    ],
)
def test_json_is_embedded_byte_for_byte(answer: bytes) -> None:
    assert b'"data":' + answer + b"," in payload(record(data=answer), answer)


@pytest.mark.parametrize(
    ("answer", "content_type", "data"),
    [
        (b'{"a":1}', "application/json; charset=utf-8", {"a": 1}),
        (b'{"a":1}', "APPLICATION/JSON", {"a": 1}),
        (b'{"a":1}', "application/problem+json", {"a": 1}),
        (b'{"a":1}', "", {"a": 1}),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        (b"hello", "", "hello"),
        (b"hello", "application/json", "hello"),
        (b'{"a":NaN}', "application/json", '{"a":NaN}'),
        (b"", "application/json", ""),
        (b"", "", ""),
        ("é".encode(), "text/plain", "é"),
        ("é".encode("latin-1"), "text/plain; charset=iso-8859-1", "é"),
        ("€".encode("cp1252"), 'text/html; charset="Windows-1252"', "€"),
        (b"data: 1\n\ndata: 2\n\n", "text/event-stream", "data: 1\n\ndata: 2\n\n"),
    ],
)
def test_json_and_text_are_told_as_they_are(answer: bytes, content_type: str, data: Any) -> None:
    assert _data(answer, content_type) == data


@pytest.mark.parametrize(
    ("answer", "content_type"),
    [
        (b"\x89PNG\r\n", "image/png"),
        (b'{"a":"\xff"}', "application/json"),
        (b"\xff", ""),
        (b"\xff", "text/plain"),
        (b"\xff", "text/plain; charset=utf-8"),
        (b"abc", "text/plain; charset=utf-7"),
        (b"abc", "text/plain; charset=unicode_escape"),
        (b"abc", "application/octet-stream"),
    ],
)
def test_anything_else_is_told_in_base64(answer: bytes, content_type: str) -> None:
    expected = {"content_type": content_type, "base64": base64.b64encode(answer).decode()}
    assert _data(answer, content_type) == expected


def test_json_that_is_too_deep_for_anybody_is_told_as_text() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert _data(deep.encode(), "application/json") == deep


@given(st.binary(max_size=200), st.sampled_from(["", "application/json", "text/plain", "a/b"]))
def test_whatever_a_model_answers_the_payload_is_json_and_always_the_same(
    answer: bytes, content_type: str
) -> None:
    known = record(data=answer, content_type=content_type)
    said = payload(known, answer)
    json.loads(said)
    assert payload(known, answer) == said


FLAT = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(
    st.recursive(
        FLAT, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )
)
def test_any_json_comes_through(value: Any) -> None:
    answer = json.dumps(value, ensure_ascii=False).encode()
    assert json.loads(msgspec.json.encode(embed(answer, "application/json"))) == value


@given(st.floats(0, 4e9))
def test_times_have_microseconds_and_a_z(seconds: float) -> None:
    text = timestamp(seconds)
    assert len(text) == len("2026-07-01T12:00:00.250000Z")
    assert datetime.fromisoformat(text).timestamp() == pytest.approx(seconds, abs=1e-6)

"""What may be submitted, what is stored of it, and what is refused with which words."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.async_request import AttemptRules
from orchestrator.lifecycle.errors import BadRequest
from orchestrator.router.endpoint import Endpoint
from orchestrator.router.submission import read_body, submission
from orchestrator.router.table import Asynchronous, Environment
from orchestrator.store.keys import tag_of, tag_of_id
from orchestrator.store.records import Bounds
from tests.unit.router.harness import Slots

if TYPE_CHECKING:
    from orchestrator.store.records import Submission

INPUT = b'{"text":  "gr\xc3\xbc\xc3\x9f dich", "n": 1e400}'


def _endpoint(**settings: Any) -> Endpoint:
    environment = Environment("echo.production", "v7", **settings)
    return Endpoint("echo", "production", environment, Slots())


def _submitted(body: bytes, *headers: tuple[bytes, bytes], key: str = "alice") -> Submission:
    return submission(_endpoint(), read_body(body), body, list(headers), key)


async def test_the_defaults_are_those_of_the_contract() -> None:
    made = _submitted(b'{"model_input": %b}' % INPUT)
    assert made.input == INPUT  # byte by byte: nobody parsed it
    assert tag_of_id(made.request_id) == tag_of("echo", "production")
    assert (made.model, made.environment, made.deployment) == ("echo", "production", "v7")
    assert made.key == "alice"
    assert made.priority == 0
    assert made.max_queue_s == 600.0
    assert made.rules == AttemptRules(max_attempts=3, initial_delay_s=1.0, max_delay_s=5.0)
    assert made.webhook is None
    assert made.idempotency is None
    assert (made.traceparent, made.tracestate) == ("", "")


async def test_everything_that_may_be_said_is_stored() -> None:
    body = {
        "model_input": {},
        "webhook_endpoint": "https://example.com/hook",
        "priority": 2,
        "max_time_in_queue_seconds": 259_200,
        "inference_retry_config": {
            "max_attempts": 10,
            "initial_delay_ms": 10_000,
            "max_delay_ms": 60_000,
        },
    }
    given = json.dumps(body).encode()
    made = submission(_endpoint(), read_body(given), given, [], "", ("00-a-b-01", "x=1"))
    assert made.webhook == "https://example.com/hook"
    assert made.priority == 2
    assert made.max_queue_s == 259_200.0
    assert made.rules == AttemptRules(max_attempts=10, initial_delay_s=10.0, max_delay_s=60.0)
    assert (made.traceparent, made.tracestate) == ("00-a-b-01", "x=1")


async def test_the_environments_bounds_and_aging_go_with_it() -> None:
    endpoint = _endpoint(
        asynchronous=Asynchronous(max_requests=7, max_bytes=8, max_requests_per_key=9, aging_s=10.0)
    )
    body = b'{"model_input": {}}'
    made = submission(endpoint, read_body(body), body, [], "")
    assert made.bounds == Bounds(7, 8, 9)
    assert made.aging_s == 10.0


@pytest.mark.parametrize("field", ["webhook_endpoint", "inference_retry_config"])
def test_null_is_as_if_it_were_not_there(field: str) -> None:
    assert read_body(b'{"model_input": {}, "%b": null}' % field.encode()) is not None


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ("{}", "model_input", "a JSON object is needed, and it is missing"),
        ('{"model_input": [1]}', "model_input", "a JSON object is needed, not [1]"),
        ('{"model_input": null}', "model_input", "a JSON object is needed, not null"),
        ('{"model_input": "{}"}', "model_input", 'a JSON object is needed, not "{}"'),
        ("[]", "body", "a JSON object is needed, not []"),
        ('"text"', "body", 'a JSON object is needed, not "text"'),
        (
            '{"model_input": {}, "model_inputs": {}}',
            "model_inputs",
            (
                "there is no such field; possible: model_input, webhook_endpoint, priority,"
                " max_time_in_queue_seconds, inference_retry_config"
            ),
        ),
        (
            '{"model_input": {}, "inference_retry_config": {"attempts": 1}}',
            "inference_retry_config.attempts",
            "there is no such field; possible: max_attempts, initial_delay_ms, max_delay_ms",
        ),
        (
            '{"model_input": {}, "webhook_endpoint": 5}',
            "webhook_endpoint",
            "an https URL or null is needed, not 5",
        ),
        (
            '{"model_input": {}, "priority": 3}',
            "priority",
            "a whole number from 0 to 2 is needed, not 3",
        ),
        (
            '{"model_input": {}, "priority": -1}',
            "priority",
            "a whole number from 0 to 2 is needed, not -1",
        ),
        (
            '{"model_input": {}, "priority": true}',
            "priority",
            "a whole number from 0 to 2 is needed, not true",
        ),
        (
            '{"model_input": {}, "priority": null}',
            "priority",
            "a whole number from 0 to 2 is needed, not null",
        ),
        (
            '{"model_input": {}, "priority": "1"}',
            "priority",
            'a whole number from 0 to 2 is needed, not "1"',
        ),
        (
            '{"model_input": {}, "max_time_in_queue_seconds": 9}',
            "max_time_in_queue_seconds",
            "a whole number from 10 to 259200 is needed, not 9",
        ),
        (
            '{"model_input": {}, "max_time_in_queue_seconds": 259201}',
            "max_time_in_queue_seconds",
            "a whole number from 10 to 259200 is needed, not 259201",
        ),
        (
            '{"model_input": {}, "max_time_in_queue_seconds": 60.5}',
            "max_time_in_queue_seconds",
            "a whole number from 10 to 259200 is needed, not 60.5",
        ),
        (
            '{"model_input": {}, "inference_retry_config": []}',
            "inference_retry_config",
            "a JSON object or null is needed, not []",
        ),
        (
            '{"model_input": {}, "inference_retry_config": {"max_attempts": 0}}',
            "inference_retry_config.max_attempts",
            "a whole number from 1 to 10 is needed, not 0",
        ),
        (
            '{"model_input": {}, "inference_retry_config": {"max_attempts": 11}}',
            "inference_retry_config.max_attempts",
            "a whole number from 1 to 10 is needed, not 11",
        ),
        (
            '{"model_input": {}, "inference_retry_config": {"initial_delay_ms": 10001}}',
            "inference_retry_config.initial_delay_ms",
            "a whole number from 0 to 10000 is needed, not 10001",
        ),
        (
            '{"model_input": {}, "inference_retry_config": {"max_delay_ms": 60001}}',
            "inference_retry_config.max_delay_ms",
            "a whole number from 0 to 60000 is needed, not 60001",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_rule(body: str, field: str, rule: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_body(body.encode())
    assert (caught.value.field, caught.value.rule) == (field, rule)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model_input": {"a": nope}}',
        b'{"model_input": {"a": NaN}}',
        b'{"model_input": {"a": "\xff"}}',
        b'{"model_input": {"a": "\\ud800"}}',
        b'{"model_input": {}} and more',
        b'{"model_input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(BadRequest, match="it is not valid JSON") as caught:
        read_body(body)
    assert caught.value.field == "body"
    assert len(str(caught.value)) < 200


def test_what_is_repeated_to_the_caller_is_short() -> None:
    with pytest.raises(BadRequest) as caught:
        read_body(json.dumps({"model_input": {}, "priority": "x" * 10_000}).encode())
    assert len(str(caught.value)) < 200
    with pytest.raises(BadRequest) as caught:
        read_body(json.dumps({"model_input": {}, "x" * 10_000: 1}).encode())
    assert len(str(caught.value)) < 300


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "model_input",
        "webhook_endpoint",
        "priority",
        "max_time_in_queue_seconds",
        "inference_retry_config",
        "other",
    ]
)


@given(st.dictionaries(FIELDS, ANY_JSON))
def test_any_json_is_read_or_refused_by_name(body: dict[str, Any]) -> None:
    refused = None
    try:
        read = read_body(json.dumps(body).encode())
    except BadRequest as error:
        refused = error.field.partition(".")[0]
    if refused is not None:
        assert refused in {*body, "model_input"}
    else:
        assert json.loads(bytes(read.model_input)) == body["model_input"]
        assert set(body) <= set(read.__struct_fields__)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        read_body(body)


BODY = b'{"model_input": {}}'


def _with_key(*values: bytes, key: str = "alice", body: bytes = BODY) -> Any:
    return _submitted(body, *((b"idempotency-key", value) for value in values), key=key).idempotency


async def test_an_idempotency_key_is_its_owners() -> None:
    same = _with_key(b"one")
    assert _with_key(b"one") == same
    assert _with_key(b"two")[0] != same[0]
    assert _with_key(b"one", key="bob")[0] != same[0]
    assert _with_key(b"one", key="")[0] != same[0]
    assert _with_key(b"one", body=BODY + b" ") == (same[0], _with_key(b"x", body=BODY + b" ")[1])
    assert all(len(digest) == 64 for digest in same)


async def test_a_key_and_an_owner_cannot_be_taken_for_another_pair() -> None:
    assert _with_key(b"b", key="a")[0] != _with_key(b"ab", key="")[0]


@pytest.mark.parametrize(
    "values", [(b"",), (b"a b",), (b"\xe9",), (b"x" * 256,), (b"a", b"a"), (b"a\tb",)]
)
async def test_an_idempotency_key_that_is_none_is_named(values: tuple[bytes, ...]) -> None:
    with pytest.raises(BadRequest, match="1 to 255 visible ASCII characters") as caught:
        _with_key(*values)
    assert caught.value.field == "Idempotency-Key"


async def test_the_longest_idempotency_key() -> None:
    assert _with_key(b"~" * 255) is not None

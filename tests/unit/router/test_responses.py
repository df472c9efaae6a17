"""Every error has a place in HTTP, and a body that tells its facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.router.responses import ErrorCode, Shape, error_answer, error_body, status_of
from tests.unit.lifecycle.test_errors import EXAMPLES

if TYPE_CHECKING:
    from orchestrator.lifecycle import errors


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("shape", list(Shape))
def test_every_error_can_be_told(error: errors.RequestError, shape: Shape) -> None:
    status, code = status_of(error)
    assert 400 <= status < 600
    assert (status, code) != (500, ErrorCode.INTERNAL_ERROR)
    body = json.loads(error_body(error, b"id", shape))
    told = body["error"] if shape is Shape.OPENAI else body
    assert told["request_id"] == "id"
    assert str(error) in (told.get("message"), told.get("error"))
    if status in (429, 503, 529):
        headers = dict(error_answer(error, b"id", shape).headers)
        assert int(headers[b"retry-after"]) >= 1


def test_what_nobody_foresaw_is_an_internal_error() -> None:
    assert status_of(ValueError("x")) == (500, ErrorCode.INTERNAL_ERROR)
    assert b"secret" not in error_body(ValueError("secret"), b"id")

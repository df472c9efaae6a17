"""The shapes that the example models share with OpenAI's API."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from replicas import InvalidInput


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """`body` as a JSON response."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def model_list(name: str) -> Response:
    """The answer of `GET /v1/models` of a server with one model."""
    model = {"id": name, "object": "model", "created": 0, "owned_by": "replicas"}
    return json_response({"object": "list", "data": [model]})


def invalid_field(field: str, wanted: str) -> InvalidInput:
    """The refusal of one field, to be raised; `wanted` completes "must be"."""
    return InvalidInput(f"`{field}` must be {wanted}", detail={"param": field})


def refusal(error: InvalidInput | msgspec.DecodeError) -> Response:
    """A 400 in OpenAI's error shape."""
    if isinstance(error, InvalidInput):
        message, param = error.message, error.detail.get("param")
    else:
        message, param = f"the body is not JSON: {error}", None
    kind = "invalid_request_error"
    body = {"message": message, "type": kind, "param": param, "code": None}
    return json_response({"error": body}, 400)

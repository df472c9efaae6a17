"""What a replica writes: JSON values and the error body of the HTTP contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

Headers = Iterable[tuple[bytes, bytes]]


def _unknown(value: Any) -> Any:
    """Values that are not JSON themselves but say how they would be.

    Covers numpy, torch and pandas (`tolist`) and pydantic (`model_dump`).
    """
    for method in ("tolist", "model_dump"):
        convert = getattr(value, method, None)
        if convert is not None:
            return convert()
    raise TypeError(f"a value of type {type(value).__qualname__} cannot be written as JSON")


decode = msgspec.json.Decoder().decode
"""Bytes of one JSON value to plain Python objects; raises msgspec.DecodeError."""

encode = msgspec.json.Encoder(enc_hook=_unknown).encode
"""A value to bytes of JSON; raises TypeError for what is not JSON."""


def request_id(headers: Headers) -> str:
    """The id that came with the request, or a new one."""
    wanted = (b"x-request-id", b"x-baseten-request-id")
    given = next((value for name, value in headers if name in wanted and value), None)
    return given.decode("latin-1") if given else uuid.uuid4().hex


def error_body(
    headers: Headers, message: str, code: str, detail: Mapping[str, Any] | None = None
) -> bytes:
    """The contract's error body, as JSON; `headers` are the request's."""
    return encode(
        {
            "error": message,
            "error_code": code,
            "detail": detail or {},
            "request_id": request_id(headers),
        }
    )

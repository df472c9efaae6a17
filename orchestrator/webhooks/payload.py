"""What a webhook says: the contract's JSON, with the model's answer embedded as it came."""

from __future__ import annotations

import base64
import contextlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.async_request import AsyncState

if TYPE_CHECKING:
    from orchestrator.store.records import Record

TYPE: Final = "async_request_completed"

_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_CHARSETS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "iso-8859-1": "latin-1",
    "windows-1252": "cp1252",
}
"""Those in use, and none of the other things that Python calls an encoding."""


def payload(record: Record, data: bytes | None) -> bytes:
    """The body of a request's webhook: the same bytes at every try.

    Args:
        record: the request, ended.
        data: the model's answer, where it succeeded.
    """
    succeeded = record.state is AsyncState.SUCCEEDED
    content_type = record.result.content_type if record.result is not None else ""
    error = None if succeeded else record.error
    return msgspec.json.encode(
        {
            "request_id": record.request_id,
            "model_id": record.model,
            "deployment_id": record.deployment,
            "type": TYPE,
            "time": timestamp(record.status_at),
            "data": embed(data, content_type) if succeeded and data is not None else None,
            "errors": [] if error is None else [{"code": error.code, "message": error.message}],
        }
    )


def timestamp(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC with microseconds: `2026-07-01T12:00:00.000000Z`."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def embed(data: bytes, content_type: str) -> Any:
    """A model's answer as a part of a JSON document, for msgspec to encode.

    JSON stays the bytes that it is; text becomes a string; anything else, and text that
    is not what it says it is, becomes `{"content_type", "base64"}`. An answer without a
    content type is taken for JSON if it is JSON, and for text if it is UTF-8.
    """
    kind, charset = _parsed(content_type)
    if kind in ("", "application/json") or kind.endswith("+json"):
        embedded = _json(data)
        if embedded is not None:
            return embedded
        kind, charset = "text/plain", "utf-8"
    if kind.startswith("text/") and charset:
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(charset)
    return {"content_type": content_type, "base64": base64.b64encode(data).decode("ascii")}


def _json(data: bytes) -> msgspec.Raw | None:
    try:
        data.decode()  # `Raw` looks at the grammar and not into the strings
        return msgspec.json.decode(data, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None


def _parsed(content_type: str) -> tuple[str, str]:
    """Media type in lower case, empty for none, and Python's name of the charset."""
    charset = _CHARSET.search(content_type)
    name = charset[1].lower() if charset is not None else "utf-8"
    return content_type.partition(";")[0].strip().lower(), _CHARSETS.get(name, "")

"""The shared host: `/v1/...`, routed by the body's `model`.

Only that field is looked at; the body goes to the replica as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.router.directory import PRODUCTION

if TYPE_CHECKING:
    from orchestrator.router.auth import Reach
    from orchestrator.router.directory import Directory

MODELS_PATH: Final = b"/v1/models"
OPERATIONS: Final = {
    b"/v1/chat/completions": "chat",
    b"/v1/completions": "text_completion",
    b"/v1/embeddings": "embeddings",
    b"/v1/responses": "chat",
    b"/v1/messages": "chat",
}
"""What is asked for at a path, by OpenTelemetry's names (`gen_ai.operation.name`)."""

PATHS: Final = frozenset(OPERATIONS)

_SHARED: Final = b"/v1/"
_OF_A_REPLICA: Final = b"/sync/v1/"


class _Body(msgspec.Struct):
    model: str


class _Usage(msgspec.Struct):
    """Under the names of either of OpenAI's APIs."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decoder: Final = msgspec.json.Decoder(_Body)
_usage_decoder: Final = msgspec.json.Decoder(_Answer)


def is_spoken_at(path: bytes) -> bool:
    """Whether clients of OpenAI's API ask at this address: shared, or a replica's own `/v1`."""
    return path.startswith(_SHARED) or _OF_A_REPLICA in path


def model_named(body: bytes) -> str:
    """The `model` of a body.

    Raises:
        BadRequest: it is not a JSON object, or has no such field.
    """
    try:
        return _decoder.decode(body).model
    except msgspec.ValidationError as error:
        raise BadRequest("model", f"a model's name is needed ({_lowered(error)})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest("body", f"it is not valid JSON ({_lowered(error)})") from None


def tokens_of(answer: bytes) -> tuple[int | None, int | None]:
    """Input and output tokens, as the `usage` of a whole answer says; None: it does not."""
    try:
        usage = _usage_decoder.decode(answer).usage
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, None
    if usage is None:
        return None, None
    given = usage.prompt_tokens if usage.input_tokens is None else usage.input_tokens
    made = usage.completion_tokens if usage.output_tokens is None else usage.output_tokens
    return given, made


def list_models(directory: Directory, reach: Reach) -> dict[str, Any]:
    """The answer to `GET /v1/models`: every name that `model` may have for this caller."""
    names = [
        model if environment == PRODUCTION else f"{model}/{environment}"
        for model in directory.models(reach)
        for environment in directory.environments(model, reach)
    ]
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "orchestrator"}
            for name in names
        ],
    }


def _lowered(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]

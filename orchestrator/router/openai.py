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
PATHS: Final = frozenset(
    {
        b"/v1/chat/completions",
        b"/v1/completions",
        b"/v1/embeddings",
        b"/v1/responses",
        b"/v1/messages",
    }
)

_SHARED: Final = b"/v1/"
_OF_A_REPLICA: Final = b"/sync/v1/"


class _Body(msgspec.Struct):
    model: str


_decoder: Final = msgspec.json.Decoder(_Body)


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

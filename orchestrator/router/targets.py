"""Addresses: which model, environment and action a path and a host name.

Path-mounted, `/models/{m}/{target}/{action}`; host-mounted, `/{target}/{action}`
on `Host: model-{m}.<any domain>`. `{target}` is `production`, `development`,
`environments/{env}` or `deployment/{id}`. Paths are raw bytes, as they came: what
follows `sync` goes to the replica without being decoded.

An asynchronous request has the address `/async_request/{id}`. It may be mounted on
a model, or on a target as well: whoever has such a base address appends to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_to_bytes

MODELS_PREFIX: Final = b"/models/"
_HOST_PREFIX: Final = b"model-"
_ASYNC_REQUEST: Final = b"/async_request/"
_NAMED_ENVIRONMENTS: Final = (b"production", b"development")


class Action(StrEnum):
    """What is asked of a target."""

    PREDICT = "predict"
    WAKE = "wake"
    SYNC = "sync"
    ASYNC_PREDICT = "async_predict"
    ASYNC_QUEUE_STATUS = "async_queue_status"
    ASYNC_REQUESTS = "async_requests"
    ASYNC_REQUEST = "async_request"


_ACTIONS: Final = {
    action.encode(): action for action in Action if action is not Action.ASYNC_REQUEST
}


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a model and what is asked of it.

    Attributes:
        environment: its name; None where the path names a deployment.
        deployment: its name; None where the path names an environment.
        action: what is asked.
        rest: for `SYNC` the path on the replica, from its first slash on, raw; for
            `ASYNC_REQUEST` the request's id, raw; empty otherwise.
    """

    environment: str | None
    deployment: str | None
    action: Action
    rest: bytes = b""


def split_model(path: bytes) -> tuple[str, bytes] | None:
    """The model and the rest of a path-mounted address.

    `/models/echo/production/predict` gives `("echo", b"/production/predict")`;
    None for a path that is not of that form.
    """
    if not path.startswith(MODELS_PREFIX):
        return None
    name, slash, rest = path[len(MODELS_PREFIX) :].partition(b"/")
    if not slash or not name:
        return None
    return _name(name), slash + rest


def model_of_host(host: bytes) -> str | None:
    """The model that a Host header names: `model-echo.example.org:8000` is `echo`."""
    label, dot, domain = host.lower().partition(b".")
    if not dot or not domain or not label.startswith(_HOST_PREFIX):
        return None
    name = label[len(_HOST_PREFIX) :]
    return name.decode("latin-1") or None


def parse_target(rest: bytes) -> Target | None:
    """Reads what follows the model: `/production/predict`. None: no such form."""
    parts = rest.split(b"/", 3)
    if len(parts) < 3 or parts[0]:
        return None
    kind = parts[1]
    environment: str | None = None
    deployment: str | None = None
    if kind in _NAMED_ENVIRONMENTS:
        environment = kind.decode("ascii")
        asked = rest[len(kind) + 2 :]
    elif kind in (b"environments", b"deployment") and len(parts) == 4 and parts[2]:
        name = _name(parts[2])
        environment, deployment = (name, None) if kind == b"environments" else (None, name)
        asked = parts[3]
    else:
        return None
    action = _ACTIONS.get(asked)
    if action is not None:
        return Target(environment, deployment, action, b"/" if action is Action.SYNC else b"")
    if asked.startswith(b"sync/"):
        return Target(environment, deployment, Action.SYNC, asked[4:])
    request_id = async_request_at(b"/" + asked)
    if request_id is not None:
        return Target(environment, deployment, Action.ASYNC_REQUEST, request_id)
    return None


def async_request_at(rest: bytes) -> bytes | None:
    """The id in `/async_request/{id}`, raw. None: no such form."""
    request_id = rest.removeprefix(_ASYNC_REQUEST)
    if request_id == rest or not request_id or b"/" in request_id:
        return None
    return request_id


def _name(segment: bytes) -> str:
    """A path segment as a name. Bytes that are not UTF-8 match no name, whatever they become."""
    return unquote_to_bytes(segment).decode("utf-8", "replace")

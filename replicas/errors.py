"""What can go wrong in a replica, by the level at which it is caught.

InvalidInput   raised by a model: the caller's fault, answered with 422
ReplicaError
├── SpecError    the replica was told something that it cannot do
├── StartFailed  the model or its server did not become ready
└── Unhealthy    it was ready, and a health check failed
"""

from __future__ import annotations

from typing import Any


class InvalidInput(Exception):  # noqa: N818 - reads as what a model says about its input
    """Raised by a model's `predict` to refuse an input that is well-formed JSON.

    Attributes:
        message: one sentence for the caller, naming what was wrong.
        detail: JSON-able facts for the caller; ends up in the error body's `detail`.
    """

    def __init__(self, message: str, *, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail or {}


class ReplicaError(Exception):
    """Anything that keeps a replica from serving."""


class SpecError(ReplicaError):
    """The replica's specification asks for something impossible; names the field."""


class StartFailed(ReplicaError):  # noqa: N818 - named after the event that it reports
    """A replica did not become ready.

    Attributes:
        reason: one sentence.
        log_tail: the last lines that say more, oldest first.
    """

    def __init__(self, reason: str, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.log_tail = log_tail


class Unhealthy(ReplicaError):  # noqa: N818 - named after the state that it reports
    """One health check failed; the message says how."""

"""A sender for tests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from orchestrator.webhooks.receivers import ReceiverPolicy
from orchestrator.webhooks.sender import Sender, Sent
from tests.unit.webhooks.receiving import delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
BODY = b'{"request_id":"r1"}'
LOOPBACK = ReceiverPolicy(allow_http=True, allowed_networks=["127.0.0.0/8"])
PUBLIC = "93.184.215.14"


@contextlib.asynccontextmanager
async def sending(
    policy: ReceiverPolicy = LOOPBACK, timeout_s: float = 10.0, **settings: Any
) -> AsyncIterator[Callable[..., Any]]:
    made = Sender(policy, timeout_s=timeout_s, **settings)

    async def send(url: str, body: bytes = BODY, secrets: Sequence[str] = (SECRET,)) -> Sent:
        return await made.send(delivery(url, attempt=3), body, secrets)

    try:
        yield send
    finally:
        await made.close()


def named(
    *answers: Sequence[str] | Exception, allowed: Sequence[str] = ("127.0.0.0/8",)
) -> ReceiverPolicy:
    """A policy for which every name resolves to these, one look after the other."""
    left = list(answers)

    async def look(_host: str, _port: int) -> Sequence[str]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ReceiverPolicy(allow_http=True, allowed_networks=allowed, lookup=look)

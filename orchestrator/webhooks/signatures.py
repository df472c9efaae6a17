"""How webhooks are signed: by the rule of `X-BASETEN-SIGNATURE`, and as Standard Webhooks.

Both are made with every active key, so that during a rotation a receiver that
knows the old or the new key finds a signature that it can verify. The two rules
read a secret differently: the first takes the text `whsec_…` itself for its key,
the second the bytes that its base64 stands for.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from standardwebhooks import Webhook, WebhookVerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.store.records import SigningKey

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
BASETEN_ID_HEADER: Final = "X-BASETEN-REQUEST-ID"
BASETEN_SIGNATURE_HEADER: Final = "X-BASETEN-SIGNATURE"

KEYS_KEPT_S: Final = 2.0
"""How old what is known of the keys may be: for so long a new or a deleted one goes unnoticed."""


def headers(secrets: Sequence[str], request_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that go with a webhook; without secrets, it is not signed.

    Args:
        secrets: of the active keys, `whsec_…`, newest first.
        request_id: also the webhook's id.
        at: when it is sent, Unix seconds; receivers refuse what is over 5 minutes old.
        body: UTF-8.
    """
    made = {BASETEN_ID_HEADER: request_id, ID_HEADER: request_id, TIMESTAMP_HEADER: str(at)}
    if secrets:
        moment, text = datetime.fromtimestamp(at, UTC), body.decode()
        standard = (Webhook(secret).sign(request_id, moment, text) for secret in secrets)
        made[BASETEN_SIGNATURE_HEADER] = ",".join(_baseten(secret, body) for secret in secrets)
        made[SIGNATURE_HEADER] = " ".join(standard)
    return made


def _baseten(secret: str, body: bytes) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify_baseten(secrets: Sequence[str], given: Mapping[str, str], body: bytes) -> bool | None:
    """Whether `X-BASETEN-SIGNATURE` fits one of the secrets; None: there is none.

    Args:
        secrets: `whsec_…`.
        given: the headers, in any mapping that does not mind their case.
        body: as received.
    """
    line = given.get(BASETEN_SIGNATURE_HEADER)
    if line is None:
        return None
    signatures = [part.strip().encode() for part in line.split(",")]
    expected = [_baseten(secret, body).encode() for secret in secrets]
    return any(hmac.compare_digest(one, other) for one in signatures for other in expected)


def verify_standard(secrets: Sequence[str], given: Mapping[str, str], body: bytes) -> bool | None:
    """Whether `webhook-signature` fits one of the secrets; None: there is none.

    As the `standardwebhooks` library sees it, which also refuses what is over 5 minutes
    old. Arguments as in `verify_baseten`.
    """
    if SIGNATURE_HEADER not in given:
        return None
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(given), json_parse=False)
        except (WebhookVerificationError, ValueError):
            continue
        return True
    return False


class SigningKeys(Protocol):
    """Where the keys are (see `orchestrator.store`)."""

    async def active(self) -> list[SigningKey]:
        """The active keys with their secrets, newest first."""


class Secrets:
    """The active keys' secrets, as known at most `KEYS_KEPT_S` ago."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys
        self._secrets: tuple[str, ...] = ()
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def current(self) -> tuple[str, ...]:
        """Newest first; empty: webhooks are not signed.

        Raises:
            StoreUnreachable: they are not known.
        """
        async with self._asking:
            now = time.monotonic()
            if now >= self._until:
                active = await self._keys.active()
                self._secrets = tuple(key.secret for key in active if key.secret is not None)
                self._until = now + KEYS_KEPT_S
            return self._secrets

    def __repr__(self) -> str:
        """Without the secrets: this may get into a log."""
        return f"Secrets({len(self._secrets)})"

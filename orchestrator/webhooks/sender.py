"""One try to deliver a webhook: a POST to an address that was checked, and what came of it."""

from __future__ import annotations

import asyncio
import io
import os
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.lifecycle.webhook import Verdict, retry_after_s, verdict_of
from orchestrator.store.records import Try
from orchestrator.webhooks import signatures
from orchestrator.webhooks.receivers import NameLookupError, connector
from orchestrator.webhooks.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yarl import URL

    from orchestrator.store.records import Delivery
    from orchestrator.webhooks.receivers import ReceiverPolicy

TIMEOUT_S: Final = 10.0

ANSWER_BYTES: Final = 512
"""How much of an answer is read, and kept in the delivery log."""

ANSWER_S: Final = 1.0
"""How long that may take once the status is there, which alone decides."""

IN_ONE_PIECE_BYTES: Final = 64 * 1024
"""Bodies over this size are written piece by piece, and others have their turn in between."""

IN_A_THREAD_BYTES: Final = 256 * 1024
"""Bodies over this size are signed in a thread: hashing them four times takes a while."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a try.

    Attributes:
        line: for the delivery log.
        verdict: what it means for the webhook.
        alive: whether the receiver works; None: nothing was learnt about it.
        asked_s: seconds that the receiver wants to be left alone.
    """

    line: Try
    verdict: Verdict
    alive: bool | None = None
    asked_s: float | None = None


class Sender:
    """Sends webhooks. Create it on the event loop that uses it, and close it there.

    Args:
        policy: who may receive them.
        timeout_s: bound of one try, from looking up the name to the answer's status.
        context: for TLS; by default, certificates are checked as the machine does
            (OpenSSL's `SSL_CERT_FILE` and `SSL_CERT_DIR` may name other authorities).
    """

    def __init__(
        self,
        policy: ReceiverPolicy,
        *,
        timeout_s: float = TIMEOUT_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._session = aiohttp.ClientSession(
            connector=connector(policy, context or ssl.create_default_context()),
            timeout=aiohttp.ClientTimeout(total=None),  # ours bounds the whole
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a small answer may unpack to a large one
            trust_env=False,  # no proxy: it would resolve names without asking the policy
            headers={
                "User-Agent": "orchestrator",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    @property
    def timeout_s(self) -> float:
        """Bound of one try, in seconds."""
        return self._timeout_s

    async def send(
        self,
        delivery: Delivery,
        body: bytes,
        secrets: Sequence[str],
        headers: Mapping[str, str] | None = None,
    ) -> Sent:
        """Makes one try; whatever goes wrong with it is told and not raised.

        Args:
            delivery: what is due.
            body: see `orchestrator.webhooks.payload`.
            secrets: of the active keys, newest first.
            headers: more of them, for the trace; they are not signed.
        """
        at, began, answer = time.time(), time.monotonic(), _Answer()
        error = ""
        try:
            url = self._policy.check_url(delivery.url).url
        except BadRequest as refusal:
            # What is allowed has changed since the request was accepted: to try again is no use.
            return Sent(Try(at=at, attempt=delivery.attempt, error=refusal.rule), Verdict.STOP)
        signed = await _signed(secrets, delivery.request_id, int(at), body)
        try:
            await self._post(url, body, {**(headers or {}), **signed}, answer)
        except (TimeoutError, aiohttp.ClientError, OSError, BadRequest) as failure:
            if answer.status is None:
                error = self._sentence(failure)
        line = Try(
            at=at,
            attempt=delivery.attempt,
            status=answer.status,
            seconds=round(time.monotonic() - began, 6),
            answer=answer.text,
            error=error,
        )
        verdict = verdict_of(answer.status)
        asked_s = retry_after_s(answer.retry_after, time.time())
        return Sent(line, verdict, verdict is not Verdict.RETRY, asked_s)

    async def close(self) -> None:
        """Ends it, and what is being sent."""
        await self._session.close()

    async def _post(self, url: URL, body: bytes, given: dict[str, str], answer: _Answer) -> None:
        data = body if len(body) <= IN_ONE_PIECE_BYTES else io.BytesIO(body)
        async with asyncio.timeout(self._timeout_s) as limit:
            async with self._session.post(
                url, data=data, headers=given, allow_redirects=False
            ) as response:
                answer.status = response.status
                answer.retry_after = response.headers.get("Retry-After")
                limit.reschedule(asyncio.get_running_loop().time() + ANSWER_S)
                while len(answer.body) < ANSWER_BYTES:
                    chunk = await response.content.read(ANSWER_BYTES - len(answer.body))
                    if not chunk:
                        break
                    answer.body += chunk

    def _sentence(self, failure: Exception) -> str:  # noqa: PLR0911 - one case a line
        """Why there was no answer; without addresses, which are not the caller's to learn."""
        match failure:
            case TimeoutError():
                return f"no answer within {self._timeout_s:g} s"
            case BadRequest():
                return failure.rule
            case aiohttp.ClientConnectorCertificateError():
                reason = getattr(failure.certificate_error, "verify_message", "")
                return f"the certificate is not valid: {reason}"
            case aiohttp.ClientSSLError():
                return "the TLS handshake failed"
            case aiohttp.ClientConnectorError(os_error=NameLookupError()):
                return str(failure.os_error)
            case aiohttp.ClientConnectorError():
                number = failure.os_error.errno
                return f"no connection: {os.strerror(number)}" if number else "no connection"
            case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
                return "the answer is not HTTP"
            case _:
                return "the connection ended before an answer came"


@dataclass(slots=True)
class _Answer:
    """What has come so far."""

    status: int | None = None
    retry_after: str | None = None
    body: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return harmless(self.body.decode(errors="replace"))


async def _signed(secrets: Sequence[str], request_id: str, at: int, body: bytes) -> dict[str, str]:
    if len(body) <= IN_A_THREAD_BYTES:
        return signatures.headers(secrets, request_id, at, body)
    return await asyncio.to_thread(signatures.headers, secrets, request_id, at, body)

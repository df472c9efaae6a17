"""Signatures, as receivers verify them: by two libraries, and by hand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import time
from typing import TYPE_CHECKING

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store.records import SigningKey
from orchestrator.webhooks import signatures
from orchestrator.webhooks.signatures import Secrets, headers, verify_baseten, verify_standard

if TYPE_CHECKING:
    from collections.abc import Sequence

BODY = '{"request_id":"r1","data":"é"}'.encode()


def _secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


OLD, NEW, OTHER = _secret(), _secret(), _secret()


def _sign(secrets: Sequence[str], body: bytes = BODY, at: float | None = None) -> dict[str, str]:
    return headers(secrets, "r1", int(time.time() if at is None else at), body)


@pytest.mark.parametrize("secrets", [[NEW], [NEW, OLD], [OLD, NEW]], ids=["one", "two", "turned"])
def test_every_active_key_verifies_by_every_rule(secrets: list[str]) -> None:
    signed = _sign(secrets)
    for secret in secrets:
        standardwebhooks.Webhook(secret).verify(BODY, signed)
        svix.webhooks.Webhook(secret).verify(BODY, signed)
        # As the documentation of `X-BASETEN-SIGNATURE` has it.
        expected = hmac.digest(secret.encode("utf-8"), BODY, hashlib.sha256).hex()
        found = [part.removeprefix("v1=") for part in signed["X-BASETEN-SIGNATURE"].split(",")]
        assert expected in found


def test_one_signature_for_each_active_key() -> None:
    signed = _sign([NEW, OLD])
    assert len(signed["X-BASETEN-SIGNATURE"].split(",")) == 2
    assert len(signed["webhook-signature"].split(" ")) == 2
    assert signed["webhook-id"] == signed["X-BASETEN-REQUEST-ID"] == "r1"


def test_a_key_that_is_not_active_verifies_nothing() -> None:
    signed = _sign([NEW, OLD])
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(BODY, signed)
    assert verify_standard([OTHER], signed, BODY) is False
    assert verify_baseten([OTHER], signed, BODY) is False


def test_without_a_key_nothing_is_signed() -> None:
    signed = _sign([])
    assert signed.keys() == {"X-BASETEN-REQUEST-ID", "webhook-id", "webhook-timestamp"}
    assert verify_standard([NEW], signed, BODY) is None
    assert verify_baseten([NEW], signed, BODY) is None


@given(st.binary(max_size=300).filter(lambda body: body != BODY))
def test_another_body_does_not_verify(body: bytes) -> None:
    signed = _sign([NEW])
    assert verify_standard([NEW], signed, body) is False
    assert verify_baseten([NEW], signed, body) is False


def test_what_is_over_five_minutes_old_does_not_verify() -> None:
    assert verify_standard([NEW], _sign([NEW], at=time.time() - 310), BODY) is False
    assert verify_standard([NEW], _sign([NEW], at=time.time() - 290), BODY) is True


@given(st.text(max_size=80))
def test_no_signature_breaks_the_verification(line: str) -> None:
    signed = {**_sign([NEW]), "webhook-signature": line, "X-BASETEN-SIGNATURE": line}
    assert verify_standard([NEW], signed, BODY) in (None, False)
    assert verify_baseten([NEW], signed, BODY) is False


class Keys:
    """Signing keys in memory."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = secrets
        self.asked = 0
        self.failure: Exception | None = None

    async def active(self) -> list[SigningKey]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return [
            SigningKey(key_id=str(number), created_at=0.0, secret=secret)
            for number, secret in enumerate(self.secrets)
        ]


async def test_keys_are_asked_for_once_in_a_while_and_by_one_at_a_time() -> None:
    keys = Keys(NEW, OLD)
    secrets = Secrets(keys)
    found = await asyncio.gather(*(secrets.current() for _ in range(20)))
    assert set(found) == {(NEW, OLD)}
    assert keys.asked == 1


async def test_a_new_key_is_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "KEYS_KEPT_S", 0.0)
    keys = Keys(OLD)
    secrets = Secrets(keys)
    assert await secrets.current() == (OLD,)
    keys.secrets = (NEW, OLD)
    assert await secrets.current() == (NEW, OLD)


async def test_keys_that_are_not_known_are_no_reason_to_send_unsigned() -> None:
    keys = Keys(NEW)
    keys.failure = StoreUnreachable("gone")
    secrets = Secrets(keys)
    with pytest.raises(StoreUnreachable):
        await secrets.current()
    keys.failure = None
    assert await secrets.current() == (NEW,)


async def test_secrets_are_not_shown() -> None:
    secrets = Secrets(Keys(NEW))
    await secrets.current()
    assert NEW not in repr(secrets)

"""The keys that webhooks are signed with: of the whole cluster, not of one environment."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Final

from orchestrator.store.decoding import SECOND, microseconds, milliseconds
from orchestrator.store.keys import CLUSTER_SECRETS
from orchestrator.store.records import SigningKey
from orchestrator.store.scripts import bare_script

if TYPE_CHECKING:
    from orchestrator.store.connection import Connection

_OVERLAP_S: Final = 86_400.0
"""How long receivers have, after a rotation, to learn the new key."""

# A signing key lasts until it is deleted; ten years are the rule that every key of the
# store has an expiry, and begin anew whenever one is added.
_EXPIRY_S: Final = 10 * 365 * 86_400.0
_SECRET_BYTES: Final = 32


class SigningKeys:
    """Signing keys. Every method may raise StoreUnreachable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self) -> SigningKey:
        """One more key, in use from now; its secret is told only here and in `active`."""
        return await self._add(rotate=False)

    async def rotate(self) -> SigningKey:
        """A new key; the newest of the others is used for another day, the rest no more."""
        return await self._add(rotate=True)

    async def delete(self, key_id: str) -> bool:
        """Uses a key no more; False: there is none of this id."""
        return bool(await self._connection.command("HDEL", CLUSTER_SECRETS, key_id))

    async def active(self) -> list[SigningKey]:
        """The keys in use with their secrets, newest first."""
        now, *words = await self._connection.run(bare_script("signing_keys"), CLUSTER_SECRETS)
        found = [_key(name, value) for name, value in zip(words[::2], words[1::2], strict=True)]
        moment = now / SECOND
        return sorted(
            (key for key in found if key.expires_at is None or key.expires_at > moment),
            key=lambda key: key.created_at,
            reverse=True,
        )

    async def list(self) -> list[SigningKey]:
        """The keys in use without their secrets, newest first."""
        return [
            SigningKey(key_id=key.key_id, created_at=key.created_at, expires_at=key.expires_at)
            for key in await self.active()
        ]

    async def _add(self, *, rotate: bool) -> SigningKey:
        key_id = os.urandom(8).hex()
        secret = f"whsec_{base64.b64encode(os.urandom(_SECRET_BYTES)).decode()}"
        created = await self._connection.run(
            bare_script("signing_key_add"),
            CLUSTER_SECRETS,
            key_id,
            secret,
            int(rotate),
            microseconds(_OVERLAP_S),
            milliseconds(_EXPIRY_S),
        )
        return SigningKey(key_id=key_id, created_at=int(created) / SECOND, secret=secret)


def _key(name: bytes, value: bytes) -> SigningKey:
    created, expires, secret = value.decode().split(" ")
    return SigningKey(
        key_id=name.decode(),
        created_at=int(created) / SECOND,
        expires_at=int(expires) / SECOND if expires != "0" else None,
        secret=secret,
    )

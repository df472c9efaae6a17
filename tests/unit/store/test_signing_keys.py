"""Signing keys: secrets are told once, a rotation leaves the newest two."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from orchestrator.store import keys

if TYPE_CHECKING:
    from orchestrator.store import Store
    from tests.unit.store.servers import Server

DAY_S = 86_400.0


async def test_at_first_there_is_none(store: Store):
    assert await store.signing_keys.list() == []
    assert await store.signing_keys.active() == []


async def test_a_new_key_has_a_secret_of_the_standard_form(store: Store):
    key = await store.signing_keys.create()

    assert key.secret is not None
    assert key.secret.startswith("whsec_")
    assert len(base64.b64decode(key.secret.removeprefix("whsec_"))) == 32
    assert key.expires_at is None


async def test_secrets_are_not_listed_and_not_printed(store: Store):
    key = await store.signing_keys.create()
    assert key.secret is not None

    (listed,) = await store.signing_keys.list()

    assert (listed.key_id, listed.created_at, listed.secret) == (key.key_id, key.created_at, None)
    assert key.secret not in repr([key, *await store.signing_keys.active()])


async def test_keys_in_use_are_there_for_signing_newest_first(store: Store):
    older = await store.signing_keys.create()
    newer = await store.signing_keys.create()

    assert await store.signing_keys.active() == [newer, older]


async def test_a_rotation_keeps_the_key_before_for_a_day(store: Store):
    before = await store.signing_keys.create()

    after = await store.signing_keys.rotate()

    newest, oldest = await store.signing_keys.active()
    assert newest == after
    assert (oldest.key_id, oldest.secret) == (before.key_id, before.secret)
    assert oldest.expires_at is not None
    assert abs(oldest.expires_at - after.created_at - DAY_S) < 1
    assert await store.signing_keys.list() != await store.signing_keys.active()


async def test_rotations_leave_the_newest_two(store: Store):
    await store.signing_keys.create()
    await store.signing_keys.create()
    second = await store.signing_keys.rotate()
    third = await store.signing_keys.rotate()

    assert [key.key_id for key in await store.signing_keys.list()] == [third.key_id, second.key_id]


async def test_a_rotation_of_nothing_is_a_first_key(store: Store):
    key = await store.signing_keys.rotate()

    assert await store.signing_keys.active() == [key]


async def test_a_second_rotation_does_not_prolong_what_expires(store: Store, server: Server):
    await store.signing_keys.create()
    await store.signing_keys.rotate()
    stored = server.client.hgetall(keys.CLUSTER_SECRETS)

    await store.signing_keys.create()

    left = server.client.hgetall(keys.CLUSTER_SECRETS)
    assert all(left[name] == value for name, value in stored.items())


async def test_an_expired_key_is_in_use_no_more_and_is_cleared_away(store: Store, server: Server):
    old = await store.signing_keys.create()
    await store.signing_keys.rotate()
    stored: Any = server.client.hget(keys.CLUSTER_SECRETS, old.key_id)
    created, _, secret = stored.decode().split(" ")
    over = f"{created} {int(created) + 1} {secret}"
    server.client.hset(keys.CLUSTER_SECRETS, old.key_id, over)

    assert old.key_id not in [key.key_id for key in await store.signing_keys.active()]
    await store.signing_keys.create()
    assert not server.client.hexists(keys.CLUSTER_SECRETS, old.key_id)


async def test_a_deleted_key_is_gone_at_once(store: Store):
    key = await store.signing_keys.create()

    assert await store.signing_keys.delete(key.key_id)
    assert not await store.signing_keys.delete(key.key_id)

    assert await store.signing_keys.list() == []

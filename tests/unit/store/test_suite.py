"""The suite itself: what it runs on, and that its checks can fail."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.store.consistency import problems
from tests.unit.store.servers import PATH_PROGRAMS, PROGRAMS, Server

if TYPE_CHECKING:
    from tests.unit.store.world import World


@pytest.mark.parametrize("name", PATH_PROGRAMS)
def test_a_server_on_the_path_is_among_those_that_the_suite_runs_on(name: str):
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on the PATH")
    assert name in PROGRAMS


async def test_a_key_without_expiry_is_found(world: World, server: Server):
    request_id = await world.submit()
    name = f"orch:{{{world.tag}}}:request:{request_id}"

    server.client.persist(name)
    found = problems(server.client)
    server.client.expire(name, 100)

    assert found == [f"{name} never expires", *found[1:]]


async def test_an_index_that_lost_a_request_is_found(world: World, server: Server):
    request_id = await world.submit()
    name = f"orch:{{{world.tag}}}:stays"
    moment: Any = server.client.zscore(name, request_id)

    server.client.zrem(name, request_id)
    found = problems(server.client)
    server.client.zadd(name, {request_id: moment})
    server.client.expire(name, 30 * 86_400)

    assert len(found) == 1
    assert "is in ['list:QUEUED', 'queue']" in found[0]


async def test_a_counter_that_is_off_is_found(world: World, server: Server):
    await world.submit(key="abcd")
    name = f"orch:{{{world.tag}}}:open"

    server.client.hincrby(name, "key abcd", 1)
    found = problems(server.client)
    server.client.hincrby(name, "key abcd", -1)

    assert found == ["key abcd is counted as 2, is 1"]

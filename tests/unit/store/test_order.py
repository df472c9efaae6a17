"""Who is claimed first: by priority, then by arrival; waiting makes up for priority."""

from __future__ import annotations

from orchestrator.store.records import Waiting
from tests.unit.store.world import BAD, LONG_S, World


async def claimed(world: World, count: int = 100) -> list[str]:
    return [claim.request_id for claim in await world.requests.claim(world.tag, count, LONG_S)]


async def test_first_come_first_served(world: World):
    ids = [await world.submit() for _ in range(20)]

    assert await claimed(world) == ids


async def test_a_lower_number_of_priority_comes_first(world: World):
    third = await world.submit(priority=2)
    second = await world.submit(priority=1)
    first = await world.submit(priority=0)

    assert await claimed(world) == [first, second, third]


async def test_waiting_makes_up_for_priority(world: World):
    # A microsecond of waiting is worth a level: the older one has long waited enough.
    older = await world.submit(priority=2, aging_s=1e-6)
    newer = await world.submit(priority=0, aging_s=1e-6)

    assert await claimed(world) == [older, newer]


async def test_as_many_as_asked_for_are_claimed_and_no_more_than_there_are(world: World):
    ids = [await world.submit() for _ in range(5)]

    assert await claimed(world, 2) == ids[:2]
    assert await claimed(world, 0) == []
    assert await claimed(world, 9) == ids[2:]
    assert await claimed(world, 1) == []


async def test_what_is_put_back_has_its_old_place(world: World):
    first = await world.submit()
    await world.submit()
    claim = await world.claim()
    await world.submit()

    await world.requests.put_back(first, claim.attempt, BAD, 0.0)

    assert (await claimed(world))[0] == first


async def test_each_is_told_how_many_come_before_it(world: World):
    low = await world.submit(priority=2)
    high = await world.submit(priority=0)
    middle = await world.submit(priority=1)

    places = [(await world.record(name)).queue_position for name in (high, middle, low)]

    assert places == [0, 1, 2]
    await world.claim()
    assert (await world.record(high)).queue_position is None
    assert (await world.record(low)).queue_position == 1


async def test_a_paused_request_is_told_its_place_too(world: World):
    paused = await world.submit()
    claim = await world.claim()
    await world.requests.put_back(paused, claim.attempt, BAD, LONG_S)
    later = await world.submit()

    assert (await world.record(paused)).queue_position == 0
    assert (await world.record(later)).queue_position == 0
    assert await claimed(world) == [later]


async def test_a_look_tells_of_the_first_in_the_queue_best_first(world: World):
    for priority in (2, 0, 1):
        await world.submit(priority=priority)

    backlog = await world.requests.look(world.tag, 2)

    assert backlog.ready == 3
    assert [waiting.priority for waiting in backlog.first] == [0, 1]
    assert all(0 <= waiting.age_s < 30 for waiting in backlog.first)
    assert (await world.requests.look(world.tag, 0)).first == ()
    assert all(isinstance(waiting, Waiting) for waiting in backlog.first)

"""Who gets the GPUs, and when."""

from __future__ import annotations

from functools import partial

from orchestrator.simulator.gpus import Claim, GpuPool


class Scene:
    def __init__(self, total: float | None) -> None:
        self.granted: list[str] = []
        self.taken: list[float] = []
        self.pool = GpuPool(total, self.taken.append)

    def ask(self, name: str, gpus: float) -> Claim:
        claim = Claim(gpus, partial(self.granted.append, name))
        self.pool.ask(claim)
        return claim


def test_whoever_came_first_gets_them_first_also_where_a_later_one_would_fit():
    scene = Scene(4)
    first = scene.ask("first", 3)
    scene.ask("large", 2)
    scene.ask("small", 1)
    assert scene.granted == ["first"]
    scene.pool.give_back(first)
    assert scene.granted == ["first", "large", "small"]
    assert scene.taken == [3, 0, 2, 3]


def test_one_that_does_not_want_them_any_more_stands_in_nobodys_way():
    scene = Scene(2)
    scene.ask("first", 1)
    large = scene.ask("large", 2)
    scene.ask("small", 1)
    scene.pool.give_back(large)
    scene.pool.give_back(large)
    assert scene.granted == ["first", "small"]
    assert scene.pool.in_use == 2


def test_twenty_tenths_are_two():
    scene = Scene(2)
    claims = [scene.ask(str(n), 0.1) for n in range(21)]
    assert sum([0.1] * 20) > 2.0
    assert scene.granted == [str(n) for n in range(20)]
    for claim in claims:
        scene.pool.give_back(claim)
    assert abs(scene.pool.in_use) < 1e-9


def test_without_a_bound_everybody_gets_them_at_once():
    scene = Scene(None)
    for n in range(1000):
        scene.ask(str(n), 8)
    assert len(scene.granted) == 1000
    assert scene.pool.in_use == 8000

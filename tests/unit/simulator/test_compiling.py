"""From a point and a seed to what is simulated: settings, and who draws what."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.settings import FullPolicy
from orchestrator.simulator.compiling import Purpose, arrivals_of, scenario, stream
from orchestrator.traffic.errors import TrafficError
from tests.unit.simulator.experiments import SMALL, loaded

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.simulator.scenario import SimulatedEnvironment

PINNED = [2316558441, 2036808380, 4285213903, 195068582, 2581025458, 33550735]

FULL = """\
name: full
duration_seconds: 60
start_time: "2026-01-05T08:00:00Z"
pool: {gpus: 4}
environments:
  code:
    arrivals: {poisson: {rate: 5}}
    service: {exponential: {mean: 0.5}}
    concurrency: 3
    gpus: 0.5
    autoscaling: {min_replica: 1, max_replica: 4, scale_down_delay: 7, policy: panic}
    queue: {policy: reject_on_full, async_share_percent: 20}
    retry: {initial_milliseconds: 100}
    timeouts: {park_seconds: 5, predict_seconds: 6}
    cold_start: {loading: {exponential: {mean: 9}}, fails_percent: 50}
    lifetime: {exponential: {mean: 1000}}
    callers:
      deadline_seconds: {exponential: {mean: 3}}
      retries: 2
      retry_after_seconds: {exponential: {mean: 4}}
    routers: 2
    overhead_milliseconds: 5
    slot_overhead_milliseconds: 2
"""


def drawn(environment: SimulatedEnvironment, count: int = 20) -> dict[str, list[float]]:
    """What an environment draws for each purpose."""
    arrivals = list(islice(environment.arrivals, count))
    service, callers = environment.service, environment.callers
    assert hasattr(service, "draw")
    assert environment.lifetime is not None
    assert callers.deadline is not None
    return {
        "arrivals": [arrival.at for arrival in arrivals],
        "service": [service.draw(arrival)[0] for arrival in arrivals],
        "loading": [environment.starts.stages[Stage.LOADING]() for _ in arrivals],
        "fails": [environment.starts.fails() for _ in arrivals],
        "lifetime": [environment.lifetime() for _ in arrivals],
        "deadline": [callers.deadline() for _ in arrivals],
        "retry": [callers.retry_after() for _ in arrivals],
    }


def compiled(folder: Path, text: str, *settings: str, seed: int = 1) -> list[SimulatedEnvironment]:
    [point] = loaded(folder, text, *settings).points
    return scenario(point.experiment, seed, folder=folder).environments


def test_every_setting_reaches_the_simulation_in_seconds_and_shares(tmp_path):
    [point] = loaded(tmp_path, FULL).points
    found = scenario(point.experiment, 1, folder=tmp_path)
    assert (found.gpus, found.duration_s, found.unix_s) == (4, 60, 1_767_600_000)
    [code] = found.environments
    assert (code.name, code.slots, code.gpus, code.routers) == ("code", 3, 0.5, 2)
    assert (code.park_s, code.predict_s) == (5, 6)
    assert (code.overhead_s, code.slot_overhead_s) == (0.005, 0.002)
    assert (code.callers.retries, code.retry.initial_s) == (2, 0.1)
    queue, scaling = code.settings.queue, code.settings.autoscaling
    assert (queue.policy, queue.async_share) == (FullPolicy.REJECT, 0.2)
    assert (scaling.min_replica, scaling.max_replica, scaling.concurrency_target) == (1, 4, 3)
    assert (scaling.utilization, scaling.scale_down_delay_s) == (0.7, 7)
    assert [policy.name for policy in scaling.policies] == ["panic"]
    assert code.settings.resources == {"num_gpus": 0.5}


def test_the_same_seed_draws_the_same_and_another_seed_does_not(tmp_path):
    [first], [again], [other] = (compiled(tmp_path, FULL, seed=seed) for seed in (1, 1, 2))
    one, same, another = drawn(first), drawn(again), drawn(other)
    assert one == same
    assert all(one[purpose] != another[purpose] for purpose in one)


def test_another_policy_draws_the_same_requests(tmp_path):
    [one] = compiled(tmp_path, FULL)
    settings = (
        "environments.code.autoscaling.policy=predictive",
        "environments.code.concurrency=1",
    )
    [other] = compiled(tmp_path, FULL, *settings)
    assert drawn(one) == drawn(other)


def test_one_purpose_does_not_move_another(tmp_path):
    [one] = compiled(tmp_path, FULL)
    [other] = compiled(
        tmp_path,
        FULL,
        "environments.code.service={uniform: {low: 0, high: 1}}",
        "environments.code.lifetime={gamma: {mean: 3, cv: 1}}",
    )
    before, after = drawn(one), drawn(other)
    changed = {purpose for purpose in before if before[purpose] != after[purpose]}
    assert changed == {"service", "lifetime"}


def test_another_environment_beside_it_does_not_move_one(tmp_path):
    beside = "  another:\n    arrivals: {poisson: {rate: 3}}\n    service: 1\n"
    [alone] = compiled(tmp_path, FULL)
    text = FULL.replace("environments:\n", f"environments:\n{beside}")
    another, code = compiled(tmp_path, text)
    assert drawn(alone) == drawn(code)
    assert [arrival.at for arrival in islice(another.arrivals, 5)] != drawn(alone)["arrivals"][:5]


def test_two_environments_with_the_same_settings_draw_differently(tmp_path):
    text = SMALL.replace("rate: 2", "rate: 1").replace("    concurrency: 2\n", "")
    code, chat = compiled(tmp_path, text)
    assert next(code.arrivals) != next(chat.arrivals)


def test_a_replay_gets_the_requests_of_the_simulation(tmp_path):
    [point] = loaded(tmp_path, FULL).points
    [simulated] = scenario(point.experiment, 3, folder=tmp_path).environments
    replayed = arrivals_of(point.experiment, "code", 3, folder=tmp_path)
    assert list(islice(replayed, 50)) == list(islice(simulated.arrivals, 50))


def test_streams_are_those_of_every_earlier_release():
    """Reports of one release can be compared with those of the next."""
    sequences = (stream(1, "code", purpose).bit_generator.seed_seq for purpose in Purpose)
    assert [int(each.generate_state(1)[0]) for each in sequences] == PINNED


def test_a_trace_that_is_missing_says_where_it_was_looked_for(tmp_path):
    text = SMALL.replace("{poisson: {rate: 2}}", "{trace: {file: absent.csv}}")
    with pytest.raises(TrafficError, match=r"absent\.csv"):
        next(compiled(tmp_path, text)[0].arrivals)

"""Service times: drawn, as recorded, or by tokens."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from orchestrator.config import document
from orchestrator.config.explain import problems_of
from orchestrator.config.section import Section
from orchestrator.simulator.batch import TokenBatches, TokenPace
from orchestrator.simulator.service import (
    Recorded,
    Seconds,
    Service,
    service_model,
    service_seconds,
)
from orchestrator.traffic.arrival import Arrival
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = {
    "first_token": {"base": 0.5, "per_prompt_token": 0.001, "per_running": 0.01},
    "per_token": {"base": 0.02, "per_running": 0.001},
}


class Something(Section):
    """A section that has a service, as an environment of an experiment does."""

    service: Service


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def model(spec: Any, seed: int = 1, **folder: Path) -> Any:
    return service_model(Service.model_validate(spec), rng(seed), **folder)


def test_a_number_is_the_time_of_every_request_and_its_first_byte_comes_last() -> None:
    drawn = model(0.25)
    assert isinstance(drawn, Seconds)
    assert [drawn.draw(Arrival(at)) for at in (0.0, 1.0)] == [(0.25, 0.25)] * 2


def test_each_request_has_a_time_of_its_own() -> None:
    drawn = model({"exponential": {"mean": 2}})
    times = [drawn.draw(Arrival(0.0))[0] for _ in range(20_000)]
    assert np.mean(times) == pytest.approx(2.0, rel=0.03)
    assert len(set(times)) == len(times)


def test_recorded_times_are_those_of_the_trace() -> None:
    recorded = model({"recorded": True})
    assert isinstance(recorded, Recorded)
    assert recorded.draw(Arrival(0.0, service_s=1.25)) == (1.25, 1.25)


def test_a_request_without_a_recorded_time_is_refused_with_the_way_out() -> None:
    with pytest.raises(TrafficError, match=r"request at 3\.5 s does not say.*service\.fallback"):
        model({"recorded": True}).draw(Arrival(3.5))


def test_a_request_without_a_recorded_time_takes_the_fallback() -> None:
    recorded = model({"recorded": True, "fallback": 2.0})
    assert recorded.draw(Arrival(3.5)) == (2.0, 2.0)
    assert recorded.draw(Arrival(3.5, service_s=0.0)) == (0.0, 0.0)


def test_tokens_make_batches_at_the_pace_that_the_file_says() -> None:
    batches = model({"tokens": TOKENS})
    assert isinstance(batches, TokenBatches)
    assert batches.pace == TokenPace(0.5, 0.001, 0.01, 0.02, 0.001)
    batch = batches.batch()
    assert batch.begin(1, Arrival(0.0, 500, 51), 0.0) == 1.0
    assert batch.next_end() == pytest.approx(2.0)


def test_each_replica_has_a_batch_of_its_own() -> None:
    batches = model({"tokens": TOKENS})
    first, second = batches.batch(), batches.batch()
    first.begin(1, Arrival(0.0, 500, 51), 0.0)
    assert second.begin(1, Arrival(0.0, 500, 51), 0.0) == 1.0


def test_a_replay_sends_the_times_that_the_simulator_draws() -> None:
    spec = Service.model_validate({"lognormal": {"mean": 1, "cv": 2}})
    simulated, replayed = model(spec, seed=9), service_seconds(spec, rng(9))
    arrivals = [Arrival(float(at)) for at in islice(count(), 10_000)]
    assert [simulated.draw(arrival)[0] for arrival in arrivals] == [
        replayed(arrival) for arrival in arrivals
    ]


def test_a_replay_by_tokens_takes_what_a_request_takes_alone() -> None:
    replayed = service_seconds(Service.model_validate({"tokens": TOKENS}), rng())
    assert replayed(Arrival(0.0, 500, 51)) == pytest.approx(2.0)


def test_a_measured_service_is_read_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("s\n0.5\n")
    spec = {"empirical": {"file": "t.csv", "column": "s"}}
    assert model(spec, folder=tmp_path).draw(Arrival(0.0)) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("service: {}", 'or have exactly one of "fixed"'),
        ("service: {}", '"recorded", "tokens"; it has none'),
        ("service: {recorded: true, fixed: 1}", 'it has "fixed", "recorded"'),
        ("service: {recorded: false}", "must have recorded: true, or not have it at all"),
        ("service: {fixed: 1, fallback: 1}", "must have fallback only beside recorded: true"),
        ("service: {recorded: true, fallback: -1}", "service.fallback: must be a number from 0"),
        ("service: {tokens: {}}", "service.tokens.per_token: is required but missing"),
        (
            "service: {tokens: {per_token: {base: -1}}}",
            "service.tokens.per_token.base: must be at least 0",
        ),
        (
            "service: {tokens: {per_token: {base: 1, per_runing: 1}}}",
            'unknown field, did you mean "per_running"?',
        ),
        ("service: {token: {}}", 'service.token: unknown field, did you mean "tokens"?'),
        ("service: fast", "must be a number, or a mapping with one of"),
    ],
)
def test_a_wrong_service_says_where_what_and_what_would_be_right(yaml: str, message: str) -> None:
    found = document.parse(yaml, "e.yaml")
    with pytest.raises(ValidationError) as error:
        Something.model_validate(found.data)
    (problem,) = problems_of(error.value, found, Something)
    assert message in str(problem)

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.replay.errors import ReplayError
from orchestrator.replay.planned import planned_requests
from orchestrator.replay.targets import targets_of
from orchestrator.simulator.compiling import scenario
from orchestrator.simulator.experiment import Experiment

if TYPE_CHECKING:
    from orchestrator.replay.planned import Planned
    from orchestrator.replay.targets import Live

HERE = Path()
COUNT = 50
TOKENS = {"prompt": {"uniform": {"low": 1, "high": 100}}, "output": {"fixed": 10}}


def experiment(**environments: dict[str, Any]) -> Experiment:
    traffic = {"arrivals": {"gamma": {"rate": 5, "cv": 2}, "tokens": TOKENS}}
    each = {name: traffic | given for name, given in environments.items()}
    return Experiment.model_validate({"name": "an-experiment", "environments": each})


def requests_of(targets: list[Live], count: int = COUNT) -> list[Planned]:
    return list(itertools.islice(planned_requests([live.traffic for live in targets]), count))


SERVICES: list[dict[str, Any]] = [
    {"lognormal": {"mean": 0.3, "cv": 2}},
    {"tokens": {"first_token": {"per_prompt_token": 0.001}, "per_token": {"base": 0.02}}},
]


@pytest.mark.parametrize("seed", [1, 2])
def test_each_request_has_the_time_that_a_simulation_gives_it(seed: int):
    callers = {"deadline_seconds": {"uniform": {"low": 1, "high": 9}}}
    found = experiment(chat={"service": SERVICES[0], "callers": callers})
    [simulated] = scenario(found, seed, folder=HERE).environments
    service, deadline = simulated.service, simulated.callers.deadline
    assert hasattr(service, "draw")
    assert deadline is not None
    expected = [
        (arrival.at, service.draw(arrival)[0], deadline())
        for arrival in itertools.islice(simulated.arrivals, COUNT)
    ]
    requests = requests_of(targets_of(found, seed, folder=HERE))
    assert [(each.at, each.service_s, each.deadline_s) for each in requests] == expected


def test_another_environment_beside_it_changes_nothing():
    chat = {"service": SERVICES[0]}
    alone = requests_of(targets_of(experiment(chat=chat), 1, folder=HERE))
    both = experiment(other=chat, chat=chat)
    beside = requests_of(targets_of(both, 1, folder=HERE, only="chat"))
    assert alone == beside


def test_tokens_of_a_request_alone_make_a_time():
    target = targets_of(experiment(chat={"service": SERVICES[1]}), 1, folder=HERE)
    for each in requests_of(target):
        prompt = (json.loads(each.body)["service_seconds"] - 9 * 0.02) / 0.001
        assert 1 - 1e-6 <= prompt <= 100 + 1e-6


def test_a_body_of_ones_own_needs_no_time():
    service = {"tokens": {"per_token": {"base": 0.02, "per_running": 0.001}}}
    body = {"max_tokens": "$output_tokens"}
    found = experiment(chat={"service": service, "target": {"body": body}})
    [first, *_] = requests_of(targets_of(found, 1, folder=HERE))
    assert (json.loads(first.body), first.service_s) == ({"max_tokens": 10}, None)


def test_a_time_that_depends_on_others_cannot_be_sent_along():
    service = {"tokens": {"per_token": {"base": 0.02, "per_running": 0.001}}}
    with pytest.raises(ReplayError, match=r"environments.chat.target.body has \$service_seconds"):
        targets_of(experiment(chat={"service": service}), 1, folder=HERE)


@pytest.mark.parametrize(
    ("only", "words"),
    [("chatt", 'no environment "chatt", did you mean "chat"'), ("x", 'there is "chat"')],
)
def test_an_environment_that_is_not_there_is_named_with_those_that_are(only: str, words: str):
    with pytest.raises(ReplayError, match=words):
        targets_of(experiment(chat={"service": SERVICES[0]}), 1, folder=HERE, only=only)

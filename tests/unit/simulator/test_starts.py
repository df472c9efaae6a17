"""Starts of replicas: by stage, and as recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from orchestrator.config import document
from orchestrator.config.explain import problems_of
from orchestrator.config.section import Section
from orchestrator.lifecycle.replica import Stage
from orchestrator.simulator.starts import ColdStart, starts
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.simulator.scenario import Starts

RECORDED = [
    {"result": "ready", "stages": {"PROVISIONING": 0.5, "STARTING": 1.0, "LOADING": 10.0}},
    {"result": "ready", "stages": {"STARTING": 2.0, "LOADING": 20.0, "WARMING": 3.0}},
    {"result": "failed", "reason": "no memory", "stages": {"LOADING": 99.0}},
    {"result": "starting", "stages": {"LOADING": 98.0}},
]
"""As the API has them, with the stages that matter here."""


class Something(Section):
    """A section that has a cold start, as an environment of an experiment does."""

    cold_start: ColdStart


def made(spec: Any, seed: int = 1, **folder: Path) -> Starts:
    return starts(ColdStart.model_validate(spec), np.random.default_rng(seed), **folder)


def one(found: Starts) -> dict[Stage, float]:
    return {stage: seconds() for stage, seconds in found.stages.items()}


def recorded(folder: Path, text: str) -> Starts:
    (folder / "starts.json").write_text(text)
    return made({"recorded": "starts.json"}, folder=folder)


def test_a_stage_that_is_not_named_takes_no_time() -> None:
    assert one(made({"loading": 2.5, "provisioning": 1})) == {
        Stage.PROVISIONING: 1.0,
        Stage.LOADING: 2.5,
    }
    assert one(made({})) == {}


def test_stages_are_drawn_independently_and_reproducibly() -> None:
    spec = {"starting": {"exponential": {"mean": 1}}, "loading": {"exponential": {"mean": 1}}}
    first, again = made(spec), made(spec)
    drawn = [one(first) for _ in range(5_000)]
    assert drawn == [one(again) for _ in range(5_000)]
    pairs = np.array([list(stages.values()) for stages in drawn])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.05


def test_a_stage_that_is_named_too_does_not_change_the_others() -> None:
    loading = {"loading": {"exponential": {"mean": 1}}}
    assert one(made(loading))[Stage.LOADING] == one(made(loading | {"warming": 1}))[Stage.LOADING]


def test_so_many_in_a_hundred_starts_fail() -> None:
    failing = made({"fails_percent": 25})
    assert np.mean([failing.fails() for _ in range(20_000)]) == pytest.approx(0.25, abs=0.015)
    assert not any(made({}).fails() for _ in range(1000))
    assert all(made({"fails_percent": 100}).fails() for _ in range(1000))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDED),
        json.dumps({"starts": RECORDED}),
        json.dumps({"name": "production", "live": {"desired": 1, "starts": RECORDED}}),
        "\n".join(json.dumps(start) for start in RECORDED) + "\n\n",
    ],
)
def test_the_stages_of_a_recorded_start_stay_together(tmp_path: Path, text: str) -> None:
    found = recorded(tmp_path, text)
    drawn = [tuple(one(found).values()) for _ in range(10_000)]
    assert set(drawn) == {(0.5, 1.0, 10.0, 0.0), (0.0, 2.0, 20.0, 3.0)}
    assert np.mean([stages[2] == 10.0 for stages in drawn]) == pytest.approx(0.5, abs=0.02)


def test_a_single_recorded_start_is_enough(tmp_path: Path) -> None:
    found = recorded(tmp_path, '{"stages": {"LOADING": 4}}')
    assert one(found)[Stage.LOADING] == 4.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts.json: has no start that became ready"),
        ("[]", "starts.json: has no start that became ready; expected a start as"),
        (json.dumps(RECORDED[2:]), "has no start that became ready"),
        ("7", "starts.json: is 7; expected a list"),
        ("[7]", "starts.json:1: is 7; expected a start as"),
        ('{"desired": 1}', "starts.json:1: is a mapping with desired; expected a start as"),
        ('[{"stages": {"LOADING": -1}}]', "starts.json:1: LOADING is -1; expected seconds"),
        ('[{"stages": {"LOADING": "2 s"}}]', 'LOADING is "2 s"; expected seconds, at least 0'),
        ('[{"stages": {"LOADING": NaN}}]', "LOADING is NaN"),
        ('{"stages": {}}\nLOADING,2\n', 'starts.json:2: is "LOADING,2"; expected JSON'),
    ],
)
def test_a_file_without_starts_says_what_was_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(TrafficError) as error:
        recorded(tmp_path, text)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match=r"starts\.json: there is no such file"):
        made({"recorded": "starts.json"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (
            "cold_start: {recorded: s.json, loading: 1}",
            "must have either recorded, or stages; it has loading too",
        ),
        ("cold_start: {fails_percent: 101}", "cold_start.fails_percent: must be at least 0 and at"),
        ("cold_start: {loadin: 1}", 'unknown field, did you mean "loading"?'),
        ("cold_start: {loading: {mean: 1}}", "cold_start.loading.mean: unknown field"),
    ],
)
def test_a_wrong_cold_start_says_where_what_and_what_would_be_right(
    yaml: str, message: str
) -> None:
    found = document.parse(yaml, "e.yaml")
    with pytest.raises(ValidationError) as error:
        Something.model_validate(found.data)
    (problem,) = problems_of(error.value, found, Something)
    assert message in str(problem)

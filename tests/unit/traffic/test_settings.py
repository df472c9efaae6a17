"""What an experiment may say of its requests, and what it is told when that is wrong."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestrator.config import document
from orchestrator.config.explain import problems_of
from orchestrator.config.section import Section
from orchestrator.traffic.settings import Arrivals, Poisson, Trace


class Experiment(Section):
    """Something that has arrivals, as an environment of an experiment does."""

    arrivals: Arrivals


def refused(arrivals: str) -> str:
    found = document.parse(f"arrivals: {arrivals}\n", "e.yaml")
    with pytest.raises(ValidationError) as error:
        Experiment.model_validate(found.data)
    (problem,) = problems_of(error.value, found, Experiment)
    return str(problem)


def test_the_source_is_the_one_that_is_given() -> None:
    found = Arrivals.model_validate({"poisson": {"rate": 2}, "time_scale": 0.5})
    assert found.source == Poisson(rate=2)
    assert found.rate_scale == 1
    assert isinstance(Arrivals.model_validate({"trace": {"file": "x.csv"}}).source, Trace)


@pytest.mark.parametrize(
    ("arrivals", "problem"),
    [
        (
            "{time_scale: 2}",
            (
                "e.yaml:1: arrivals: must have exactly one of trace, poisson, gamma, diurnal, "
                "step, spike; it has none; got a mapping with time_scale"
            ),
        ),
        ("{poisson: {rate: 1}, gamma: {rate: 1, cv: 2}}", "it has poisson and gamma"),
        ("{poisson: {rate: 0}}", "arrivals.poisson.rate: must be at least 1e-09"),
        ("{gamma: {rate: 1, cv: -1}}", "arrivals.gamma.cv: must be at least 0"),
        ("{gamma: {rate: 1}}", "arrivals.gamma.cv: is required but missing"),
        (
            "{diurnal: {mean_rate: 2, peak_rate: 5}}",
            "arrivals.diurnal: peak_rate must be between mean_rate (2) and twice that",
        ),
        ("{step: {steps: []}}", "arrivals.step.steps: must not be empty"),
        ("{step: {steps: [{rate: 0, seconds: 5}]}}", "at least one of steps must have a rate"),
        ("{trace: {file: a.csv, format: azure}}", 'did you mean "azure_llm"?'),
        ("{trace: {file: a.csv, format: table}}", "needs columns that say at least which one"),
        (
            "{trace: {file: a.csv, format: mooncake, columns: {at: t}}}",
            "columns are for the format table; mooncake has its own",
        ),
        ("{trace: {file: a.csv, unit: minutes}}", 'must be one of "seconds", "milliseconds"'),
        ("{poisson: {rate: 1}, rate_scale: 0}", "arrivals.rate_scale: must be more than 0"),
        ("{poisson: {rate: 1}, rate_scale: 2000}", "at most 1000"),
        ("{poisson: {rate: 1}, start_seconds: -1}", "arrivals.start_seconds: must be at least 0"),
        ("{poisson: {rate: 1}, asynchronous_percent: 101}", "at most 100"),
        ("{poisson: {rate: 1}, deadline: 3}", 'did you mean "deadline_seconds"?'),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_be_right(
    arrivals: str, problem: str
) -> None:
    assert problem in refused(arrivals)

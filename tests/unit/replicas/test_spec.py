from __future__ import annotations

import pytest
from pydantic import ValidationError

from replicas.errors import SpecError
from replicas.spec import ASSIGNED_BY_RAY, CommandRunnerSpec, PythonRunnerSpec, ReplicaSpec
from tests.unit.replicas.conftest import spec_of


def spec(**fields) -> ReplicaSpec:
    return ReplicaSpec.model_validate(spec_of("AsyncEcho", **fields))


def test_the_runner_is_told_by_its_type():
    assert isinstance(spec().runner, PythonRunnerSpec)
    command = spec_of({"type": "command", "command": ["serve", "{port}"]})
    runner = ReplicaSpec.model_validate(command).runner
    assert isinstance(runner, CommandRunnerSpec)
    assert (runner.command, runner.health_path) == (("serve", "{port}"), "/health")


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot": 2},
        {"slots": 0},
        {"runner": {"type": "docker"}},
        {"startup": {"attempts": 0}},
        {"telemetry": {"slowest_share": "few"}},
    ],
)
def test_what_it_does_not_know_or_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        ReplicaSpec.model_validate(spec_of("AsyncEcho") | wrong)


def test_variables_are_filled_in_from_where_the_replica_runs():
    declared = spec(environment_variables={"A": "plain", "B": "${X}-${Y}", "C": "$X {Y} $$"})
    assert declared.resolve_environment({"X": "1", "Y": "2"}) == {
        "A": "plain",
        "B": "1-2",
        "C": "$X {Y} $$",
    }


def test_a_missing_variable_is_named():
    with pytest.raises(SpecError, match=r"environment_variables\.B of deployment 'd' .* Y, which"):
        spec(environment_variables={"B": "${X}${Y}"}).resolve_environment({"X": "1"})


@pytest.mark.parametrize("name", sorted(ASSIGNED_BY_RAY))
def test_the_devices_that_ray_assigned_cannot_be_overridden(name):
    with pytest.raises(SpecError, match=f"environment_variables.{name} .*num_gpus"):
        spec(environment_variables={name: "0"}).resolve_environment({})

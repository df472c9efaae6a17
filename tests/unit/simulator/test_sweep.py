"""What is tried: paths, values, combinations, and how they read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator import sweep
from orchestrator.simulator.experiment import settable
from orchestrator.simulator.sweep import axes, combinations, misplaced, number_of_points, readable

DELAY = "environments.*.autoscaling.scale_down_delay"
POLICY = "environments.*.autoscaling.policy"


def labels(data: dict[str, Any], *fixed: str) -> list[str]:
    return [found.label for found in combinations(axes(data, fixed=fixed), "all")]


def test_without_a_sweep_there_is_one_point_with_the_name_of_the_experiment():
    [only] = combinations(axes({}), "small")
    assert (only.label, only.settings, only.parameters) == ("small", (), {})


def test_every_combination_is_a_point_and_the_last_path_changes_fastest():
    data = {"sweep": {DELAY: [0, 60.0], "pool.gpus": [1, 2]}}
    assert labels(data) == [
        "scale_down_delay=0, gpus=1",
        "scale_down_delay=0, gpus=2",
        "scale_down_delay=60, gpus=1",
        "scale_down_delay=60, gpus=2",
    ]
    assert number_of_points(axes(data)) == 4
    *_, last = combinations(axes(data), "")
    assert last.parameters == {DELAY: 60.0, "pool.gpus": 2}
    assert [setting.origin for setting in last.settings] == [
        ("sweep", DELAY, 1),
        ("sweep", "pool.gpus", 1),
    ]


def test_a_variant_is_a_point_and_is_combined_with_the_sweep():
    data = {
        "variants": {"short": {DELAY: 0, "pool.gpus": 8}, "as it is": {}},
        "sweep": {POLICY: ["concurrency", "panic"]},
    }
    assert labels(data) == [
        "short, policy=concurrency",
        "short, policy=panic",
        "as it is, policy=concurrency",
        "as it is, policy=panic",
    ]
    first = next(combinations(axes(data), ""))
    assert first.settings[1] == sweep.Setting("pool.gpus", 8, ("variants", "short", "pool.gpus"))


def test_a_path_that_the_command_line_sets_is_not_swept():
    data = {"sweep": {DELAY: [0, 60], "pool.gpus": [1, 2]}}
    assert labels(data, DELAY) == ["gpus=1", "gpus=2"]


def test_paths_that_end_alike_are_told_apart():
    data = {"sweep": {"environments.a.gpus": [1], "environments.b.gpus": [2], "pool.gpus": [3]}}
    assert labels(data) == ["a.gpus=1, b.gpus=2, pool.gpus=3"]


def test_sweeps_of_a_wrong_shape_are_left_to_the_schema():
    data = {"sweep": {DELAY: [], POLICY: "panic", "pool.gpus": [1]}, "variants": [1]}
    assert labels(data) == ["gpus=1"]
    assert labels({"sweep": 3, "variants": {}}) == ["all"]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (60, "60"),
        (60.0, "60"),
        (0.5, "0.5"),
        (None, "none"),
        (True, "true"),
        ("panic", "panic"),
        ({"name": "panic"}, "panic"),
        (
            {"name": "panic", "panic_threshold": 2, "window": 6.0},
            "panic(panic_threshold=2 window=6)",
        ),
        (["panic", {"name": "schedule", "timezone": "UTC"}], "panic+schedule(timezone=UTC)"),
        ({"exponential": {"mean": 2}}, "exponential(mean=2)"),
        ({"name": 3}, "name=3"),
    ],
)
def test_values_are_short_in_labels(value, label):
    assert readable(value) == label


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_has_a_label_that_is_not_long(value):
    assert len(readable(value)) <= 48


DATA: dict[str, Any] = {"environments": {"code": {}, "chat": {}}}


@pytest.mark.parametrize(
    "path",
    [
        DELAY,
        "environments.code.service",
        "pool.gpus",
        "pool",
        "seeds",
        "duration_seconds",
        "measure_from_seconds",
        "start_time",
    ],
)
def test_a_path_that_can_be_set_is_left_to_the_schema(path):
    assert misplaced(path, DATA, settable()) is None


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("autoscaling.scale_down_delay", f'did you mean "{DELAY}"?'),
        ("pol.gpus", 'did you mean "pool.gpus"?'),
        ("sweep.x", "must be a path that can be set"),
        ("name", "must be a path that can be set"),
        ("environments", 'must name an environment of the file, or * for all (known: "code"'),
        ("environments.cod.gpus", 'did you mean "code"? (known: "code", "chat")'),
        ("environments.*", "must go on to a setting of the environment"),
        ("", "must be a path that can be set"),
    ],
)
def test_a_path_that_leads_to_nothing_is_refused_with_the_nearest(path, rule):
    assert rule in (misplaced(path, DATA, settable()) or "")

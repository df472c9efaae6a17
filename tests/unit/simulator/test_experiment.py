"""Experiment files: what they may say, and that each mistake is named where it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.config import ConfigError, Problem
from orchestrator.config.document import parse
from orchestrator.simulator.experiment import Experiment
from orchestrator.simulator.loading import load
from tests.benchmarks.report import put_between_markers
from tests.experiments import regenerate
from tests.unit.simulator.experiments import SMALL, loaded, refused, sentences

CONFIGS = Path(__file__).parents[3] / "configs" / "experiments"
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "experiments.md"
DELAY = "environments.*.autoscaling.scale_down_delay"
SWEPT = SMALL + f"sweep:\n  {DELAY}: [0, 60]\n"


def test_a_small_file_gets_the_defaults_of_a_cluster(tmp_path):
    plan = loaded(tmp_path, SMALL)
    [point] = plan.points
    code = point.experiment.environments["code"]
    assert (plan.name, plan.seeds, plan.folder) == ("small", (1,), tmp_path)
    assert (point.label, point.parameters) == ("small", {})
    assert code.autoscaling.target_utilization_percentage == 70
    assert code.autoscaling.scale_down_delay == 60  # of the file's own defaults
    assert code.queue.policy == "queue_on_full"
    assert code.timeouts.park_seconds == 1200


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_file_loads_and_says_what_it_is_for(path):
    plan = load(path)
    assert plan.name == path.stem.replace("_", "-")
    assert len(plan.description) > 40
    assert len(plan.seeds) >= 3


def test_the_example_of_the_documentation_loads(tmp_path):
    page = DOCUMENTATION.read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    plan = loaded(tmp_path, example)
    assert [point.label for point in plan.points] == [
        f"scale_down_delay={delay}, policy={policy}"
        for delay in (0, 60, 300)
        for policy in ("concurrency", "queue_delay(objective=1)")
    ]
    section = plan.points[0].experiment.environments["chat"]
    given = parse(example, "").data
    assert given["environments"]["chat"].keys() - section.model_fields_set == set()


def test_every_shipped_experiment_has_its_place_in_the_documentation():
    page = DOCUMENTATION.read_text(encoding="utf-8")
    shipped = {path.stem for path in CONFIGS.glob("*.yaml")} - {"fidelity"}
    assert set(regenerate.EXPERIMENTS) == shipped
    for name in shipped:
        assert put_between_markers(page, "", name) != page
        assert f"experiments/{name}.svg" in page
        assert (DOCUMENTATION.parent / "experiments" / f"{name}.svg").is_file()


def test_every_point_and_seed_is_a_run(tmp_path):
    plan = loaded(tmp_path, SWEPT, "seeds=[3, 1]")
    assert [(point.label, seed) for point, seed in plan.runs] == [
        ("scale_down_delay=0", 3),
        ("scale_down_delay=0", 1),
        ("scale_down_delay=60", 3),
        ("scale_down_delay=60", 1),
    ]
    assert plan.points[0].experiment.environments["chat"].autoscaling.scale_down_delay == 0


def test_what_the_command_line_sets_is_not_swept(tmp_path):
    plan = loaded(tmp_path, SWEPT, f"{DELAY}=7", "pool.gpus=null")
    [point] = plan.points
    assert point.experiment.environments["code"].autoscaling.scale_down_delay == 7
    assert point.experiment.pool.gpus is None


def test_what_only_the_sweep_gives_is_not_missing(tmp_path):
    text = SMALL.replace("  service: {exponential: {mean: 0.5}}\n", "")
    text += "sweep: {environments.*.service: [0.5, {exponential: {mean: 0.5}}]}\n"
    plan = loaded(tmp_path, text)
    assert [point.label for point in plan.points] == [
        "service=0.5",
        "service=exponential(mean=0.5)",
    ]


def test_an_empty_file_says_what_it_must_have(tmp_path):
    assert sentences(tmp_path, "# nothing\n") == [
        "small.yaml: is empty; it must have the keys name and environments"
    ]


@pytest.mark.parametrize("text", ["- a\n", "text\n", "5\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    [sentence] = sentences(tmp_path, text)
    assert sentence.startswith('small.yaml:1: must be a mapping ("key: value" lines); got')


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small", "name: Small", "small.yaml:1: name: must be 1 to 40 lower-case"),
        ("name: small", "nme: small", 'small.yaml:1: nme: unknown field, did you mean "name"?'),
        ("duration_seconds: 60", "duration_seconds: 0", "must be more than 0; got 0"),
        (
            "duration_seconds: 60",
            "seeds: [1, 2, 1]",
            "small.yaml:2: seeds: must have each seed once; 1 is there twice",
        ),
        ("duration_seconds: 60", "seeds: []\nduration_seconds: 60", "must not be empty"),
        (
            "duration_seconds: 60",
            "duration_seconds: 60\nstart_time: noon",
            'must be a date and a time as in "2024-01-01T00:00:00Z"; without a zone it is UTC',
        ),
        (
            "duration_seconds: 60",
            "duration_seconds: 60\nmeasure_from_seconds: 60",
            "small.yaml:3: measure_from_seconds: must be less than duration_seconds (60); got 60",
        ),
        (
            "duration_seconds: 60\n",
            "",
            "small.yaml:8: environments.code.arrivals: needs an end: give it a duration_seconds",
        ),
        (
            "gpus: 4",
            "gpus: 0.5",
            (
                "small.yaml:11: environments.chat.gpus: must be at most pool.gpus (0.5), "
                "or no replica can ever start; got 1"
            ),
        ),
        (
            "scale_down_delay: 60",
            "scale_down_dely: 60",
            (
                "small.yaml:6: defaults.autoscaling.scale_down_dely: unknown field, "
                'did you mean "scale_down_delay"?'
            ),
        ),
        (
            "concurrency: 2",
            "concurrency: 2\n    autoscaling: {concurrency_target: 3}",
            (
                "small.yaml:11: environments.code.autoscaling.concurrency_target: must be at most "
                "the deployment's concurrency (2)"
            ),
        ),
        (
            "concurrency: 2",
            "gpus: 1.5",
            "small.yaml:10: environments.code.gpus: must be a whole number, or a fraction below 1",
        ),
        (
            "min_replica: 1",
            "min_replica: 9",
            "chat.autoscaling.min_replica: must be at most max_replica (4); got 9",
        ),
        (
            "scale_down_delay: 60",
            "policy: {name: panik}",
            "small.yaml:6: defaults.autoscaling.policy.name: must be one of",
        ),
        (
            "scale_down_delay: 60",
            "policy: nowhere.at_all:Policy",
            (
                "small.yaml:6: defaults.autoscaling.policy: must name a policy that is on this "
                "machine: there is no module 'nowhere'; got nowhere.at_all:Policy"
            ),
        ),
        (
            "poisson: {rate: 2}",
            "poisson: {rate: 2}, trace: {file: x.csv}",
            "environments.code.arrivals: must have exactly one of trace, poisson",
        ),
        (
            "{exponential: {mean: 0.5}}",
            "{exponential: {mean: 0.5}, fixed: 1}",
            "small.yaml:5: defaults.service: must be a number, or have exactly one of",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(tmp_path, old, new, message):
    assert message in "\n".join(sentences(tmp_path, SMALL.replace(old, new, 1)))


def test_a_pool_that_cannot_hold_what_is_always_kept_is_refused_with_the_sum(tmp_path):
    text = SMALL.replace("max_replica: 4,", "max_replica: 4, min_replica: 2,")
    text = text.replace("{min_replica: 1}", "{min_replica: 3}")
    assert sentences(tmp_path, text) == [
        (
            "small.yaml:3: pool.gpus: must be at least what min_replica keeps: "
            "5 GPUs (2 for code + 3 for chat); got 4"
        )
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            "{environments.*.autoscaling.scale_down_dely: [1, 2]}",
            (
                "sweep.environments.*.autoscaling.scale_down_dely[0]: unknown field, "
                'did you mean "scale_down_delay"?'
            ),
        ),
        (
            "{autoscaling.scale_down_delay: [1, 2]}",
            (
                f"sweep.autoscaling.scale_down_delay[0]: must be a path that can be set, "
                f'did you mean "{DELAY}"?'
            ),
        ),
        ("{environments.cod.gpus: [1]}", 'did you mean "code"? (known: "code", "chat")'),
        (f"{{{DELAY}: [1, -2]}}", f"sweep.{DELAY}[1]: must be at least 0 and at most 3600; got -2"),
        (f"{{{DELAY}: []}}", f"sweep.{DELAY}: must not be empty"),
        (f"{{{DELAY}: 3}}", f"sweep.{DELAY}: must be a list"),
        ("{pool.gpus: [8, 0.5]}", "must be at most pool.gpus (0.5)"),
        ("{environments.code.gpus: [1, 8]}", "sweep.environments.code.gpus[1]: must be at most"),
        (f"{{{DELAY}: [1, 1.0]}}", 'must not have two points that read "scale_down_delay=1"'),
        (
            "{environments.code.concurrency.x: [1]}",
            "must lead to a setting; at environments.code.concurrency there is no",
        ),
    ],
)
def test_a_mistake_in_a_sweep_is_named_with_its_value(tmp_path, sweep, message):
    found = sentences(tmp_path, f"{SMALL}sweep: {sweep}\n")
    assert any(message in sentence for sentence in found), found
    assert len(found) <= 2


def test_a_mistake_in_a_variant_is_named_with_its_place(tmp_path):
    text = f"{SMALL}variants:\n  short: {{{DELAY}: 1}}\n  wrong:\n    {DELAY}: x\n"
    assert sentences(tmp_path, text) == [
        f'small.yaml:17: variants.wrong.{DELAY}: must be a number; got "x"'
    ]


def test_more_points_than_anybody_waits_for_are_refused(tmp_path):
    values = list(range(101))
    text = f"{SMALL}sweep: {{{DELAY}: {values}, duration_seconds: {values[1:]}}}\n"
    [sentence] = sentences(tmp_path, text)
    assert sentence.endswith("sweep: must come to at most 1000 points; it comes to 10100")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pool.gpus", '--set: must be path=value, as in "environments.*'),
        ("=3", "--set: must be path=value"),
        ("pool.gpus=[1", "--set: pool.gpus: must be a value as YAML has it; got [1"),
        ("pool.gpus=none", '--set: pool.gpus: must be a number; got "none"'),
        ("pool.gups=3", '--set: pool.gups: unknown field, did you mean "gpus"?'),
        ("pol.gpus=3", '--set: pol.gpus: must be a path that can be set, did you mean "pool.gpus"'),
        ("environments.*.x.y=3", "--set: environments.*.x.y: unknown field"),
    ],
)
def test_a_mistake_of_the_command_line_is_named_as_such(tmp_path, setting, message):
    assert message in "\n".join(sentences(tmp_path, SMALL, setting))


def test_everything_that_is_wrong_is_reported_at_once_in_the_order_of_the_file(tmp_path):
    text = SMALL.replace("rate: 2", "rate: -2").replace("mean: 0.5", "mean: 0")
    text = text.replace("name: small", "name: small\nname: twice") + "sweep: {x: [1]}\n"
    problems = refused(tmp_path, text)
    assert [problem.line for problem in problems] == [2, 6, 10, 15]


def test_the_time_of_day_at_which_it_begins_is_a_monday_unless_it_says_so(tmp_path):
    [point] = loaded(tmp_path, SMALL).points
    assert point.experiment.starts_at == 1_704_067_200
    [point] = loaded(tmp_path, SMALL, 'start_time="2026-01-05T08:00:00+01:00"').points
    assert point.experiment.starts_at == 1_767_596_400
    [point] = loaded(tmp_path, SMALL, 'start_time="2026-01-05T07:00:00"').points
    assert point.experiment.starts_at == 1_767_596_400


FULL = parse(SWEPT, "full.yaml").data


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every key and list item."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def replaced(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of `data` with `value` at `path`."""
    if not path:
        return value
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy


words = st.sampled_from(["code", "poisson", "rate", "fixed", "environments.*.gpus", "policy"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@given(path=st.sampled_from(places(FULL)), value=values)
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_value_in_any_place_loads_or_is_refused_with_a_reason(tmp_path, path, value):
    problems: list[Problem] = []
    plan = None
    try:
        plan = loaded(tmp_path, json.dumps(replaced(FULL, path, value)))
    except ConfigError as error:
        problems = error.errors
    assert all(problem.rule and problem.line for problem in problems)
    assert plan is None or all(isinstance(each.experiment, Experiment) for each in plan.points)

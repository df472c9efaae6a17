"""The `policy` of an environment's autoscaling, in its forms, right and wrong."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from orchestrator.config import Config, json_schema
from orchestrator.config.scaling_policy import policy_specs
from orchestrator.lifecycle.scaling.registry import BY_NAME

POLICY = "models.echo.environments.production.autoscaling.policy"
POLICIES = "tests.unit.lifecycle.scaling.policies"
WINDOW = "{start: 08:00, end: 18:00, replicas: 1}"

MINE = """\
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from annotated_types import Ge
from orchestrator.lifecycle.scaling.policy import Wish
if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.policy import Seen

@dataclass
class Mine:
    schema: Annotated[int, Ge(2)]
    copy: str | None = None

    def wish(self, now: float, seen: Seen) -> Wish:
        return Wish(self.schema, "mine")
"""


def with_policy(small: str, policy: str) -> str:
    """The small config with this policy, in line 13."""
    autoscaling = f"\n        deployment: v1\n        autoscaling:\n          policy: {policy}"
    return small.replace(" {deployment: v1}", autoscaling)


def specs(config: Config) -> list[dict[str, Any]]:
    return policy_specs(config.models["echo"].environments["production"].autoscaling.policy)


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ("panic", [("panic", {})]),
        ("{name: panic, activation_scale: 2}", [("panic", {"activation_scale": 2})]),
        ("{name: panic, stable_window: 30}", [("panic", {"stable_window": 30})]),
        (
            "[concurrency, {name: queue_delay, objective: 0.5}]",
            [("concurrency", {}), ("queue_delay", {"objective": 0.5})],
        ),
        (
            f"{{name: schedule, windows: [{WINDOW}]}}",
            [("schedule", {"windows": [{"start": "08:00", "end": "18:00", "replicas": 1}]})],
        ),
        (f'"{POLICIES}:Fixed"', [(f"{POLICIES}:Fixed", {})]),
    ],
)
def test_every_form_becomes_a_list_of_names_and_settings(loaded, small, policy, found):
    got = specs(loaded(with_policy(small, policy)))
    assert [(spec["name"], spec["settings"]) for spec in got] == found
    assert json.loads(json.dumps(got)) == got


def test_without_a_policy_it_is_that_of_the_contract(loaded, small):
    assert specs(loaded(small)) == [{"name": "concurrency", "settings": {}}]


@pytest.mark.parametrize(
    ("policy", "place", "message"),
    [
        ("concurency", "", '"schedule", or "module:Class", did you mean "concurrency"?; got'),
        ("panic.Policy", "", 'must be one of "concurrency"'),
        ("5", "", 'must be the name of a policy, a mapping with "name" and settings, or a list'),
        ("null", "", "must be the name of a policy"),
        ("[]", "", "must not be empty"),
        ("[panic, [panic]]", "[1]", "or a list of these; got a list of 1"),
        ("[panic, panik]", "[1]", 'did you mean "panic"?'),
        ("{objective: 1}", ".name", "must be the name of a policy: one of"),
        ("{name: [panic]}", ".name", "must be the name of a policy: one of"),
        ("{name: panik}", ".name", 'did you mean "panic"?; got "panik"'),
        ("{name: panic, stable_windw: 1}", ".stable_windw", 'unknown field, did you mean "stable'),
        ("{name: concurrency, target: 1}", ".target", "unknown field (known here: none); got 1"),
        ('{name: panic, stable_window: "60"}', ".stable_window", 'must be a number; got "60"'),
        ("{name: panic, stable_window: 0}", ".stable_window", "must be more than 0; got 0"),
        ("{name: panic, stable_window: .inf}", ".stable_window", "must be a finite number"),
        ("{name: panic, activation_scale: 1.5}", ".activation_scale", "must be a whole number"),
        ("{name: panic, activation_scale: true}", ".activation_scale", "must be a whole number"),
        ("{name: queue_delay, quantile: 1}", ".quantile", "must be more than 0 and less than 1"),
        ("[panic, {name: queue_delay, objective: 0}]", "[1].objective", "must be more than 0"),
        ("schedule", ".windows", "is required but missing"),
        ("{name: schedule, windows: []}", ".windows", "must not be empty"),
        ("{name: schedule, windows: [8]}", ".windows[0]", "must be a mapping"),
        (
            f"{{name: schedule, windows: [{WINDOW.replace('18', '08')}]}}",
            ".windows[0].start",
            'must be before the end ("00:00" to "24:00" is a whole day); got "08:00"',
        ),
        (
            f"[concurrency, {{name: schedule, windows: [{WINDOW}], timezone: Mars}}]",
            "[1].timezone",
            'must be a time zone that this machine knows, such as "Europe/Berlin"; got "Mars"',
        ),
        (
            f"{{name: schedule, windows: [{WINDOW.replace('replicas: 1', 'replicas: 2')}]}}",
            ".windows[0].replicas",
            "must be at most max_replica (1); got 2",
        ),
        ("json:Policy", "", "must name a policy: module 'json' has no class 'Policy'; got"),
        ("json:JSONDecoder", "", "class 'JSONDecoder' has no method wish(now, seen)"),
        (f'"{POLICIES}:NoPolicy"', "", "has no method wish(now, seen)"),
        (f'{{name: "{POLICIES}:Fixed", replicas: -1}}', ".replicas", "must be at least 0; got -1"),
        (f'{{name: "{POLICIES}:Refusing", low: 2, high: 1}}', "", "low must be at most high"),
        (f'{{name: "{POLICIES}:Refusing", low: 2}}', ".high", "is required but missing"),
    ],
)
def test_a_wrong_policy_is_refused_at_its_place(refused, small, policy, place, message):
    [problem] = refused(with_policy(small, policy))
    assert (problem.line, problem.path) == (13, f"{POLICY}{place}")
    assert message in str(problem)


def test_all_that_is_wrong_with_all_policies_is_told_at_once_with_its_lines(refused, small):
    problems = refused(
        with_policy(
            small,
            "\n"
            "            - name: panic\n"
            "              stable_window: 0\n"
            "              activation_scale: 0\n"
            "            - name: schedule\n"
            "              timezone: 5\n"
            "              windows:\n"
            "                - {start: 08:00, end: 18:00, replicas: 1}\n",
        )
    )
    assert [(problem.line, problem.path) for problem in problems] == [
        (15, f"{POLICY}[0].stable_window"),
        (16, f"{POLICY}[0].activation_scale"),
        (18, f"{POLICY}[1].timezone"),
    ]


@pytest.mark.parametrize("policy", ['"\\ud800"', '{name: panic, stable_window: "\\ud800"}'])
def test_half_a_surrogate_pair_is_refused_like_any_text(refused, small, policy):
    assert refused(with_policy(small, policy))[0].path.startswith(POLICY)


def test_a_wrong_policy_hides_no_other_mistake(refused, small):
    text = with_policy(small, "panik\n        queue: {max_requests: 0}")
    assert len(refused(text)) == 2


def test_a_module_that_is_not_on_this_machine_is_left_to_the_cluster(loaded, small):
    found = specs(loaded(with_policy(small, '{name: "nowhere.policies:Mine", any: [1]}')))
    assert found == [{"name": "nowhere.policies:Mine", "settings": {"any": [1]}}]


def test_a_class_beside_the_file_is_found_and_its_settings_are_checked(
    loaded, refused, small, tmp_path
):
    (tmp_path / "scaling_of_mine.py").write_text(MINE)
    path = list(sys.path)
    right = '{name: "scaling_of_mine:Mine", schema: 2, copy: x}'
    assert specs(loaded(with_policy(small, right)))[0]["settings"] == {"schema": 2, "copy": "x"}
    [problem] = refused(with_policy(small, '{name: "scaling_of_mine:Mine", schema: 1}'))
    assert str(problem) == f"cluster.yaml:13: {POLICY}.schema: must be at least 2; got 1"
    assert sys.path == path


def test_a_class_whose_types_nobody_can_tell_is_refused(refused, small, tmp_path):
    text = MINE.replace("schema: Annotated[int, Ge(2)]", "schema: Seen")
    (tmp_path / "scaling_untold.py").write_text(text)
    [problem] = refused(with_policy(small, '{name: "scaling_untold:Mine", schema: 1}'))
    assert "has settings whose types cannot be told: NameError: name 'Seen'" in problem.rule


def test_a_module_that_raises_says_what(refused, small, tmp_path):
    (tmp_path / "scaling_broken.py").write_text("1 / 0")
    [problem] = refused(with_policy(small, "scaling_broken:Mine"))
    assert "importing scaling_broken raised ZeroDivisionError: division by zero" in problem.rule


def test_a_policy_may_take_whatever_it_is_given(loaded, small, tmp_path):
    text = MINE.replace("@dataclass\n", "").replace(
        "    schema: Annotated[int, Ge(2)]\n    copy: str | None = None\n",
        "    def __init__(self, **settings): pass\n",
    )
    (tmp_path / "scaling_open.py").write_text(text)
    policy = '{name: "scaling_open:Mine", a: 1, b: [2]}'
    assert specs(loaded(with_policy(small, policy)))[0]["settings"] == {"a": 1, "b": [2]}


def test_editors_know_the_settings_of_every_policy_that_comes_with_the_system():
    policy = json_schema()["$defs"]["Autoscaling"]["properties"]["policy"]
    objects = {
        form["properties"]["name"]["const"]: form
        for form in policy["anyOf"]
        if "const" in form.get("properties", {}).get("name", {})
    }
    assert list(objects) == list(BY_NAME)
    assert objects["schedule"]["required"] == ["name", "windows"]
    assert objects["panic"]["properties"]["activation_scale"]["minimum"] == 1
    assert policy["default"] == "concurrency"
    [several] = [form for form in policy["anyOf"] if form.get("type") == "array"]
    assert several["items"]["anyOf"] == [form for form in policy["anyOf"] if form != several]

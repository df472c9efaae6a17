"""`defaults` under environments, settings over them, and where a part stands in the file."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.document import parse
from orchestrator.simulator.composing import COMMAND_LINE, compose
from orchestrator.simulator.sweep import Setting

TEXT = """\
name: small
defaults:
  arrivals:
    time_scale: 0.5
    trace: {format: servegen, file: a.csv}
  service: {exponential: {mean: 1}}
  autoscaling:
    max_replica: 4
    policy: {name: panic, panic_threshold: 3}
environments:
  code:
    arrivals: {trace: {client: 5}}
    service: {fixed: 2}
    autoscaling:
      policy: {name: predictive}
  chat:
    arrivals: {poisson: {rate: 1}}
  idle:
sweep:
  environments.*.autoscaling.max_replica: [1, 2]
"""
MOST = "environments.*.autoscaling.max_replica"


def composed(*settings: Setting) -> Any:
    return compose(parse(TEXT, "small.yaml"), settings)


def test_sections_take_over_key_by_key_and_choices_as_a_whole():
    code = composed().data["environments"]["code"]
    assert code["autoscaling"] == {"max_replica": 4, "policy": {"name": "predictive"}}
    assert code["service"] == {"fixed": 2}


def test_a_trace_takes_over_from_the_trace_of_the_defaults():
    environments = composed().data["environments"]
    assert environments["code"]["arrivals"] == {
        "time_scale": 0.5,
        "trace": {"client": 5, "format": "servegen", "file": "a.csv"},
    }


def test_another_source_takes_the_place_of_that_of_the_defaults():
    environments = composed().data["environments"]
    assert environments["chat"]["arrivals"] == {"time_scale": 0.5, "poisson": {"rate": 1}}


def test_an_environment_with_nothing_in_it_is_as_the_defaults():
    found = composed().data
    assert found["environments"]["idle"] == found["defaults"]


def test_a_setting_for_all_environments_reaches_each_and_leaves_the_document_alone():
    document = parse(TEXT, "small.yaml")
    before = copy.deepcopy(document.data)
    found = compose(document, [Setting(MOST, 2, ("sweep", MOST, 1))])
    reached = [each["autoscaling"]["max_replica"] for each in found.data["environments"].values()]
    assert reached == [2, 2, 2]
    assert document.data == before


def test_a_later_setting_wins():
    found = composed(
        Setting(MOST, 2, ("sweep", MOST, 1)),
        Setting("environments.chat.autoscaling.max_replica", 9, (COMMAND_LINE, "x")),
    )
    environments = found.data["environments"]
    assert environments["chat"]["autoscaling"]["max_replica"] == 9
    assert environments["code"]["autoscaling"]["max_replica"] == 2


def test_a_setting_may_lead_through_what_is_not_there_yet_and_through_lists():
    found = composed(
        Setting("pool.gpus", 2, ("sweep", "pool.gpus", 0)),
        Setting("environments.code.autoscaling.policy", [{"name": "panic"}], ("sweep", "p", 0)),
        Setting("environments.code.autoscaling.policy.0.name", "own", ("sweep", "q", 0)),
    )
    assert found.data["pool"] == {"gpus": 2}
    assert found.data["environments"]["code"]["autoscaling"]["policy"] == [{"name": "own"}]
    assert found.problems == []


def test_a_setting_that_leads_into_a_number_is_a_problem_where_it_stands():
    [problem] = composed(Setting("name.x", 1, ("sweep", MOST, 0))).problems
    assert str(problem) == (
        f"small.yaml:20: sweep.{MOST}[0]: must lead to a setting; "
        'at name there is no "x"; got "small"'
    )
    path = "environments.code.autoscaling.policy.0"
    [problem] = composed(
        Setting("environments.code.autoscaling.policy", [], (COMMAND_LINE, "p")),
        Setting(f"{path}.name", 1, (COMMAND_LINE, path)),
    ).problems
    assert str(problem).startswith(f"--set: {path}: must lead to a setting")


def test_what_is_wrong_is_reported_where_it_was_written():
    found = composed(
        Setting("environments.code.autoscaling.max_replica", 0, ("sweep", MOST, 1)),
        Setting("environments.code.gpus", -1, (COMMAND_LINE, "environments.code.gpus")),
    )
    places = [
        ("environments", "code", "autoscaling", "max_replica"),
        ("environments", "chat", "autoscaling", "policy", "panic_threshold"),
        ("environments", "chat", "arrivals", "poisson", "rate"),
        ("environments", "idle", "service"),
        ("environments", "code", "gpus"),
    ]
    assert [str(found.problem(place, "wrong")) for place in places] == [
        f"small.yaml:20: sweep.{MOST}[1]: wrong",
        "small.yaml:9: defaults.autoscaling.policy.panic_threshold: wrong",
        "small.yaml:17: environments.chat.arrivals.poisson.rate: wrong",
        "small.yaml:6: defaults.service: wrong",
        "--set: environments.code.gpus: wrong",
    ]


parts = st.sampled_from(["environments", "*", "code", "chat", "idle", "autoscaling", "policy", "0"])
values: st.SearchStrategy[Any] = (
    st.none() | st.integers() | st.just([]) | st.just({}) | st.just([{"name": 1}])
)


@given(st.lists(st.tuples(st.lists(parts, min_size=1).map(".".join), values), max_size=4))
def test_any_settings_are_put_in_or_are_problems(pairs):
    document = parse(TEXT, "small.yaml")
    before = copy.deepcopy(document.data)
    settings = [Setting(path, value, ("sweep", path, 0)) for path, value in pairs]
    found = compose(document, settings)
    assert document.data == before
    assert all(problem.rule for problem in found.problems)

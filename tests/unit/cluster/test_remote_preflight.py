"""What nodes of an existing Ray cluster lack, and what each of them is asked."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.cluster import node_survey, preflight
from orchestrator.cluster.membership import DRAINING, Node
from orchestrator.cluster.node_survey import NO_ANSWER
from orchestrator.cluster.preflight import Lack, UnfitNodesError
from orchestrator.config import Config
from orchestrator.config.loading import load_text

SETTINGS = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "700"}
CPU = Node(id="a" * 56, address="10.0.0.1", total={"CPU": 4}, labels={"zone": "one"})
GPU = Node(id="b" * 56, address="10.0.0.2", total={"CPU": 8, "GPU": 2}, labels={"zone": "two"})

FILE = """
cluster: {name: fleet, host: 0.0.0.0}
auth: {enabled: true, keys: {dev: {secret: "${DEV_KEY}"}}}
store: "${STORE}"
models:
  small:
    deployments:
      v1: {runner: {type: python, class: "small.model:Small"}}
    environments: {production: {deployment: v1}}
  large:
    deployments:
      v1:
        runner: {type: python, class: "large.model:Large"}
        resources: {num_gpus: 1}
        environment_variables: {TOKEN: "${HUB_TOKEN}"}
    environments: {production: {deployment: v1}}
"""


@pytest.fixture(scope="module")
def config() -> Config:
    env = {"DEV_KEY": "k" * 32, "STORE": "redis://store:6379/0", "HUB_TOKEN": "t"}
    return load_text(FILE, "fleet.yaml", env)


def good(**changes: Any) -> dict[str, Any]:
    return {
        "variables": dict(SETTINGS),
        "present": {"STORE": True, "HUB_TOKEN": True},
        "modules": {"small.model": True, "large.model": True},
        "version": "1.0",
        "package": True,
        "python": "3.11.9",
        "secrets": ["one"],
        **changes,
    }


def lacks(
    config: Config, *answers: dict[str, Any], nodes: tuple[Node, ...] = (CPU, GPU)
) -> list[tuple[str, str]]:
    """What is missing where, by the nodes' addresses."""
    given = {node.id: answer for node, answer in zip(nodes, answers, strict=True)}
    found = preflight.lacks(config, SETTINGS, "1.0", list(nodes), given)
    return [(lack.node.split()[0], f"{lack.missing}: {lack.remedy}") for lack in found]


def test_nodes_are_asked_for_all_that_the_config_needs(config: Config) -> None:
    question = preflight.question(config, SETTINGS)
    assert question["variables"] == sorted(SETTINGS)
    assert question["present"] == ["HUB_TOKEN", "STORE"]
    assert question["modules"] == ["large.model", "small.model"]


def test_nodes_that_have_everything_lack_nothing(config: Config) -> None:
    assert lacks(config, good(), good()) == []


def test_a_setting_that_is_missing_or_other_is_named_with_its_value(config: Config) -> None:
    variables = {**SETTINGS, "RAY_SERVE_ENABLE_HA_PROXY": None}
    other = {**SETTINGS, "RAY_SERVE_ENABLE_HA_PROXY": "0"}
    assert lacks(config, good(variables=variables), good(variables=other)) == [
        ("10.0.0.1", "RAY_SERVE_ENABLE_HA_PROXY: set it to 1"),
        ("10.0.0.2", "RAY_SERVE_ENABLE_HA_PROXY: set it to 1; it is 0"),
    ]


@pytest.mark.parametrize(
    ("has", "enough"), [("700", True), ("900.0", True), ("120", False), ("", False)]
)
def test_of_a_bound_a_node_may_have_more(config: Config, has: str, enough: bool) -> None:
    variables = {**SETTINGS, "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": has}
    found = lacks(config, good(variables=variables), good())
    assert (found == []) is enough
    if not enough:
        assert "set it to 700 or more" in found[0][1]


def test_the_package_is_missing_or_another_release(config: Config) -> None:
    found = lacks(config, good(version=None, package=False), good(version="0.9"))
    assert [said.partition(":")[0] for _, said in found] == [
        "orchestrator-serve",
        "orchestrator-serve 1.0",
    ]
    assert "it has 0.9" in found[1][1]


def test_a_models_needs_are_asked_of_nodes_that_could_run_it(config: Config) -> None:
    bare = good(
        present={"STORE": True, "HUB_TOKEN": False},
        modules={"small.model": True, "large.model": False},
    )
    assert lacks(config, bare, good()) == []
    found = lacks(config, good(), bare)
    assert [node for node, _ in found] == ["10.0.0.2", "10.0.0.2"]
    assert found[0][1].startswith("module large.model: ")
    assert found[1][1].startswith("HUB_TOKEN: ")


def test_the_stores_address_is_asked_of_nodes_that_may_get_a_router(config: Config) -> None:
    without = good(present={"STORE": False, "HUB_TOKEN": True})
    assert lacks(config, without, good())[0][1].startswith("STORE: ")
    placement = config.placement.model_copy(
        update={"router": {"zone": "two"}, "dispatcher": {"zone": "in(two, three)"}}
    )
    placed = config.model_copy(update={"placement": placement})
    assert lacks(placed, without, good()) == []


@pytest.mark.parametrize(
    ("secrets", "named"),
    [(None, "set it to the path"), ("/run/secret: No such file or directory", "/run/secret")],
)
def test_a_node_without_a_usable_secret(config: Config, secrets: object, named: str) -> None:
    ((node, said),) = lacks(config, good(secrets=secrets), good())
    assert node == "10.0.0.1"
    assert said.startswith("ORCHESTRATOR_CLUSTER_SECRET_FILE: ")
    assert named in said


def test_no_secret_is_needed_on_loopback(config: Config) -> None:
    here = msgspec.structs.replace(CPU, address="127.0.0.1")
    assert lacks(config, good(secrets=None), nodes=(here,)) == []


def test_nodes_in_the_middle_of_a_rotation_understand_each_other(config: Config) -> None:
    assert lacks(config, good(secrets=["one", "two"]), good(secrets=["two", "one"])) == []


def test_a_node_that_would_refuse_what_another_sends_is_named(config: Config) -> None:
    ((node, said),) = lacks(config, good(secrets=["one"]), good(secrets=["two", "one"]))
    assert node == "10.0.0.1"
    assert "other secrets than 10.0.0.2" in said


def test_a_node_that_did_not_answer_lacks_an_answer(config: Config) -> None:
    found = lacks(config, {NO_ANSWER: "it did not answer within 30 s"}, good())
    assert found == [("10.0.0.1", "an answer: it did not answer within 30 s")]


def test_a_draining_node_is_not_judged(config: Config) -> None:
    leaving = msgspec.structs.replace(CPU, state=DRAINING)
    assert lacks(config, good(version="0.1"), nodes=(leaving,)) == []


def test_an_environment_without_any_fitting_node_is_named(config: Config) -> None:
    assert preflight.nowhere(config, [CPU, GPU]) == []
    assert preflight.nowhere(config, [CPU]) == ["large/production"]


@pytest.mark.parametrize(
    ("selector", "met"),
    [("one", True), ("!one", False), ("in(two, one)", True), ("!in(one)", False), ("two", False)],
)
def test_labels_are_compared_as_rays_selectors_are(selector: str, met: bool) -> None:
    assert preflight.meets({"zone": "one"}, {"zone": selector}) is met


def test_a_label_that_a_node_lacks_is_only_met_by_what_is_not_asked_for() -> None:
    assert not preflight.meets({}, {"zone": "one"})
    assert preflight.meets({}, {"zone": "!one"})


def test_the_message_is_a_table_of_nodes_and_what_to_set() -> None:
    error = UnfitNodesError([Lack("10.0.0.1 (aa)", "A", "set it to 1"), Lack("b", "LONGER", "x")])
    assert str(error).splitlines()[1:] == [
        "  10.0.0.1 (aa)  A       set it to 1",
        "  b              LONGER  x",
    ]


def test_a_node_looks_at_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secrets"
    file.write_text("n" * 32 + "\n" + "o" * 40 + "\n")
    monkeypatch.setenv("THE_FILE", str(file))
    monkeypatch.setenv("SET", "value")
    question = {
        "variables": ["SET", "UNSET"],
        "present": ["SET", "UNSET"],
        "modules": ["json", "json.decoder", "no_such_module", "json.no_such_part"],
        "distribution": "no-such-distribution",
        "package": "orchestrator.release",
        "secret": "THE_FILE",
        "shortest": 32,
    }
    seen = node_survey.look(question)
    assert seen["variables"] == {"SET": "value", "UNSET": None}
    assert seen["present"] == {"SET": True, "UNSET": False}
    assert [*seen["modules"].values()] == [True, True, False, False]
    assert (seen["version"], seen["package"]) == (None, True)
    assert [len(digest) for digest in seen["secrets"]] == [64, 64]

    file.write_text("short\n")
    assert "32 characters or more" in node_survey.look(question)["secrets"]
    file.unlink()
    assert "No such file" in node_survey.look(question)["secrets"]
    monkeypatch.delenv("THE_FILE")
    assert node_survey.look(question)["secrets"] is None

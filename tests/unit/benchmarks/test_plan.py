"""Which cases are measured, on which configuration."""

import socket
from contextlib import closing

import pytest
from ruamel.yaml import YAML

from tests.benchmarks.__main__ import choose
from tests.benchmarks.peers.bento_ml import BentoMLPeer
from tests.benchmarks.peers.lit_serve import LitServePeer
from tests.benchmarks.peers.orchestrator import CONFIG, MODELS, OrchestratorPeer, write_config
from tests.benchmarks.suite import CONTENDED_CASES, ECHO, OURS, PEERS, Case, Plan
from tests.ports import free_ports, free_range


def test_every_case_of_ours_is_a_model_of_the_configuration():
    models = YAML(typ="safe").load(CONFIG.read_text(encoding="utf-8"))["models"]

    assert set(models) == set(MODELS)
    assert {ECHO, *(model for model, _ in CONTENDED_CASES)} == set(MODELS)


def test_configuration_is_written_with_a_port_and_a_name_of_its_own(tmp_path):
    write_config(tmp_path / "bench.yaml", 12_345)

    written = YAML(typ="safe").load((tmp_path / "bench.yaml").read_text(encoding="utf-8"))
    original = YAML(typ="safe").load(CONFIG.read_text(encoding="utf-8"))
    assert written["cluster"]["port"] == 12_345
    assert written["cluster"]["name"] != original["cluster"]["name"]
    assert written["models"] == original["models"]


def test_only_ours_is_measured_with_a_line_of_waiters():
    plan = Plan(PEERS, (1, 16), rounds=1, seconds=1)

    assert plan.cases("litserve") == [Case("litserve", ECHO, 1), Case("litserve", ECHO, 16)]
    assert len(plan.cases(OURS)) == 2 + len(CONTENDED_CASES)


def test_without_contention_ours_has_the_cases_of_the_others():
    plan = Plan(PEERS, (1, 16), rounds=1, seconds=1, contended=False)

    assert plan.cases(OURS) == [Case(OURS, ECHO, 1), Case(OURS, ECHO, 16)]


def test_chosen_systems_run_in_the_usual_order():
    assert choose(["bentoml", "litserve"]) == [LitServePeer, BentoMLPeer]
    assert choose(None) == choose([]) == list(PEERS)
    assert choose([OURS]) == [OrchestratorPeer]


def test_unknown_system_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'triton'; the known ones are: orchestrator, litserve"):
        choose(["triton"])


def test_free_ports_differ_and_can_be_taken():
    ports = free_ports(5)

    assert len(set(ports)) == 5
    for port in ports:
        with closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", port))


def test_free_range_can_be_taken_whole():
    first = free_range(3)

    for port in range(first, first + 3):
        with closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", port))

"""Joining a cluster: what is refused before anything starts, and what a node is told."""

import json
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from orchestrator.cluster import (
    cluster_plan,
    joining,
    node_supervisor,
    records,
    supervisor,
    ticket,
)
from orchestrator.cluster.joining import Offer
from orchestrator.cluster.records import ClusterError
from orchestrator.cluster.settings import MAX_CONNECTIONS
from orchestrator.cluster.ticket import Ticket
from orchestrator.config import load

CONFIG = """
cluster: {name: alpha, host: HOST, port: 8000}
store: STORE
auth: {enabled: true, keys: {dev: {secret: "${DEV_KEY}"}}}
models:
  echo:
    deployments:
      v1:
        runner: {type: python, class: "replicas.examples.echo:Echo"}
        environment_variables: {KEY: "${MODEL_KEY}", BOTH: "${MODEL_KEY}/${OTHER}"}
    environments:
      production: {deployment: v1}
"""


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("ORCHESTRATOR_CLUSTER_SECRET_FILE", raising=False)
    return tmp_path


def a_ticket(**changes: object) -> Ticket:
    made = Ticket(
        cluster="alpha",
        gcs_address="203.0.113.1:6379",
        host="0.0.0.0",
        port=8000,
        url="http://203.0.113.1:8000",
        settings={"RAY_SERVE_ENABLE_HA_PROXY": "1", MAX_CONNECTIONS: "100"},
        ray_token="t" * 64,
        cluster_secret="s" * 64,
        variables=[],
        versions=ticket.versions(),
    )
    return msgspec.structs.replace(made, **changes)


def written(folder: Path, value: Ticket) -> Path:
    path = folder / ticket.FILE
    path.write_bytes(msgspec.json.encode(value))
    return path


def test_a_machine_that_does_not_fit_is_told_all_that_is_wrong(tmp_path: Path) -> None:
    versions = ticket.versions() | {"Ray": "1.0", "Python": "3.9.1", "orchestrator-serve": "9"}
    file = written(tmp_path, a_ticket(versions=versions, variables=["ABSENT_HERE"]))
    with pytest.raises(ClusterError) as refused:
        joining.join(file, Offer(node_ip="203.0.113.2"), detach=True)
    for part in ("Ray is ", "1.0 on", "Python is ", "3.9.1 on", "9 on", "set ABSENT_HERE"):
        assert part in str(refused.value)
    assert not records.read_all()


@pytest.mark.parametrize("content", ["", "{}", '{"cluster": 1}'])
def test_a_file_that_is_no_join_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "join.json"
    file.write_text(content)
    with pytest.raises(ClusterError, match="is not what `orchestrator up --node-ip` wrote"):
        joining.join(file, Offer(node_ip="203.0.113.2"), detach=True)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot read .*: No such file"):
        joining.join(tmp_path / "absent", Offer(node_ip="203.0.113.2"), detach=True)


def test_a_node_on_loopback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="not loopback"):
        joining.join(written(tmp_path, a_ticket()), Offer(node_ip="127.0.0.1"), detach=True)


def test_an_address_that_is_not_this_machines_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, a_ticket())
    with pytest.raises(ClusterError, match=r"203\.0\.113\.2 is no address of this machine"):
        joining.join(file, Offer(node_ip="203.0.113.2"), detach=True)


def test_a_cluster_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"cannot be reached at 127.0.0.1:{port}"):
            node_supervisor._Control(f"127.0.0.1:{port}")


def test_a_node_has_its_own_identity_and_the_clusters_secrets(state_directory: Path) -> None:
    name = "alpha@203.0.113.2"
    records.make_folder(name)
    offer = Offer(node_ip="203.0.113.2", cpus=2, labels={"site": "east"}, resources={"seat": 1.5})
    plan = joining._plan(name, a_ticket(), offer, state_directory / "join.json", None)
    settings = plan.record.settings
    secret = Path(settings["ORCHESTRATOR_CLUSTER_SECRET_FILE"])
    token = Path(settings["RAY_AUTH_TOKEN_PATH"])
    assert (secret.read_text(), token.read_text()) == ("s" * 64, "t" * 64)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (secret, token)} == {0o600}
    assert settings["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "1"
    assert plan.record.joined
    again = joining._plan(name, a_ticket(), offer, state_directory / "join.json", None)
    assert again.record.token != plan.record.token


def test_ray_is_told_what_a_node_offers(state_directory: Path) -> None:
    records.make_folder("alpha@203.0.113.2")
    offer = Offer(node_ip="203.0.113.2", cpus=2, labels={"site": "east"}, resources={"seat": 1.5})
    plan = joining._plan("alpha@203.0.113.2", a_ticket(), offer, state_directory, None)
    command = node_supervisor._ray_start(plan, Path("/run/ray"))
    assert {"--num-cpus=2", "--labels=site=east", "--temp-dir=/run/ray"} <= set(command)
    resources = next(word for word in command if word.startswith("--resources="))
    assert json.loads(resources.partition("=")[2]) == {"seat": 1.5}
    assert not any(word.startswith("--num-gpus") for word in command), "Ray counts them itself"


def plan_of(
    folder: Path, *, host: str, store: str, node_ip: str | None
) -> cluster_plan.ClusterPlan:
    file = folder / "alpha.yaml"
    file.write_text(CONFIG.replace("HOST", host).replace("STORE", store))
    env = {
        "DEV_KEY": "0123456789abcdef",
        "MODEL_KEY": "k",
        "OTHER": "o",
        "STORE": "redis://203.0.113.9:6379",
    }
    return cluster_plan.plan_of(load(file, env), file, env, node_ip=node_ip)


def test_a_cluster_of_several_nodes_needs_what_all_nodes_reach(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refused:
        plan_of(tmp_path, host="127.0.0.1", store="embedded", node_ip="203.0.113.1")
    for part in ("cluster.host: ", "store: "):
        assert part in str(refused.value)


def test_a_first_node_says_what_others_need_and_where_it_is(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, host="0.0.0.0", store="${STORE}", node_ip="203.0.113.1")
    assert plan.variables == ["MODEL_KEY", "OTHER", "STORE"]
    assert plan.url == "http://203.0.113.1:8000"
    assert plan.serve["http_options"] == {"host": "0.0.0.0", "port": 8000}


def test_a_public_cluster_on_one_machine_keeps_its_routers_on_loopback(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, host="0.0.0.0", store="embedded", node_ip=None)
    assert plan.serve["http_options"]["host"] == "127.0.0.1"
    assert plan.url == "http://127.0.0.1:8000"


def test_others_join_with_the_secret_that_holds_now(state_directory: Path) -> None:
    records.make_folder("alpha")
    secret = state_directory / "secret"
    secret.write_text("one")
    file = state_directory / "alpha.yaml"
    record = joining._plan("alpha", a_ticket(), Offer(node_ip="203.0.113.2"), file, None).record
    record = msgspec.structs.replace(record, gcs_address="203.0.113.1:6379")
    plan = supervisor.Plan(
        record=record,
        parent=None,
        serve={},
        embedded_store=False,
        cpus=1,
        gpus=None,
        node_ip="203.0.113.1",
        ready_seconds=1,
        labels={},
        resources={},
        ticket=a_ticket(gcs_address="", ray_token="", cluster_secret=""),
        secret_file=str(secret),
    )
    keeper = supervisor.Supervisor(plan)
    keeper._write_ticket()
    path = records.folder_of("alpha") / ticket.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ticket.read(path) == a_ticket(cluster_secret="one")
    secret.write_text("two\none\n")
    keeper._write_ticket()
    assert ticket.read(path).cluster_secret == "two\none\n"
    secret.unlink()
    keeper._write_ticket()
    assert ticket.read(path).cluster_secret == "two\none\n"

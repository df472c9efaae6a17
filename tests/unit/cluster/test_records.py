"""What is written down about a cluster, and where its sockets lie."""

import resource
from pathlib import Path

import msgspec
import pytest

from orchestrator.cluster import local, processes, records, starting
from orchestrator.cluster.machine import require_open_files
from orchestrator.cluster.processes import ProcessId
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase
from orchestrator.cluster.settings import serve_settings

# Linux's limit, less what HAProxy adds while it binds a socket.
LONGEST_SOCKET_PATH = 107 - len(".4194304.tmp")
RAY_NODE_ID = "f" * 56


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(tmp_path))
    return tmp_path


def a_record(name: str = "alpha", **changes: object) -> ClusterRecord:
    record = ClusterRecord(
        name=name,
        token="0123456789abcdef",
        boot=processes.boot_id(),
        supervisor=ProcessId(pid=1, started_ticks=-1),
        phase=Phase.READY,
        url="http://127.0.0.1:8000",
        config_path="/alpha.yaml",
        run_directory=str(records.run_directory_of(name)),
        settings={"RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": "20000"},
        fixed={"cluster.port": 8000},
    )
    return msgspec.structs.replace(record, **changes)


def running() -> ProcessId:
    process = processes.identify(1)
    assert process is not None
    return process


def test_a_record_is_read_as_it_was_written() -> None:
    record = a_record()
    records.write(record)
    assert records.read("alpha") == record
    assert records.read_all() == [record]
    records.forget("alpha")
    assert records.read("alpha") is None


def test_a_damaged_record_counts_as_none(state_directory: Path) -> None:
    (state_directory / "alpha").mkdir()
    (state_directory / "alpha" / "cluster.json").write_text('{"name": "al')
    assert records.read("alpha") is None


def test_a_file_among_the_clusters_is_passed_over(state_directory: Path) -> None:
    (state_directory / "notes.txt").write_text("not a cluster")
    (state_directory / "empty").mkdir()
    records.write(a_record())
    assert records.read_all() == [a_record()]
    assert records.read("notes.txt") is None


@pytest.mark.parametrize("in_the_way", ["state", "state/alpha"])
def test_a_file_where_the_clusters_folder_should_be_is_named(
    state_directory: Path, monkeypatch: pytest.MonkeyPatch, in_the_way: str
) -> None:
    file = state_directory / in_the_way
    file.parent.mkdir(exist_ok=True)
    file.write_text("not a folder")
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(state_directory / "state"))
    with pytest.raises(ClusterError, match=f"cannot make the folder {state_directory}/state/alpha"):
        records.make_folder("alpha")


def test_a_record_of_another_boot_is_not_running_whatever_has_its_pid_now() -> None:
    assert a_record(supervisor=running()).running
    assert not a_record(supervisor=running(), boot="another").running


def test_processes_of_another_boot_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    records.write_processes("alpha", {ProcessId(7, 8)})
    assert records.read_processes("alpha") == [ProcessId(7, 8)]
    monkeypatch.setattr(records, "boot_id", lambda: "another")
    assert records.read_processes("alpha") == []


def test_the_state_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORCHESTRATOR_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert records.state_directory() == tmp_path / "xdg" / "orchestrator"


def test_socket_paths_fit_for_any_name_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4_294_967_294)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    directory = records.run_directory_of("a" * 40)
    settings = settings_in(directory, [])
    for key in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(settings[key])
        assert len(str(path.parent / RAY_NODE_ID / path.name)) <= LONGEST_SOCKET_PATH


def test_a_port_block_of_another_cluster_is_not_used_again(tmp_path: Path) -> None:
    key = "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"
    first = settings_in(tmp_path, [])
    second = settings_in(tmp_path, [a_record(settings=first)])
    assert int(second[key]) >= int(first["RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT"])


def test_a_request_may_take_as_long_as_its_time_outs_allow(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, [])
    assert int(settings["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) > 5000
    assert int(settings["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"]) > 5000


def test_more_connections_than_the_user_may_open_files_for_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    require_open_files(1923)
    with pytest.raises(ClusterError, match=r"1924 needs 4098 open files.* 4096.* 1923 at most"):
        require_open_files(1924)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    require_open_files(1924)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr("os.geteuid", lambda: 0)  # who raises it
    require_open_files(1924)


def settings_in(directory: Path, others: list[ClusterRecord]) -> dict[str, str]:
    return serve_settings(
        run_directory=directory,
        token="t",
        max_connections=100,
        drain_seconds=2,
        longest_request_seconds=5000,
        others=others,
    )


def test_without_a_name_the_only_running_cluster_is_meant() -> None:
    records.write(a_record("dead"))
    records.write(a_record("alive", supervisor=running()))
    assert local.select(None).name == "alive"
    assert local.only_recorded() == "alive"


def test_without_a_name_two_running_clusters_are_not_chosen_between() -> None:
    for name in ("one", "two"):
        records.write(a_record(name, supervisor=running()))
    with pytest.raises(ClusterError, match="choose one with --name: one, two"):
        local.select(None)
    with pytest.raises(ClusterError, match="choose with --name: one, two"):
        local.only_recorded()


def test_a_run_directory_that_others_can_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "shared" / "key"
    directory.parent.mkdir()
    directory.parent.chmod(0o777)
    monkeypatch.setattr(records, "run_directory_of", lambda _: directory)
    with pytest.raises(ClusterError, match="can be written to by other users"):
        starting.make_run_directory("alpha")

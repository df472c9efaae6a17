"""The commands: what they print, and that each refusal says what would be right."""

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from orchestrator import cli

EXAMPLE = """\
cluster:
  name: example
  port: {port}
models:
  echo:
    deployments:
      v1:
        runner: {{type: python, class: "replicas.examples.echo:Echo"}}
    environments:
      production:
        deployment: {deployment}
"""


@pytest.fixture(autouse=True)
def nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("ORCHESTRATOR_API_KEY", raising=False)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])


def a_file(directory: Path, *, port: int = 8000, deployment: str = "v1") -> str:
    path = directory / "example.yaml"
    path.write_text(EXAMPLE.format(port=port, deployment=deployment), encoding="utf-8")
    return str(path)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, arguments, input=stdin)


def test_validate_counts_what_it_found(tmp_path: Path) -> None:
    result = run("validate", a_file(tmp_path))
    assert result.exit_code == 0
    assert "valid: 1 models, 1 environments" in result.stdout


def test_validate_names_file_line_key_and_rule(tmp_path: Path) -> None:
    file = a_file(tmp_path, deployment="v2")
    result = run("validate", file)
    assert result.exit_code == cli.REFUSED
    assert re.search(rf"{re.escape(file)}:11: .*deployment.*v2", result.stderr)


def test_validate_names_a_file_that_is_not_there() -> None:
    result = run("validate", "absent.yaml")
    assert result.exit_code == cli.REFUSED
    assert "absent.yaml" in result.stderr


def test_compile_prints_what_serve_deploy_reads(tmp_path: Path) -> None:
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

    compiled = yaml.safe_load(run("compile", a_file(tmp_path)).stdout)
    applications = ServeDeploySchema.model_validate(compiled).applications
    names = [application.name for application in applications]
    assert names == ["router", "dispatcher", "observatory", "echo.production"]


def test_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["$schema"].startswith("https://json-schema.org/")


def test_up_names_the_taken_port_and_who_holds_it(tmp_path: Path, taken_port: int) -> None:
    result = run("up", a_file(tmp_path, port=taken_port))
    assert result.exit_code == cli.REFUSED
    assert f"cannot listen on 127.0.0.1:{taken_port}" in result.stderr
    assert f"(pid {os.getpid()})" in result.stderr
    assert "cluster.port" in result.stderr


def test_up_is_refused_before_anything_starts_while_the_store_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("STORE", f"redis://me:s3cret@127.0.0.1:{unused_tcp_port}/0")
    file = Path(a_file(tmp_path))
    file.write_text("store: ${STORE}\n" + file.read_text())
    result = run("up", str(file))
    assert result.exit_code == cli.REFUSED
    assert f"the store at redis://me@127.0.0.1:{unused_tcp_port}/0" in result.stderr
    assert "environment variable STORE" in result.stderr
    assert "s3cret" not in result.output
    assert run("down").stdout == "nothing is running\n"


def test_up_is_refused_while_what_writes_the_results_is_not_installed(tmp_path: Path) -> None:
    file = Path(a_file(tmp_path))
    file.write_text("results: {url: 'gs://bucket'}\n" + file.read_text())
    result = run("up", str(file))
    assert result.exit_code == cli.REFUSED
    assert "results.url: gs:// needs a library more" in result.stderr


def test_up_names_a_file_that_is_where_its_state_should_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    result = run("up", a_file(tmp_path))
    assert result.exit_code == cli.REFUSED
    assert f"cannot make the folder {tmp_path / 'state' / 'example'}" in result.stderr


def test_down_without_a_cluster_has_nothing_to_do() -> None:
    result = run("down")
    assert (result.exit_code, result.stdout) == (0, "nothing is running\n")


def test_what_a_cluster_that_ended_had_accepted_is_kept_until_it_is_discarded(
    tmp_path: Path,
) -> None:
    data = tmp_path / "state" / "example" / "store"
    results = data.with_name("results")
    for folder in (data, results):
        folder.mkdir(parents=True)
    refused = run("down", "--name", "example")
    assert refused.exit_code == cli.REFUSED
    assert data.exists()
    done = run("down", "--name", "example", "--discard")
    assert (done.exit_code, done.stdout) == (0, "example: stopped, its data deleted\n")
    assert not data.exists()
    assert not results.exists()


def test_down_of_an_unknown_cluster_is_refused() -> None:
    result = run("down", "--name", "absent")
    assert result.exit_code == cli.REFUSED
    assert 'no cluster named "absent" is recorded; none is running' in result.stderr


@pytest.mark.parametrize("command", [["status"], ["wake", "echo"], ["call", "echo"]])
def test_commands_for_a_running_cluster_say_how_to_start_one(command: list[str]) -> None:
    result = run(*command)
    assert result.exit_code == cli.REFUSED
    assert "no cluster is running; start one with `orchestrator up FILE`" in result.stderr


def test_deploy_without_a_cluster_is_refused(tmp_path: Path) -> None:
    result = run("deploy", a_file(tmp_path))
    assert result.exit_code == cli.REFUSED
    assert 'no cluster named "example" is running' in result.stderr


def test_data_that_is_not_json_is_refused_with_its_place(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    result = run("call", "echo", "--url", url, "--data", "{'a': 1}")
    assert result.exit_code == cli.REFUSED
    assert "--data is not JSON" in result.stderr
    assert "column 2" in result.stderr


def test_data_from_a_file_that_is_not_there_is_refused(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    result = run("call", "echo", "--url", url, "--data", "@absent.json")
    assert result.exit_code == cli.REFUSED
    assert "cannot read absent.json" in result.stderr


def test_a_call_to_nowhere_names_the_address(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    result = run("call", "echo", "--url", url, "--data", "@-", stdin="{}")
    assert result.exit_code == cli.REFUSED
    assert f"cannot reach {url}" in result.stderr


def test_the_tour_needs_its_models(tmp_path: Path) -> None:
    result = run("demo", a_file(tmp_path))
    assert result.exit_code == cli.REFUSED
    assert 'the tour needs the model "llm"' in result.stderr

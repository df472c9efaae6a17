"""`orchestrator plan` from its options to what it prints and how it ends."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from tests.unit.planning.states import ENVIRONMENT, Edit, put, state, text

E = "models.echo.environments.production"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.yaml"
    path.write_text(text(), encoding="utf-8")
    return path


def run(old: Path, edit: Edit | None, *options: str) -> Any:
    new = old.with_name("new.yaml")
    new.write_text(text(edit), encoding="utf-8")
    arguments = ["plan", str(new), "--against", str(old), *options]
    return CliRunner().invoke(app, arguments, env=ENVIRONMENT)


def test_nothing_to_do_ends_with_0(old: Path) -> None:
    done = run(old, None, "--exit-code")
    assert (done.exit_code, done.stdout) == (0, "nothing changes\n")


def test_what_changes_in_place_ends_with_0_and_says_the_field(old: Path) -> None:
    done = run(old, put(f"{E}.timeouts.park_seconds", 5), "--exit-code")
    assert done.exit_code == 0
    assert "echo/production: in place" in done.stdout
    assert f"{E}.timeouts.park_seconds: 1200 → 5" in done.stdout


def test_a_restart_ends_with_2_only_where_that_was_asked_for(old: Path) -> None:
    edit = put("models.echo.deployments.v1.concurrency", 5)
    assert run(old, edit).exit_code == 0
    done = run(old, edit, "--exit-code")
    assert done.exit_code == 2
    assert "echo/production: restarts queue and replicas" in done.stdout


def test_json_has_it_all(old: Path) -> None:
    done = run(old, put("cluster.max_connections", 512), "--json", "--kubernetes")
    found = json.loads(done.stdout)
    assert (found["disruptive"], found["refused"]) == (True, False)
    (change,) = found["changes"]
    assert (change["part"], change["kind"]) == ("pods", "new cluster")
    assert change["fields"] == [{"path": "cluster.max_connections", "old": 4096, "new": 512}]


def test_two_things_to_compare_with_are_refused(old: Path) -> None:
    done = run(old, None, "--name", "planned")
    assert done.exit_code == 2
    assert "give one" in done.stderr


def test_a_cluster_that_does_not_run_is_said(old: Path, tmp_path: Path) -> None:
    env = ENVIRONMENT | {"ORCHESTRATOR_STATE_DIR": str(tmp_path / "state")}
    done = CliRunner().invoke(app, ["plan", str(old)], env=env)
    assert done.exit_code == 2
    assert 'no cluster named "planned" is running' in done.stderr


class Dashboard:
    """Tells what Serve runs, as Ray's dashboard does."""

    def __init__(self, details: dict[str, Any]) -> None:
        body = json.dumps(details).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    running = {"status": "RUNNING", "source": "declarative"}
    gone = state().applications["echo.staging"] | {"name": "gone.production"}
    theirs = {"name": "theirs", "import_path": "app:main"}
    dashboard = Dashboard(
        {
            "http_options": {"host": "127.0.0.1", "port": 9000},
            "applications": {
                "gone.production": running | {"deployed_app_config": gone},
                "theirs": running | {"deployed_app_config": theirs},
            },
        }
    )
    try:
        yield dashboard
    finally:
        dashboard.close()


def test_a_ray_cluster_is_asked_at_its_dashboard(old: Path, dashboard: Dashboard) -> None:
    done = CliRunner().invoke(
        app, ["plan", str(old), "--address", dashboard.url, "--json"], env=ENVIRONMENT
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["refused"] is True
    assert {each["kind"] for each in found["changes"]} == {"refused", "removed", "added"}
    removed = [each["part"] for each in found["changes"] if each["kind"] == "removed"]
    assert removed == ["gone/production"], "and not what others run"
    assert "port 9000" in next(c["notice"] for c in found["changes"] if c["kind"] == "refused")

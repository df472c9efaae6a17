"""A Ray cluster through its dashboard: what it is asked, and what its refusals mean."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster import remote
from orchestrator.cluster.dashboard import Dashboard, token_of
from orchestrator.cluster.member import Member
from orchestrator.cluster.membership import ALIVE, DEAD, Part
from orchestrator.cluster.records import ClusterError

TOKEN = "the-token-of-this-cluster"
SERVE = "/api/serve/applications/"

NODE = {"node_name": "", "is_head_node": False, "state": "ALIVE", "labels": {}}
ROWS = [
    {**NODE, "node_id": "bb", "node_ip": "10.0.0.2", "resources_total": {"CPU": 8.0, "GPU": 1.0}},
    {**NODE, "node_id": "cc", "node_ip": "10.0.0.3", "state": "DEAD", "resources_total": {}},
    {
        **NODE,
        "node_id": "aa",
        "node_ip": "10.0.0.1",
        "is_head_node": True,
        "resources_total": {"CPU": 4.0, "node:__internal_head__": 1.0},
    },
]
DETAILS = {
    "http_options": {"host": "0.0.0.0", "port": 8000},
    "proxies": {"aa": {"node_id": "aa", "actor_name": "SERVE_PROXY_ACTOR-aa"}},
    "applications": {
        "router": {
            "status": "RUNNING",
            "deployments": {
                "Router": {
                    "replicas": [
                        {"node_id": "bb", "actor_name": "SERVE_REPLICA::router#Router#x"},
                        {"node_id": None, "actor_name": "SERVE_REPLICA::router#Router#y"},
                    ]
                }
            },
        }
    },
}


class Head:
    """Answers as a dashboard does: `answers` by path, with `put` remembering what came."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.put: list[Any] = []
        self.agents: set[str] = set()
        head = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                head.agents.add(self.headers["user-agent"])
                status, body = head.answers.get(self.path.partition("?")[0], (404, "not found"))
                if self.headers["authorization"] is None:
                    status, body = 401, "Unauthorized: Missing authentication token"
                elif self.headers["authorization"] != f"Bearer {TOKEN}":
                    status, body = 403, "Forbidden: Invalid authentication token"
                self._send(status, body)

            def do_PUT(self) -> None:
                length = int(self.headers["content-length"])
                head.put.append(json.loads(self.rfile.read(length)))
                self._send(*head.answers.get("PUT", (200, "")))

            def _send(self, status: int, body: Any) -> None:
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def head() -> Iterator[Head]:
    head = Head()
    yield head
    head.end()


@pytest.fixture
def dashboard(head: Head) -> Dashboard:
    return Dashboard(f"{head.url}/", TOKEN)


def test_nodes_come_with_what_runs_on_them(head: Head, dashboard: Dashboard) -> None:
    head.answers = {
        SERVE: (200, DETAILS),
        "/api/v0/nodes": (200, {"data": {"result": {"result": ROWS}}}),
    }
    first, second, lost = dashboard.nodes()
    assert (first.address, first.head, first.total) == ("10.0.0.1", True, {"CPU": 4.0})
    assert (second.address, second.state, second.used) == ("10.0.0.2", ALIVE, None)
    assert lost.state == DEAD
    assert first.parts == [Part("haproxy")]
    assert second.parts == [Part("router")]


def test_a_config_is_put_as_it_is(head: Head, dashboard: Dashboard) -> None:
    dashboard.apply({"applications": []})
    assert head.put == [{"applications": []}]


def test_it_does_not_pass_for_a_browser_from_which_settings_would_be_hidden(
    head: Head, dashboard: Dashboard
) -> None:
    head.answers[SERVE] = (200, DETAILS)
    dashboard.details()
    (agent,) = head.agents
    assert agent.startswith("orchestrator/")


def test_serve_that_does_not_run_has_no_applications(head: Head, dashboard: Dashboard) -> None:
    empty: dict[str, Any] = {
        "controller_info": {},
        "proxies": {},
        "applications": {},
        "target_capacity": None,
    }
    head.answers[SERVE] = (200, empty)
    details = dashboard.details()
    assert details.http_options is None
    assert details.applications == {}


@pytest.mark.parametrize(
    ("token", "said"), [(None, "asks for Ray's token"), ("wrong", "refuses Ray's token")]
)
def test_a_missing_and_a_wrong_token_are_told_apart(
    head: Head, token: str | None, said: str
) -> None:
    with pytest.raises(ClusterError, match=said):
        Dashboard(head.url, token).details()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, "no"), "no Ray dashboard, or Serve is not installed"),
        ((200, "<html>"), "is not JSON"),
        ((200, {"applications": 3}), "not what Ray Serve tells"),
        ((503, "The GCS may be down"), "answered 503: The GCS may be down"),
    ],
)
def test_what_is_no_dashboard_or_not_well_is_said(
    head: Head, dashboard: Dashboard, answer: tuple[int, Any], said: str
) -> None:
    head.answers[SERVE] = answer
    with pytest.raises(ClusterError, match=said):
        dashboard.details()


def test_a_config_that_serve_refuses_is_refused_with_its_words(
    head: Head, dashboard: Dashboard
) -> None:
    head.answers["PUT"] = (400, "ValidationError: applications.0.name")
    with pytest.raises(ClusterError, match=r"answered 400: ValidationError: applications\.0\.name"):
        dashboard.apply({})


def test_nobody_there(head: Head) -> None:
    head.end()
    with pytest.raises(ClusterError, match="nothing answers at http"):
        Dashboard(head.url, None).details()
    with pytest.raises(ClusterError, match="no Ray cluster answers at 127"):
        Member(head.url.removeprefix("http://"), {}).nodes()


def test_the_token_is_found_as_ray_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert token_of({}) is None
    assert token_of({"RAY_AUTH_TOKEN": "given", "RAY_AUTH_TOKEN_PATH": str(file)}) == "given"
    assert token_of({"RAY_AUTH_TOKEN_PATH": str(file)}) == "from-file"
    assert token_of({"RAY_AUTH_MODE": "token"}) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("default")
    assert token_of({}) is None
    assert token_of({"RAY_AUTH_MODE": "token"}) == "default"
    with pytest.raises(ClusterError, match=r"RAY_AUTH_TOKEN_PATH: .*No such file"):
        token_of({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")})


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "ray://head:10001", "head:gcs", ""])
def test_what_is_no_address_is_refused_with_what_is(address: str) -> None:
    with pytest.raises(ClusterError, match="no address of a Ray cluster"):
        remote.at(address, {})


def test_an_address_chooses_the_way() -> None:
    assert isinstance(remote.at("https://head:8265", {}), Dashboard)
    assert isinstance(remote.at("head:6379", {}), Member)
    assert isinstance(remote.at("[::1]:6379", {}), Member)


def test_auto_is_the_cluster_that_rays_own_commands_would_take(tmp_path: Path) -> None:
    env = {"RAY_TMPDIR": str(tmp_path)}
    with pytest.raises(ClusterError, match="RAY_ADDRESS is not set"):
        remote.at("auto", env)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379")
    assert remote.at("auto", env).where == "10.0.0.1:6379"
    assert remote.at("auto", {**env, "RAY_ADDRESS": "head:6379"}).where == "head:6379"
    with pytest.raises(ClusterError, match="RAY_ADDRESS is 'ray://head:10001'"):
        remote.at("auto", {**env, "RAY_ADDRESS": "ray://head:10001"})

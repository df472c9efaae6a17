"""One browser and one real cluster for the folder."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from ruamel.yaml import YAML

from tests.console.browsing import launched
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("orchestrator")
SECRET = "a-long-secret-that-only-the-console-tests-know"
START_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the cluster waits for it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(START_SECONDS + 120))
            if "cluster" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@dataclass(frozen=True)
class Cluster:
    """Where the cluster listens, and the keys that it knows."""

    url: str
    key: str = f"ops.{SECRET}"
    caller_key: str = f"caller.{SECRET}"

    def ask(self, path: str, body: Any = None, key: str = "") -> tuple[int, dict[str, str], Any]:
        """One request to the API or to a model: status, headers in lower case, JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key or self.key}", "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, told, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), json.load(error)

    def predict(self, place: str, body: Any) -> tuple[int, str]:
        """Runs `model/environment`: status and request id."""
        model, environment = place.split("/")
        path = f"/models/{model}/environments/{environment}/predict"
        status, headers, _ = self.ask(path, body)
        return status, headers.get("x-request-id", "")

    def submit(self, place: str, webhook: str) -> str:
        """Hands an asynchronous request over and gives its id."""
        model, environment = place.split("/")
        path = f"/models/{model}/environments/{environment}/async_predict"
        status, _, answer = self.ask(path, {"model_input": {}, "webhook_endpoint": webhook})
        assert status in (201, 202), answer
        return str(answer["request_id"])

    def status(self, place: str) -> str:
        """Whether an environment is asleep, awake or neither."""
        model, environment = place.split("/")
        status, _, answer = self.ask(f"/api/v1/models/{model}/environments/{environment}")
        return str(answer["status"]) if status == 200 else ""

    def dead_letters(self) -> list[str]:
        """Ids of the requests whose webhooks were given up."""
        _, _, answer = self.ask("/api/v1/dead_letters")
        return [letter["request_id"] for letter in answer["dead_letters"]]


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits until a condition that nobody signals has come true."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.1)


@pytest.fixture(scope="session")
def cluster(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("console")
    yaml = YAML()
    config = yaml.load(Path(__file__).with_name("cluster.yaml"))
    config["cluster"]["port"] = port = free_port()
    file = folder / "cluster.yaml"
    yaml.dump(config, file)
    environment = os.environ | {
        "CONSOLE_TEST_SECRET": SECRET,
        "ORCHESTRATOR_STATE_DIR": str(folder / "state"),
    }
    try:
        run_command("up", str(file), "--detach", environment=environment)
        cluster = Cluster(f"http://127.0.0.1:{port}")
        eventually(lambda: cluster.status("echo/production") == "ACTIVE", START_SECONDS)
        yield cluster
    finally:
        run_command("down", environment=environment)


def run_command(*arguments: str, environment: dict[str, str]) -> None:
    """Runs `orchestrator`, and shows what it said if it failed."""
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{arguments[0]}: {done.stdout}{done.stderr}"


@dataclass
class Receiver:
    """Takes webhooks, and answers what it is told to.

    Attributes:
        url: of it.
        status: what it answers.
        got: how many came.
    """

    url: str = ""
    status: int = 503
    got: list[bytes] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Keeps quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/done"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()

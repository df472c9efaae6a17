"""One real cluster for the whole folder, started and ended by the command line."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from baseten.client import AsyncInferenceClient, InferenceClient
from ruamel.yaml import YAML

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("orchestrator")
SECRET = "a-long-secret-that-only-the-client-tests-know"
START_SECONDS = 180
WARM_MODELS = ("echo", "llm", "embeddings")


@dataclass(frozen=True)
class Cluster:
    """Where the cluster listens, and the keys that it knows."""

    url: str
    key: str = f"all.{SECRET}"
    echo_key: str = f"only-echo.{SECRET}"

    def model(self, name: str) -> str:
        """The address that a client library is given for one model."""
        return f"{self.url}/models/{name}"

    def sync(self, model: str, environment: str = "production") -> str:
        """Where the paths of a replica's own server begin."""
        return f"{self.model(model)}/environments/{environment}/sync"

    def environment(self, model: str, name: str) -> dict[str, Any]:
        """An environment as the management API describes it."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/models/{model}/environments/{name}",
            headers={"authorization": f"Bearer {self.key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            described: dict[str, Any] = json.load(response)
            return described

    def status(self, model: str, environment: str) -> str:
        """Whether an environment is asleep, awake or neither."""
        return str(self.environment(model, environment)["status"])

    def is_warm(self) -> bool:
        """Whether the models that are to be awake from the start are."""
        try:
            return all(self.status(model, "production") == "ACTIVE" for model in WARM_MODELS)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return False  # the queue that knows is not up yet

    def slots_in_use(self, model: str, environment: str) -> int:
        """How many requests run in an environment."""
        return int(self.environment(model, environment)["live"]["in_use"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test, whichever it is, waits for the cluster."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(START_SECONDS + 120))


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits until a condition that nobody signals has come true."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.05)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("clients")
    yaml = YAML()
    config = yaml.load(Path(__file__).with_name("cluster.yaml"))
    config["cluster"]["port"] = port = free_port()
    file = folder / "cluster.yaml"
    yaml.dump(config, file)
    environment = os.environ | {
        "CLIENTS_TEST_SECRET": SECRET,
        "ORCHESTRATOR_STATE_DIR": str(folder / "state"),
    }
    try:
        run_command("up", str(file), "--detach", environment=environment)
        cluster = Cluster(f"http://127.0.0.1:{port}")
        # Some clients give up after 5 s; cold starts have tests of their own.
        eventually(cluster.is_warm, START_SECONDS)
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


@pytest.fixture
def echo(cluster: Cluster) -> Iterator[InferenceClient]:
    """Baseten's SDK, for one model."""
    with InferenceClient(api_key=cluster.key, base_url_override=cluster.model("echo")) as client:
        yield client


@pytest.fixture
def llm(cluster: Cluster) -> Iterator[InferenceClient]:
    """The same for another one."""
    with InferenceClient(api_key=cluster.key, base_url_override=cluster.model("llm")) as client:
        yield client


@pytest.fixture
async def async_echo(cluster: Cluster) -> AsyncIterator[AsyncInferenceClient]:
    """The SDK's asynchronous client."""
    async with AsyncInferenceClient(
        api_key=cluster.key, base_url_override=cluster.model("echo")
    ) as client:
        yield client

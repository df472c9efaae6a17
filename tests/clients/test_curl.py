"""curl: the contract seen without any library."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import Cluster

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

PARTIAL_TRANSFER = 18


@dataclass(frozen=True)
class Answer:
    """What curl printed: status, headers (names in lower case), body."""

    status: int
    headers: dict[str, str]
    body: str
    exit_status: int


def curl(*arguments: str) -> Answer:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", "--include", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    head, _, body = done.stdout.partition("\n\n")
    while head.startswith("HTTP/1.1 100"):
        head, _, body = body.partition("\n\n")
    first, *lines = head.splitlines() or [f"curl {done.returncode} {done.stderr}"]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, body, done.returncode)


@pytest.fixture
def bearer(cluster: Cluster) -> tuple[str, str]:
    return ("--header", f"Authorization: Bearer {cluster.key}")


@pytest.mark.parametrize("scheme", ["Bearer", "Api-Key"])
def test_predict(cluster: Cluster, scheme: str) -> None:
    answer = curl(
        *("--header", f"Authorization: {scheme} {cluster.echo_key}"),
        *("--json", '{"hello": "world"}'),
        *("--header", "x-request-id: from-curl"),
        f"{cluster.model('echo')}/production/predict",
    )
    assert (answer.status, json.loads(answer.body)) == (200, {"hello": "world"})
    assert answer.headers["x-request-id"] == "from-curl"
    assert answer.headers["x-baseten-request-id"] == "from-curl"
    assert answer.headers["x-baseten-model-prediction-attempts"] == "1"
    assert int(answer.headers["x-queue-wait-ms"]) >= 0


def test_predict_by_host_name(cluster: Cluster, bearer: tuple[str, str]) -> None:
    answer = curl(
        *bearer,
        *("--header", "Host: model-echo.models.example"),
        *("--json", "[1, 2]"),
        f"{cluster.url}/environments/production/predict",
    )
    assert (answer.status, json.loads(answer.body)) == (200, [1, 2])


def test_a_stream_arrives_event_by_event_and_an_error_ends_it_uncleanly(
    cluster: Cluster, bearer: tuple[str, str]
) -> None:
    command = [
        *("curl", "--silent", "--no-buffer", "--max-time", "60", *bearer),
        *("--json", '{"prompt": "one two", "stream": true}'),
        f"{cluster.model('llm')}/environments/halting/predict",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The model would say its next word after 50 s, so nothing holds this one back.
        first = json.loads(process.stdout.readline().removeprefix("data: "))
        rest = process.stdout.read().split("\n\n")
    assert first["choices"][0]["text"] == "one"
    name, data = rest[-2].strip().splitlines()
    assert name == "event: error"
    error = json.loads(data.removeprefix("data: "))
    assert (error["error_code"], error["detail"]) == ("timeout", {"limit_seconds": 0.2})
    assert process.returncode == PARTIAL_TRANSFER


def test_a_whole_stream_ends_cleanly(cluster: Cluster, bearer: tuple[str, str]) -> None:
    answer = curl(
        *(*bearer, "--no-buffer", "--json", '{"prompt": "one", "stream": true}'),
        f"{cluster.model('llm')}/production/predict",
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.endswith("data: [DONE]\n\n")
    assert answer.exit_status == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_head_has_the_headers_of_get_and_no_body(cluster: Cluster, path: str) -> None:
    got, head = curl(cluster.url + path), curl("--head", cluster.url + path)
    assert (got.status, head.status) == (200, 200)
    assert head.body == ""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == got.headers[name]


def test_head_on_a_replica(cluster: Cluster, bearer: tuple[str, str]) -> None:
    answer = curl(*bearer, "--head", f"{cluster.sync('llm')}/v1/models")
    assert (answer.status, answer.body) == (200, "")
    assert answer.headers["content-type"] == "application/json"


def test_an_unknown_model_is_a_404_that_names_the_known_ones(
    cluster: Cluster, bearer: tuple[str, str]
) -> None:
    answer = curl(*bearer, "--json", "{}", f"{cluster.model('nobody')}/production/predict")
    error = json.loads(answer.body)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert set(error) == {"error", "error_code", "detail", "request_id"}
    assert error["error_code"] == "model_does_not_exist"
    assert set(error["detail"]["known"]) == {"echo", "llm", "embeddings", "scoring"}
    assert error["request_id"] == answer.headers["x-request-id"]


def test_without_a_key_nothing_is_said_about_models(cluster: Cluster) -> None:
    known = curl("--json", "{}", f"{cluster.model('echo')}/production/predict")
    unknown = curl("--json", "{}", f"{cluster.model('nobody')}/production/predict")
    assert known.status == unknown.status == 401
    assert "www-authenticate" in known.headers
    assert json.loads(known.body)["error"] == json.loads(unknown.body)["error"]
    assert json.loads(unknown.body)["detail"] == {}


def test_an_unknown_path_says_where_to_look(cluster: Cluster, bearer: tuple[str, str]) -> None:
    answer = curl(*bearer, f"{cluster.url}/nowhere")
    assert answer.status == 404
    assert "/openapi.json" in json.loads(answer.body)["error"]


def test_a_wrong_method_says_which_are_right(cluster: Cluster, bearer: tuple[str, str]) -> None:
    answer = curl(*bearer, f"{cluster.model('echo')}/production/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "transfer", ["Expect:", "Expect: 100-continue", "Transfer-Encoding: chunked"]
)
def test_a_body_over_the_limit_is_refused_with_both_sizes(
    cluster: Cluster, bearer: tuple[str, str], tmp_path: Path, transfer: str
) -> None:
    body = tmp_path / "body"
    body.write_bytes(b" " * 2_000_000)
    answer = curl(
        *(*bearer, "--header", transfer, "--data-binary", f"@{body}"),
        f"{cluster.model('echo')}/production/predict",
    )
    error = json.loads(answer.body)
    assert (answer.status, error["error_code"]) == (413, "payload_too_large")
    assert error["detail"]["limit_bytes"] == 1_000_000
    assert error["detail"]["size_bytes"] > 1_000_000


@pytest.mark.parametrize("header", ["Request-Timeout-Ms: soon", "Request-Deadline-Ms: -1"])
def test_a_deadline_that_is_none_is_refused_by_name(
    cluster: Cluster, bearer: tuple[str, str], header: str
) -> None:
    answer = curl(
        *(*bearer, "--header", header, "--json", "{}"),
        f"{cluster.model('echo')}/production/predict",
    )
    assert answer.status == 400
    assert json.loads(answer.body)["detail"] == {"field": header.split(":", maxsplit=1)[0]}

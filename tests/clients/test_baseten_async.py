"""Asynchronous requests with the `baseten` package, unmodified."""

import hashlib
import hmac
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from baseten.client import AsyncInferenceClient, InferenceClient
from baseten.client.inferenceapi import (
    AsyncPredictOutput,
    AsyncPredictRequest,
    InferenceRetryConfig,
    ResponseError,
    ResponseErrorResponse,
)
from standardwebhooks import Webhook

from tests.clients.conftest import Cluster, eventually

INPUT = {"text": "grüß dich", "numbers": [1, 2.5, None]}
REQUEST = AsyncPredictRequest(model_input=INPUT)
SLOW = AsyncPredictRequest(model_input={"prompt": "one two", "max_tokens": 4})
REFUSED: tuple[type[ResponseError | ResponseErrorResponse], ...] = (
    ResponseError,
    ResponseErrorResponse,
)
NEVER_USED = "0" * 32


def ended(client: InferenceClient, request_id: str, seconds: int = 60) -> dict[str, Any]:
    """The request once it has ended, with its result, which the SDK does not know of."""
    response = client.http_client.get(
        f"/async_request/{request_id}", params={"wait": seconds}, timeout=seconds + 5
    )
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


def test_async_predict_by_every_kind_of_address(echo: InferenceClient) -> None:
    api = echo.api
    for accepted in (
        api.async_predict_production(request=REQUEST),
        api.async_predict(env_name="production", request=REQUEST),
        api.async_predict(env_name="development", request=REQUEST),
        api.async_predict_development(request=REQUEST),
        api.async_predict_deployment(deployment_id="v1", request=REQUEST),
    ):
        shown = ended(echo, accepted.request_id)
        assert (shown["status"], shown["result"]) == ("SUCCEEDED", INPUT)


def test_a_regional_client_is_given_the_address_of_its_environment(cluster: Cluster) -> None:
    base = f"{cluster.model('echo')}/environments/production"
    with InferenceClient(api_key=cluster.key, base_url_override=base) as client:
        accepted = client.api.async_predict_regional(request=REQUEST)
        assert client.api.get_async_queue_status_regional().model_id == "echo"
        assert ended(client, accepted.request_id)["status"] == "SUCCEEDED"
        status = client.api.get_async_request_status(request_id=accepted.request_id)
        assert status.status == "SUCCEEDED"
        canceled = client.api.cancel_async_request(request_id=accepted.request_id)
        assert canceled.canceled is False


def test_every_field_of_a_request(echo: InferenceClient) -> None:
    request = AsyncPredictRequest(
        model_input=INPUT,
        webhook_endpoint=None,
        priority=2,
        max_time_in_queue_seconds=60,
        inference_retry_config=InferenceRetryConfig(
            max_attempts=1, initial_delay_ms=0, max_delay_ms=0
        ),
    )
    accepted = echo.api.async_predict_production(request=request)
    assert ended(echo, accepted.request_id)["priority"] == 2


def test_the_status_of_a_request(echo: InferenceClient) -> None:
    accepted = echo.api.async_predict_production(request=REQUEST)
    ended(echo, accepted.request_id)
    status = echo.api.get_async_request_status(request_id=accepted.request_id)
    assert status.request_id == accepted.request_id
    assert status.model_id == "echo"
    assert status.deployment_id == "v1"
    assert status.status == "SUCCEEDED"
    assert status.webhook_status == "NO_WEBHOOK_PROVIDED"
    assert status.errors == []
    assert status.created_at < status.status_at


async def test_async_predict_async(async_echo: AsyncInferenceClient) -> None:
    accepted = await async_echo.api.async_predict_production(request=REQUEST)
    response = await async_echo.http_client.get(
        f"/async_request/{accepted.request_id}", params={"wait": 60}, timeout=65
    )
    assert response.json()["result"] == INPUT
    status = await async_echo.api.get_async_request_status(request_id=accepted.request_id)
    assert status.status == "SUCCEEDED"
    canceled = await async_echo.api.cancel_async_request(request_id=accepted.request_id)
    assert canceled.canceled is False
    assert "SUCCEEDED" in canceled.message
    depth = await async_echo.api.get_async_queue_status_production()
    assert depth.deployment_id == "v1"


def test_a_sleeping_environment_queues_and_wakes(cluster: Cluster, llm: InferenceClient) -> None:
    assert cluster.status("llm", "queued") == "SCALED_TO_ZERO"
    request = AsyncPredictRequest(model_input={"prompt": "up", "max_tokens": 2})
    accepted = llm.api.async_predict(env_name="queued", request=request)
    shown = ended(llm, accepted.request_id)
    assert shown["status"] == "SUCCEEDED"
    assert shown["result"]["choices"][0]["text"] == "up up"


def test_requests_are_counted_and_canceled_queued_and_running(
    cluster: Cluster, llm: InferenceClient
) -> None:
    made = [
        llm.api.async_predict(env_name="halting", request=SLOW).request_id
        for _ in range(17)  # one more than there are slots
    ]

    def depth() -> tuple[int, int]:
        counted = llm.api.get_async_queue_status(env_name="halting")
        return counted.num_queued_requests, counted.num_in_progress_requests

    eventually(lambda: depth() == (1, 16), 60)
    by_deployment = llm.api.get_async_queue_status_deployment(deployment_id="halting")
    assert (by_deployment.model_id, by_deployment.deployment_id) == ("llm", "halting")
    states = [llm.api.get_async_request_status(request_id=each).status for each in made]
    assert sorted(set(states)) == ["IN_PROGRESS", "QUEUED"]
    # The one that waits first: nothing is to take its place.
    for each in sorted(made, key=lambda each: states[made.index(each)] != "QUEUED"):
        canceled = llm.api.cancel_async_request(request_id=each)
        assert (canceled.request_id, canceled.canceled) == (each, True)
    assert depth() == (0, 0)
    # The models were told to stop: their slots are free again.
    eventually(lambda: cluster.slots_in_use("llm", "halting") == 0)
    assert {llm.api.get_async_request_status(request_id=each).status for each in made} == {
        "CANCELED"
    }


def test_what_the_model_refuses_fails_at_once(llm: InferenceClient) -> None:
    request = AsyncPredictRequest(model_input={"prompt": "one", "n": 2})
    accepted = llm.api.async_predict_production(request=request)
    assert ended(llm, accepted.request_id)["attempts"] == 1
    status = llm.api.get_async_request_status(request_id=accepted.request_id)
    assert status.status == "FAILED"
    (error,) = status.errors
    assert error.code == "MODEL_INVALID_INPUT"
    assert "this model gives one answer" in error.message


def test_what_is_refused(cluster: Cluster, echo: InferenceClient) -> None:
    with pytest.raises(REFUSED, match="priority: a whole number from 0 to 2") as caught:
        echo.api.async_predict_production(
            request=AsyncPredictRequest.model_construct(model_input={}, priority=3)
        )
    assert caught.value.status_code == 400
    with pytest.raises(REFUSED, match="not a public address") as caught:
        echo.api.async_predict_production(
            request=AsyncPredictRequest.model_validate(
                {"model_input": {}, "webhook_endpoint": "https://169.254.169.254/latest"}
            )
        )
    assert caught.value.status_code == 400
    large = AsyncPredictRequest(model_input={"text": "x" * 300_000})
    with pytest.raises(REFUSED) as caught:
        echo.api.async_predict_production(request=large)
    assert caught.value.status_code == 413
    with pytest.raises(REFUSED) as caught:
        echo.api.get_async_request_status(request_id=NEVER_USED)
    assert caught.value.status_code == 404
    with (
        InferenceClient(api_key="all.wrong", base_url_override=cluster.model("echo")) as client,
        pytest.raises(REFUSED) as caught,
    ):
        client.api.async_predict_production(request=REQUEST)
    assert caught.value.status_code == 401


def test_a_request_of_another_key(cluster: Cluster, llm: InferenceClient) -> None:
    request = AsyncPredictRequest(model_input={"prompt": "one"})
    accepted = llm.api.async_predict_production(request=request)
    with (
        InferenceClient(api_key=cluster.echo_key, base_url_override=cluster.url) as client,
        pytest.raises(REFUSED) as caught,
    ):
        client.api.get_async_request_status(request_id=accepted.request_id)
    assert caught.value.status_code == 403


@dataclass(frozen=True)
class Receiver:
    """Somebody's server that takes webhooks."""

    url: str
    received: "queue.Queue[tuple[dict[str, str], bytes]]"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Receiver(f"http://127.0.0.1:{server.server_port}/hook", received)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signed_webhook(
    client: InferenceClient, receiver: Receiver, secret: str
) -> tuple[AsyncPredictOutput, dict[str, str], bytes]:
    """A request whose webhook came, signed with a key that may be too new for the first ones."""
    request = AsyncPredictRequest.model_validate(
        {"model_input": INPUT, "webhook_endpoint": receiver.url}
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        accepted = client.api.async_predict_production(request=request)
        headers, body = receiver.received.get(timeout=60)
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        # One of each active key: others may have made some.
        if f"v1={digest}" in headers.get("x-baseten-signature", "").split(","):
            return accepted, headers, body
    raise AssertionError("no webhook was signed with the new key")


def test_the_webhook_arrives_signed(
    cluster: Cluster, echo: InferenceClient, receiver: Receiver
) -> None:
    with httpx.Client(
        base_url=f"{cluster.url}/api/v1", headers={"Authorization": f"Bearer {cluster.key}"}
    ) as manager:
        made = manager.post("/webhook_secrets")
        assert made.status_code == 201, made.text
        try:
            accepted, headers, body = signed_webhook(echo, receiver, made.json()["secret"])

            def delivered() -> bool:
                status = echo.api.get_async_request_status(request_id=accepted.request_id)
                return str(status.webhook_status) == "SUCCEEDED"

            eventually(delivered)
            log = manager.get(f"/async_requests/{accepted.request_id}/deliveries").json()
        finally:
            manager.delete(f"/webhook_secrets/{made.json()['id']}").raise_for_status()

    payload = Webhook(made.json()["secret"]).verify(body, headers)
    assert payload == json.loads(body)
    assert payload["request_id"] == accepted.request_id == headers["x-baseten-request-id"]
    assert payload["type"] == "async_request_completed"
    assert (payload["data"], payload["errors"]) == (INPUT, [])
    assert [line["status"] for line in log["deliveries"]] == [204]

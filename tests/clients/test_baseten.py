"""The `baseten` package, unmodified: only `base_url_override` and `api_key` are ours."""

import json

import pytest
from baseten.client import AsyncInferenceClient, InferenceClient
from baseten.client.inferenceapi import PredictInput, ResponseError, ResponseErrorResponse

from tests.clients.conftest import Cluster, eventually

BODY = {"text": "grüß dich", "numbers": [1, 2.5, None], "nested": {"yes": True}}
Refused = ResponseError | ResponseErrorResponse
REFUSED: tuple[type[Refused], ...] = (ResponseError, ResponseErrorResponse)


def test_predict_by_every_kind_of_address(echo: InferenceClient) -> None:
    request = PredictInput(BODY)
    assert echo.api.predict_production(request=request).root == BODY
    assert echo.api.predict(env_name="production", request=request).root == BODY
    assert echo.api.predict_deployment(deployment_id="v1", request=request).root == BODY


async def test_predict_async(async_echo: AsyncInferenceClient) -> None:
    answer = await async_echo.api.predict_production(request=PredictInput(BODY))
    assert answer.root == BODY


def test_a_raw_stream(llm: InferenceClient) -> None:
    request = PredictInput({"prompt": "one two", "max_tokens": 4, "stream": True})
    response = llm.api.predict_production_raw(request=request, accept="application/octet-stream")
    try:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    finally:
        response.close()
    assert events[-1] == "[DONE]"
    said = [json.loads(event)["choices"][0]["text"] for event in events[:-1]]
    assert "".join(said) == "one two one two"


async def test_a_raw_stream_async(cluster: Cluster) -> None:
    request = PredictInput({"prompt": "one two", "max_tokens": 2, "stream": True})
    async with AsyncInferenceClient(
        api_key=cluster.key, base_url_override=cluster.model("llm")
    ) as client:
        response = await client.api.predict_raw(
            env_name="production", request=request, accept="application/octet-stream"
        )
        try:
            body = "".join([text async for text in response.aiter_text()])
        finally:
            await response.aclose()
    assert body.endswith("data: [DONE]\n\n")


def test_a_whole_answer_raw(echo: InferenceClient) -> None:
    response = echo.api.predict_raw(
        env_name="production", request=PredictInput(BODY), accept="application/json"
    )
    try:
        assert json.loads(response.read()) == BODY
        assert response.headers["x-baseten-request-id"] == response.headers["x-request-id"]
        assert response.headers["x-baseten-model-prediction-attempts"] == "1"
    finally:
        response.close()


def test_wake_starts_a_replica_of_a_sleeping_environment(
    cluster: Cluster, llm: InferenceClient
) -> None:
    assert cluster.status("llm", "woken") == "SCALED_TO_ZERO"
    llm.api.wake(env_name="woken")
    eventually(lambda: cluster.status("llm", "woken") == "ACTIVE")
    answer = llm.api.predict(env_name="woken", request=PredictInput({"prompt": "up"}))
    assert answer.root["choices"][0]["text"].startswith("up up")
    # Again is no error: it is awake.
    llm.api.wake(env_name="woken")


async def test_wake_async(cluster: Cluster, async_echo: AsyncInferenceClient) -> None:
    await async_echo.api.wake_development()
    eventually(lambda: cluster.status("echo", "development") == "ACTIVE")


def test_a_wrong_key_is_refused(cluster: Cluster) -> None:
    with (
        InferenceClient(api_key="all.wrong", base_url_override=cluster.model("echo")) as client,
        pytest.raises(REFUSED) as caught,
    ):
        client.api.predict_production(request=PredictInput(BODY))
    assert caught.value.status_code == 401
    assert "A valid key is required" in str(caught.value)


def test_an_unknown_environment_is_refused_by_name(echo: InferenceClient) -> None:
    with pytest.raises(REFUSED, match="no environment 'nowhere'") as caught:
        echo.api.predict(env_name="nowhere", request=PredictInput(BODY))
    assert caught.value.status_code == 404


async def test_an_unknown_deployment_cannot_be_woken_async(
    async_echo: AsyncInferenceClient,
) -> None:
    with pytest.raises(REFUSED, match="runs a deployment 'v9'") as caught:
        await async_echo.api.wake_deployment(deployment_id="v9")
    assert caught.value.status_code == 404


def test_what_the_model_refuses_is_its_own_answer(llm: InferenceClient) -> None:
    with pytest.raises(REFUSED, match="this model gives one answer") as caught:
        llm.api.predict_production(request=PredictInput({"prompt": "one", "n": 2}))
    assert caught.value.status_code == 422

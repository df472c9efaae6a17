"""The `baseten-performance-client` package, unmodified: only its `base_url` is ours."""

import asyncio
from functools import partial

import numpy as np
import pytest
from baseten_performance_client import (
    Endpoint,
    EndpointPool,
    HttpClientWrapper,
    PerformanceClient,
    RequestProcessingPreference,
    TraceContext,
)
from requests.exceptions import HTTPError

from tests.clients.conftest import Cluster, eventually

TEXTS = [f"Sentence number {number} of a long list." for number in range(50)]


@pytest.fixture
def embeddings(cluster: Cluster) -> PerformanceClient:
    return PerformanceClient(base_url=cluster.sync("embeddings"), api_key=cluster.key)


@pytest.fixture
def scoring(cluster: Cluster) -> PerformanceClient:
    return PerformanceClient(base_url=cluster.sync("scoring"), api_key=cluster.key)


@pytest.mark.embeddings
def test_embeddings_in_batches_keep_their_order(embeddings: PerformanceClient) -> None:
    batched = RequestProcessingPreference(batch_size=8, max_concurrent_requests=4)
    answer = embeddings.embed(input=TEXTS, model="embeddings", preference=batched)
    assert [item.index for item in answer.data] == list(range(50))
    assert len(answer.individual_request_times or []) == 7
    vectors = answer.numpy()
    assert vectors.shape == (50, 384)
    alone = embeddings.embed(input=[TEXTS[31]], model="embeddings").numpy()
    np.testing.assert_allclose(vectors[31], alone[0], atol=1e-4)


@pytest.mark.embeddings
async def test_embeddings_async(embeddings: PerformanceClient) -> None:
    answer = await embeddings.async_embed(input=TEXTS[:9], model="embeddings")
    assert answer.numpy().shape == (9, 384)
    assert answer.usage.prompt_tokens > 0
    assert all("x-request-id" in headers for headers in answer.response_headers)


def test_rerank(scoring: PerformanceClient) -> None:
    answer = scoring.rerank("query", ["aa", "aaaa", "a"], return_text=True)
    assert [(item.text, item.score) for item in answer.data] == [
        ("aaaa", 4.0),
        ("aa", 2.0),
        ("a", 1.0),
    ]


async def test_classify_async(scoring: PerformanceClient) -> None:
    answer = await scoring.async_classify(["ab", "abcdef"])
    assert [[label.label for label in labels] for labels in answer.data] == [["short"], ["long"]]


def test_a_batch_of_any_bodies(cluster: Cluster) -> None:
    client = PerformanceClient(base_url=cluster.sync("echo"), api_key=cluster.key)
    bodies = [{"number": number} for number in range(40)]
    answer = client.batch_post(
        "/predict",
        bodies,
        preference=RequestProcessingPreference(
            max_concurrent_requests=20,
            extra_headers={"x-request-id": "the-same-for-all"},
            trace_context=TraceContext(f"00-{'a' * 32}-{'b' * 16}-01"),
        ),
    )
    assert answer.data == bodies
    assert {headers["x-request-id"] for headers in answer.response_headers} == {"the-same-for-all"}


def test_a_batch_of_gets(cluster: Cluster) -> None:
    client = PerformanceClient(base_url=cluster.sync("llm"), api_key=cluster.key)
    answer = client.batch_post("/v1/models", [None, None], method="GET")
    assert [body["data"][0]["id"] for body in answer.data] == ["simulated-llm"] * 2


def test_a_pool_of_endpoints_that_are_checked_for_health(cluster: Cluster) -> None:
    wrapper = HttpClientWrapper()
    address = cluster.sync("echo")
    endpoint = Endpoint(address, cluster.key, wrapper, health_check_interval_s=0.1)
    client = PerformanceClient(
        base_url=address, api_key=cluster.key, endpoint_pool=EndpointPool([endpoint])
    )
    assert client.batch_post("/predict", [{"pooled": True}]).data == [{"pooled": True}]


@pytest.mark.embeddings
def test_hedged_requests_get_one_answer_each(embeddings: PerformanceClient) -> None:
    hedged = RequestProcessingPreference(batch_size=1, hedge_delay=0.2, hedge_budget_pct=1.0)
    answer = embeddings.embed(input=TEXTS[:4], model="embeddings", preference=hedged)
    assert [item.index for item in answer.data] == [0, 1, 2, 3]


def test_a_refusal_is_an_http_error_with_its_status(cluster: Cluster) -> None:
    client = PerformanceClient(base_url=cluster.sync("embeddings"), api_key="all.wrong")
    with pytest.raises(HTTPError, match="A valid key is required") as caught:
        client.embed(input=["one"], model="embeddings")
    assert caught.value.args[0] == 401


@pytest.mark.embeddings
def test_what_the_model_refuses_comes_through(embeddings: PerformanceClient) -> None:
    with pytest.raises(HTTPError, match="must be 384") as caught:
        embeddings.embed(input=["one"], model="embeddings", dimensions=7)
    assert caught.value.args[0] == 400


async def test_a_batch_that_is_given_up_frees_its_slots(cluster: Cluster) -> None:
    client = PerformanceClient(base_url=cluster.sync("llm", "halting"), api_key=cluster.key)
    in_use = partial(cluster.slots_in_use, "llm", "halting")
    # Its answer would take half an hour.
    batch = asyncio.ensure_future(client.async_batch_post("/v1/completions", [{"prompt": "a"}] * 3))
    await asyncio.to_thread(eventually, lambda: in_use() >= 3)
    batch.cancel()
    await asyncio.wait([batch])
    await asyncio.to_thread(eventually, lambda: in_use() == 0)

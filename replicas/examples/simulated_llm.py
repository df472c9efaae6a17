"""A language model without weights: OpenAI's API with the timing of a real one.

It answers with the words of its prompt, over and over. What is real is its
behaviour under load: it takes time to load, time to the first token, and the more
requests it generates for at once the slower each of them goes.

    POST /v1/chat/completions   POST /v1/completions   GET /v1/models
    POST /predict               either of the two, by `messages` or `prompt`
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from replicas import InvalidInput
from replicas.examples.openai_api import invalid_field, json_response, model_list, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Job:
    """One request, checked.

    Attributes:
        chat: a chat completion, or a plain one.
        model: the name to answer under.
        words: of the prompt; at least one.
        tokens: how many to generate.
        finish_reason: `length` if the caller's limit ends the answer, else `stop`.
        stream: whether chunks are wanted.
        include_usage: whether a stream ends with a chunk of token counts.
    """

    chat: bool
    model: str
    words: tuple[str, ...]
    tokens: int
    finish_reason: str
    stream: bool
    include_usage: bool

    @property
    def usage(self) -> dict[str, int]:
        """Token counts in OpenAI's shape; a word of the prompt counts as one."""
        prompt = len(self.words)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.tokens,
            "total_tokens": prompt + self.tokens,
        }


class SimulatedLLM:
    """Generates tokens at a set pace.

    Args:
        name: the model's name where a request gives none.
        load_seconds: how long `load` takes.
        time_to_first_token_seconds: from a request's start to its first token.
        tokens_per_second: of one request while it is alone.
        slowdown_per_request: with b requests at once each one runs at
            tokens_per_second / (1 + slowdown_per_request * (b - 1)).
        answer_tokens: length of an answer that no limit ends before.
    """

    def __init__(
        self,
        *,
        name: str = "simulated-llm",
        load_seconds: float = 0.0,
        time_to_first_token_seconds: float = 0.05,
        tokens_per_second: float = 50.0,
        slowdown_per_request: float = 0.05,
        answer_tokens: int = 32,
    ) -> None:
        self._name = name
        self._load_seconds = load_seconds
        self._first_token_s = time_to_first_token_seconds
        self._tokens_per_second = tokens_per_second
        self._slowdown = slowdown_per_request
        self._answer_tokens = answer_tokens
        self._batch = 0
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat_completions, methods=["POST"]),
                Route("/v1/completions", self._completions, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    async def load(self) -> None:
        """Takes as long as it was told to."""
        await asyncio.sleep(self._load_seconds)

    async def predict(self, body: Any) -> Any:
        """A completion, chat or plain; its chunks if the body has `"stream": true`."""
        chat = isinstance(body, dict) and "messages" in body
        job = self._check(body, chat=chat)
        return self._events(job) if job.stream else await self._whole(job)

    @property
    def batch(self) -> int:
        """Requests that tokens are generated for now."""
        return self._batch

    async def _chat_completions(self, request: Request) -> Response:
        return await self._complete(request, chat=True)

    async def _completions(self, request: Request) -> Response:
        return await self._complete(request, chat=False)

    async def _models(self, _request: Request) -> Response:
        return model_list(self._name)

    async def _complete(self, request: Request, *, chat: bool) -> Response:
        try:
            job = self._check(msgspec.json.decode(await request.body()), chat=chat)
        except (msgspec.DecodeError, InvalidInput) as error:
            return refusal(error)
        if job.stream:
            return StreamingResponse(
                (_sse(event) async for event in self._events(job)),
                media_type="text/event-stream",
            )
        return json_response(await self._whole(job))

    def _check(self, body: Any, *, chat: bool) -> Job:
        if not isinstance(body, dict):
            raise InvalidInput("the body must be a JSON object")
        words = _words_of_chat(body) if chat else _words_of_prompt(body)
        given = body.get("max_completion_tokens", body.get("max_tokens"))
        if given is not None and (not isinstance(given, int) or given < 1):
            raise invalid_field("max_tokens", "a whole number, at least 1")
        limit = given if given is not None else self._answer_tokens
        if body.get("n") not in (None, 1):
            raise invalid_field("n", "1: this model gives one answer")
        return Job(
            chat=chat,
            model=str(body.get("model") or self._name),
            words=words,
            tokens=min(limit, self._answer_tokens),
            finish_reason="length" if limit < self._answer_tokens else "stop",
            stream=bool(body.get("stream")),
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )

    async def _tokens(self, job: Job) -> AsyncGenerator[str, None]:
        self._batch += 1
        try:
            await asyncio.sleep(self._first_token_s)
            words = itertools.islice(itertools.cycle(job.words), job.tokens)
            for number, word in enumerate(words):
                if number:
                    crowd = 1 + self._slowdown * (self._batch - 1)
                    await asyncio.sleep(crowd / self._tokens_per_second)
                yield f" {word}" if number else word
        finally:
            self._batch -= 1

    async def _whole(self, job: Job) -> dict[str, Any]:
        text = "".join([token async for token in self._tokens(job)])
        choice: dict[str, Any] = {"index": 0, "finish_reason": job.finish_reason, "logprobs": None}
        if job.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return _envelope(job, "chat.completion") | {"choices": [choice], "usage": job.usage}

    async def _events(self, job: Job) -> AsyncIterator[dict[str, Any] | str]:
        envelope = _envelope(job, "chat.completion.chunk")

        def event(delta: str | None, finish_reason: str | None = None) -> dict[str, Any]:
            choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason}
            if job.chat:
                choice["delta"] = {} if delta is None else {"content": delta}
            else:
                choice["text"] = delta or ""
            return envelope | {"choices": [choice]}

        first = True
        async with aclosing(self._tokens(job)) as tokens:
            async for token in tokens:
                chunk = event(token)
                if first and job.chat:
                    chunk["choices"][0]["delta"]["role"] = "assistant"
                first = False
                yield chunk
        yield event(None, job.finish_reason)
        if job.include_usage:
            yield envelope | {"choices": [], "usage": job.usage}
        yield "data: [DONE]\n\n"


def _words_of_prompt(body: dict[str, Any]) -> tuple[str, ...]:
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise invalid_field("prompt", "a text")
    return tuple(prompt.split()) or ("…",)


def _words_of_chat(body: dict[str, Any]) -> tuple[str, ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid_field("messages", "a list of at least one message")
    words: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            text = part.get("text") if isinstance(part, dict) else None
            words += str(text or "").split()
    return tuple(words) or ("…",)


def _envelope(job: Job, chat_object: str) -> dict[str, Any]:
    return {
        "id": f"{'chatcmpl' if job.chat else 'cmpl'}-{uuid.uuid4().hex}",
        "object": chat_object if job.chat else "text_completion",
        "created": int(time.time()),
        "model": job.model,
    }


def _sse(event: dict[str, Any] | str) -> bytes:
    if isinstance(event, str):
        return event.encode()
    return b"data: %b\n\n" % msgspec.json.encode(event)

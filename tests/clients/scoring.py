"""A model with the API of a text-scoring server: `/rerank`, and labels behind `/predict`."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replicas import InvalidInput


class Scoring:
    """Scores a text by its length: no weights, exact answers."""

    def __init__(self) -> None:
        self.app = Starlette(routes=[Route("/rerank", self._rerank, methods=["POST"])])

    def load(self) -> None:
        """There is nothing to load."""

    async def predict(self, body: Any) -> list[list[dict[str, Any]]]:
        """One list of labels for each of `inputs`, which are lists of one text."""
        if not isinstance(body, dict) or "inputs" not in body:
            raise InvalidInput("`inputs` is missing")
        return [
            [{"label": "long" if len(text) > 3 else "short", "score": 1.0}]
            for (text,) in body["inputs"]
        ]

    async def _rerank(self, request: Request) -> Response:
        body = await request.json()
        scored = [
            {"index": index, "score": float(len(text)), "text": text}
            for index, text in enumerate(body["texts"])
        ]
        return JSONResponse(sorted(scored, key=lambda result: -result["score"]))

"""`/openapi.json`: what the router answers, and nothing that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.router.openapi import asynchronous, inference, insight, management, oversight
from orchestrator.router.openapi.parts import Document, components

if TYPE_CHECKING:
    from orchestrator.router.table import RoutingTable

__all__ = ["describe_api"]


def describe_api(version: str, table: RoutingTable | None) -> Document:
    """The OpenAPI 3.1 document.

    Args:
        version: of this software.
        table: as configured; says whether keys are needed.
    """
    parts = (inference, asynchronous, management, oversight, insight)
    document: Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Inference orchestrator",
            "version": version,
            "description": "Runs models: waits for a replica where none is free, and"
            " retries what may be retried. The paths of a target also work without"
            " `/models/{model}` on `Host: model-{model}.<any domain>`, and those of an"
            " asynchronous request also behind `/models/{model}` and behind a target.",
        },
        "paths": {path: item for part in parts for path, item in part.paths().items()},
        "components": components(),
    }
    for part in parts:
        document["components"]["schemas"].update(part.SCHEMAS)
    if table is not None and table.auth is not None:
        document["security"] = [{"bearer": []}, {"apiKey": []}]
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "`prefix.secret`"},
            "apiKey": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`Api-Key prefix.secret`",
            },
        }
    return document

"""The description of management reads and of operations."""

from __future__ import annotations

from typing import Final

from orchestrator.router.openapi.parts import (
    OF_A_READ,
    OPTIONAL_TEXT,
    TEXT,
    Document,
    a_list,
    an_object,
    answers_json,
    in_path,
    own_headers,
    refusals,
)

SCHEMAS: Final[Document] = {
    "Models": an_object(models=a_list("Model")),
    "Model": an_object(
        id=TEXT,
        name=TEXT,
        description=OPTIONAL_TEXT,
        production_deployment=OPTIONAL_TEXT,
        deployments={"type": "array", "items": TEXT},
        environments={"type": "array", "items": an_object(name=TEXT, deployment=TEXT)},
    ),
    "Environment": an_object(
        name=TEXT,
        model=TEXT,
        deployment=TEXT,
        runner=TEXT,
        autoscaling={"type": ["object", "null"]},
        queue={"type": "object"},
        timeouts={"type": "object"},
        retry={"type": "object"},
        status=OPTIONAL_TEXT,
        live={"type": "object"},
    ),
    "Health": an_object(status={"enum": ["ok", "ready", "draining", "starting"]}),
}


def paths() -> dict[str, Document]:
    """Their paths."""
    return {**_models(), **_operations()}


def _models() -> dict[str, Document]:
    def read(operation: str, summary: str, schema: str) -> Document:
        return {
            "operationId": operation,
            "tags": ["management"],
            "summary": summary,
            "responses": {"200": answers_json(summary, schema), **refusals(OF_A_READ)},
        }

    return {
        "/api/v1/models": {"get": read("list_models", "All models.", "Models")},
        "/api/v1/models/{model}": {
            "parameters": [in_path("model")],
            "get": read("read_model", "One model.", "Model"),
        },
        "/api/v1/models/{model}/environments/{environment}": {
            "parameters": [in_path("model"), in_path("environment")],
            "get": read("read_environment", "One environment, with its live state.", "Environment"),
        },
    }


def _operations() -> dict[str, Document]:
    def check(operation: str, summary: str, *statuses: str) -> Document:
        return {
            "operationId": operation,
            "tags": ["operations"],
            "summary": summary,
            "security": [],
            "responses": {
                **{status: answers_json(summary, "Health") for status in statuses},
                **refusals(("400", "405")),
            },
        }

    return {
        "/healthz": {"get": check("healthz", "Whether the router's process lives.", "200")},
        "/readyz": {"get": check("readyz", "Whether the router can route.", "200", "503")},
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "tags": ["operations"],
                "summary": "This document.",
                "security": [],
                "responses": {
                    "200": {
                        "description": "OpenAPI 3.1.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                        "headers": own_headers(),
                    },
                    **refusals(("400", "405")),
                },
            }
        },
    }

"""The description of synchronous inference: by target, and on the shared host."""

from __future__ import annotations

from typing import Final

from orchestrator.router.openapi.parts import (
    OF_A_READ,
    TARGETS,
    TEXT,
    Document,
    an_object,
    answers_json,
    deadlines,
    in_path,
    own_headers,
    refusals,
    slug,
)

_OF_A_CALL: Final = (
    *("400", "401", "403", "404", "405", "413", "429"),
    *("500", "502", "503", "504", "529"),
)
_METHODS_WITH_A_BODY: Final = ("post", "put", "patch")
_SYNC_METHODS: Final = ("get", "head", *_METHODS_WITH_A_BODY, "delete", "options")

_SHARED: Final = (
    ("chat/completions", "Chat"),
    ("completions", "Completion"),
    ("embeddings", "Embeddings"),
    ("responses", "Response"),
    ("messages", "Message"),
)

SCHEMAS: Final[Document] = {
    "Routed": {
        "type": "object",
        "required": ["model"],
        "properties": {
            "model": {
                "type": "string",
                "description": "`<model>` (its production environment) or `<model>/<environment>`.",
            }
        },
    },
    "ModelList": an_object(
        object={"const": "list"},
        data={
            "type": "array",
            "items": an_object(
                id=TEXT, object={"const": "model"}, created={"type": "integer"}, owned_by=TEXT
            ),
        },
    ),
}


def paths() -> dict[str, Document]:
    """Their paths."""
    found: dict[str, Document] = {}
    for prefix, names, what in TARGETS:
        base = f"/models/{{model}}/{prefix}"
        parameters = [in_path(name) for name in ("model", *names)]
        found[f"{base}/predict"] = {"parameters": parameters, "post": _predict(prefix, what)}
        found[f"{base}/wake"] = {"parameters": parameters, "post": _wake(prefix, what)}
        found[f"{base}/sync/{{path}}"] = {
            "parameters": [*parameters, _rest()],
            **{method: _sync(prefix, what, method) for method in _SYNC_METHODS},
        }
    for path, title in _SHARED:
        found[f"/v1/{path}"] = {"post": _shared(path, title)}
    found["/v1/models"] = {"get": _list_models()}
    return found


def _predict(prefix: str, what: str) -> Document:
    return {
        "operationId": f"predict_{slug(prefix)}",
        "tags": ["inference"],
        "summary": f"Run {what} of a model and wait for its answer or stream.",
        "parameters": deadlines(),
        "requestBody": {"content": {"application/json": {"schema": {}}, "*/*": {"schema": {}}}},
        "responses": _of_a_call("Error"),
    }


def _sync(prefix: str, what: str, method: str) -> Document:
    operation: Document = {
        "operationId": f"sync_{method}_{slug(prefix)}",
        "tags": ["inference"],
        "summary": f"A path of the replica's own server, in {what}.",
        "parameters": deadlines(),
        "responses": _of_a_call("Error", "OpenAIError"),
    }
    if method in _METHODS_WITH_A_BODY:
        operation["requestBody"] = {"content": {"*/*": {"schema": {}}}}
    return operation


def _wake(prefix: str, what: str) -> Document:
    return {
        "operationId": f"wake_{slug(prefix)}",
        "tags": ["inference"],
        "summary": f"Start a replica of {what} if there is none.",
        "responses": {
            "202": {"description": "It is awake or being woken.", "headers": own_headers()},
            **refusals(OF_A_READ),
        },
    }


def _shared(path: str, title: str) -> Document:
    return {
        "operationId": f"openai_{slug(path)}",
        "tags": ["openai"],
        "summary": f"{title}: goes to the environment that `model` names.",
        "parameters": deadlines(),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Routed"}}},
        },
        "responses": _of_a_call("OpenAIError"),
    }


def _list_models() -> Document:
    return {
        "operationId": "openai_models",
        "tags": ["openai"],
        "summary": "Every name that `model` may have for this key.",
        "responses": {
            "200": answers_json("The names.", "ModelList"),
            **refusals(OF_A_READ, "OpenAIError"),
        },
    }


def _rest() -> Document:
    return {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "A path on the replica's own server; may have slashes in it.",
        "schema": {"type": "string"},
    }


def _of_a_call(*schemas: str) -> Document:
    """What a model may answer, which is anything, and what is said in its place."""
    ours = [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
    anything: Document = {"description": "The model's own."}
    responses = refusals(_OF_A_CALL)
    for response in responses.values():
        response["description"] += " Or the model's own answer with this status, unchanged."
        response["content"] = {
            "application/json": {"schema": {"anyOf": [*ours, anything]}},
            "*/*": {"schema": {}},
        }
    responses["default"] = {
        "description": "The model's own answer, unchanged.",
        "headers": own_headers(),
        "content": {"*/*": {"schema": {}}},
    }
    return responses

"""`/openapi.json`: what the router answers, and nothing that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.router.responses import ErrorCode

if TYPE_CHECKING:
    from orchestrator.router.table import RoutingTable

_Document = dict[str, Any]

_REFUSALS: Final = {
    "400": "A header, parameter or part of the body is wrong; names it.",
    "401": "No valid key.",
    "403": "The key does not reach this.",
    "404": "Unknown model, environment, deployment or address.",
    "405": "The address exists for other methods.",
    "413": "The body is over the limit; says both sizes.",
    "429": "The environment's queue is full.",
    "500": "The model raised, or the router failed.",
    "502": "The replica died or answered garbage, and retries are used up.",
    "503": "No replica in time, the environment is unhealthy, or it is shutting down.",
    "504": "The model took too long, or the caller's deadline passed.",
    "529": "No slot is free, and the environment does not queue.",
}
_WITH_RETRY_AFTER: Final = ("429", "503", "529")
_OF_A_CALL: Final = tuple(_REFUSALS)
_OF_A_READ: Final = ("400", "401", "403", "404", "405", "500", "503")

_TARGETS: Final = (
    ("production", (), "the production environment"),
    ("development", (), "the development environment"),
    ("environments/{environment}", ("environment",), "an environment"),
    ("deployment/{deployment}", ("deployment",), "the environment that runs a deployment"),
)

_SHARED: Final = (
    ("chat/completions", "Chat"),
    ("completions", "Completion"),
    ("embeddings", "Embeddings"),
    ("responses", "Response"),
    ("messages", "Message"),
)


def describe_api(version: str, table: RoutingTable | None) -> _Document:
    """The OpenAPI 3.1 document.

    Args:
        version: of this software.
        table: as configured; says whether keys are needed, and the body limit.
    """
    paths: dict[str, _Document] = {}
    for prefix, names, what in _TARGETS:
        base = f"/models/{{model}}/{prefix}"
        parameters = [_name(name) for name in ("model", *names)]
        paths[f"{base}/predict"] = {"parameters": parameters, "post": _predict(prefix, what)}
        paths[f"{base}/wake"] = {"parameters": parameters, "post": _wake(prefix, what)}
        paths[f"{base}/sync/{{path}}"] = {
            "parameters": [*parameters, _rest()],
            **{method: _sync(prefix, what, method) for method in _SYNC_METHODS},
        }
    for path, title in _SHARED:
        paths[f"/v1/{path}"] = {"post": _shared(path, title)}
    paths["/v1/models"] = {"get": _list_models()}
    paths.update(_management())
    paths.update(_operations())
    document: _Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Inference orchestrator",
            "version": version,
            "description": "Runs models: waits for a replica where none is free, and"
            " retries what may be retried. The paths of a target also work without"
            " `/models/{model}` on `Host: model-{model}.<any domain>`.",
        },
        "paths": paths,
        "components": _components(),
    }
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


_METHODS_WITH_A_BODY: Final = ("post", "put", "patch")
_SYNC_METHODS: Final = ("get", "head", *_METHODS_WITH_A_BODY, "delete", "options")


def _predict(prefix: str, what: str) -> _Document:
    return {
        "operationId": f"predict_{_slug(prefix)}",
        "tags": ["inference"],
        "summary": f"Run {what} of a model and wait for its answer or stream.",
        "parameters": _deadline_parameters(),
        "requestBody": {"content": {"application/json": {"schema": {}}, "*/*": {"schema": {}}}},
        "responses": _of_a_call("Error"),
    }


def _sync(prefix: str, what: str, method: str) -> _Document:
    operation: _Document = {
        "operationId": f"sync_{method}_{_slug(prefix)}",
        "tags": ["inference"],
        "summary": f"A path of the replica's own server, in {what}.",
        "parameters": _deadline_parameters(),
        "responses": _of_a_call("Error", "OpenAIError"),
    }
    if method in _METHODS_WITH_A_BODY:
        operation["requestBody"] = {"content": {"*/*": {"schema": {}}}}
    return operation


def _wake(prefix: str, what: str) -> _Document:
    return {
        "operationId": f"wake_{_slug(prefix)}",
        "tags": ["inference"],
        "summary": f"Start a replica of {what} if there is none.",
        "responses": {
            "202": {"description": "It is awake or being woken.", "headers": _own_headers()},
            **_refusals(_OF_A_READ),
        },
    }


def _shared(path: str, title: str) -> _Document:
    return {
        "operationId": f"openai_{_slug(path)}",
        "tags": ["openai"],
        "summary": f"{title}: goes to the environment that `model` names.",
        "parameters": _deadline_parameters(),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Routed"}}},
        },
        "responses": _of_a_call("OpenAIError"),
    }


def _list_models() -> _Document:
    return {
        "operationId": "openai_models",
        "tags": ["openai"],
        "summary": "Every name that `model` may have for this key.",
        "responses": {
            "200": _json("The names.", "ModelList"),
            **_refusals(_OF_A_READ, "OpenAIError"),
        },
    }


def _management() -> dict[str, _Document]:
    def read(operation: str, summary: str, schema: str) -> _Document:
        return {
            "operationId": operation,
            "tags": ["management"],
            "summary": summary,
            "responses": {"200": _json(summary, schema), **_refusals(_OF_A_READ)},
        }

    return {
        "/api/v1/models": {"get": read("list_models", "All models.", "Models")},
        "/api/v1/models/{model}": {
            "parameters": [_name("model")],
            "get": read("read_model", "One model.", "Model"),
        },
        "/api/v1/models/{model}/environments/{environment}": {
            "parameters": [_name("model"), _name("environment")],
            "get": read("read_environment", "One environment, with its live state.", "Environment"),
        },
    }


def _operations() -> dict[str, _Document]:
    def check(operation: str, summary: str, *statuses: str) -> _Document:
        return {
            "operationId": operation,
            "tags": ["operations"],
            "summary": summary,
            "security": [],
            "responses": {
                **{status: _json(summary, "Health") for status in statuses},
                **_refusals(("400", "405")),
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
                        "headers": _own_headers(),
                    },
                    **_refusals(("400", "405")),
                },
            }
        },
    }


def _name(name: str) -> _Document:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }


def _rest() -> _Document:
    return {
        "name": "path",
        "in": "path",
        "required": True,
        "description": "A path on the replica's own server; may have slashes in it.",
        "schema": {"type": "string"},
    }


def _deadline_parameters() -> list[_Document]:
    return [
        {"$ref": "#/components/parameters/RequestTimeoutMs"},
        {"$ref": "#/components/parameters/RequestDeadlineMs"},
    ]


def _refusals(statuses: tuple[str, ...], schema: str = "Error") -> _Document:
    return {
        status: {
            **_json(_REFUSALS[status], schema),
            "headers": {
                **_own_headers(),
                **(
                    {"retry-after": {"$ref": "#/components/headers/RetryAfter"}}
                    if status in _WITH_RETRY_AFTER
                    else {}
                ),
            },
        }
        for status in statuses
    }


def _of_a_call(*schemas: str) -> _Document:
    """What a model may answer, which is anything, and what is said in its place."""
    ours = [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
    anything: _Document = {"description": "The model's own."}
    responses = _refusals(_OF_A_CALL)
    for response in responses.values():
        response["description"] += " Or the model's own answer with this status, unchanged."
        response["content"] = {
            "application/json": {"schema": {"anyOf": [*ours, anything]}},
            "*/*": {"schema": {}},
        }
    responses["default"] = {
        "description": "The model's own answer, unchanged.",
        "headers": _own_headers(),
        "content": {"*/*": {"schema": {}}},
    }
    return responses


def _json(description: str, schema: str) -> _Document:
    return {
        "description": description,
        "headers": _own_headers(),
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _own_headers() -> _Document:
    return {"x-baseten-request-id": {"$ref": "#/components/headers/RequestId"}}


def _slug(path: str) -> str:
    return path.split("/{", 1)[0].replace("/", "_")


def _components() -> _Document:
    milliseconds = {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
    return {
        "parameters": {
            "RequestTimeoutMs": {
                "name": "Request-Timeout-Ms",
                "in": "header",
                "description": "Milliseconds that the caller will wait.",
                "schema": milliseconds,
            },
            "RequestDeadlineMs": {
                "name": "Request-Deadline-Ms",
                "in": "header",
                "description": "Milliseconds since 1970 until which the caller will wait.",
                "schema": milliseconds,
            },
        },
        "headers": {
            "RequestId": {
                "description": "The request's id: the caller's `x-request-id`, or a new one.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128},
            },
            "RetryAfter": {
                "description": "Seconds after which to try again.",
                "schema": {"type": "integer", "minimum": 1},
            },
        },
        "schemas": _schemas(),
    }


def _schemas() -> _Document:
    text = {"type": "string"}
    optional_text = {"type": ["string", "null"]}
    return {
        "Error": _object(
            error=text,
            error_code={"enum": [code.value for code in ErrorCode]},
            detail={"type": "object"},
            request_id=text,
        ),
        "OpenAIError": _object(
            error=_object(
                message=text,
                type=text,
                param=optional_text,
                code={"enum": [code.value for code in ErrorCode]},
                detail={"type": "object"},
                request_id=text,
            )
        ),
        "Routed": {
            "type": "object",
            "required": ["model"],
            "properties": {
                "model": {
                    "type": "string",
                    "description": "`<model>` (its production environment) or"
                    " `<model>/<environment>`.",
                }
            },
        },
        "ModelList": _object(
            object={"const": "list"},
            data={
                "type": "array",
                "items": _object(
                    id=text, object={"const": "model"}, created={"type": "integer"}, owned_by=text
                ),
            },
        ),
        "Models": _object(
            models={"type": "array", "items": {"$ref": "#/components/schemas/Model"}}
        ),
        "Model": _object(
            id=text,
            name=text,
            description=optional_text,
            production_deployment=optional_text,
            deployments={"type": "array", "items": text},
            environments={"type": "array", "items": _object(name=text, deployment=text)},
        ),
        "Environment": _object(
            name=text,
            model=text,
            deployment=text,
            runner=text,
            autoscaling={"type": ["object", "null"]},
            queue={"type": "object"},
            timeouts={"type": "object"},
            retry={"type": "object"},
            status=optional_text,
            live={"type": "object"},
        ),
        "Health": _object(status={"enum": ["ok", "ready", "draining", "starting"]}),
    }


def _object(**properties: _Document) -> _Document:
    return {"type": "object", "properties": properties, "required": list(properties)}

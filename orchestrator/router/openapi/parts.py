"""What the description's parts are put together from."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.router.responses import ErrorCode

Document = dict[str, Any]

REFUSALS: Final = {
    "400": "A header, parameter or part of the body is wrong; names it.",
    "401": "No valid key.",
    "403": "The key does not reach this.",
    "404": "Unknown model, environment, deployment or address.",
    "405": "The address exists for other methods.",
    "409": "The idempotency key was used with another body.",
    "413": "The body is over the limit; says both sizes.",
    "429": "The environment's queue is full.",
    "500": "The model raised, or the router failed.",
    "502": "The replica died or answered garbage, and retries are used up.",
    "503": "No replica in time, the environment is unhealthy, or it is shutting down.",
    "504": "The model took too long, or the caller's deadline passed.",
    "529": "No slot is free, and the environment does not queue.",
}
_WITH_RETRY_AFTER: Final = ("429", "503", "529")
OF_A_READ: Final = ("400", "401", "403", "404", "405", "500", "503")

TARGETS: Final = (
    ("production", (), "the production environment"),
    ("development", (), "the development environment"),
    ("environments/{environment}", ("environment",), "an environment"),
    ("deployment/{deployment}", ("deployment",), "the environment that runs a deployment"),
)

TEXT: Final[Document] = {"type": "string"}
OPTIONAL_TEXT: Final[Document] = {"type": ["string", "null"]}
WHOLE: Final[Document] = {"type": "integer", "minimum": 0}


def slug(path: str) -> str:
    """The part of an operation's id that names a target or a path."""
    return path.split("/{", 1)[0].replace("/", "_")


def in_path(name: str, description: str = "") -> Document:
    """A parameter in the path."""
    parameter: Document = {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }
    return {**parameter, "description": description} if description else parameter


def in_query(name: str, description: str, schema: Document) -> Document:
    """A parameter in the query, which may be left out."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def deadlines() -> list[Document]:
    """The headers by which a caller bounds its wait."""
    return [
        {"$ref": "#/components/parameters/RequestTimeoutMs"},
        {"$ref": "#/components/parameters/RequestDeadlineMs"},
    ]


def own_headers() -> Document:
    """Headers of every answer."""
    return {"x-baseten-request-id": {"$ref": "#/components/headers/RequestId"}}


def answers_json(description: str, schema: str) -> Document:
    """An answer with a JSON body of a named schema."""
    return {
        "description": description,
        "headers": own_headers(),
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def refusals(statuses: tuple[str, ...], schema: str = "Error", **words: str) -> Document:
    """Answers with an error body.

    Args:
        statuses: which.
        schema: of the body.
        words: descriptions that differ from the usual ones, by `status_<status>`.
    """
    return {
        status: {
            **answers_json(words.get(f"status_{status}", REFUSALS[status]), schema),
            "headers": {
                **own_headers(),
                **(
                    {"retry-after": {"$ref": "#/components/headers/RetryAfter"}}
                    if status in _WITH_RETRY_AFTER
                    else {}
                ),
            },
        }
        for status in statuses
    }


def an_object(**properties: Document) -> Document:
    """A schema whose properties are all there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def a_list(schema: str) -> Document:
    """A schema of a list of a named one."""
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}


def components() -> Document:
    """What all parts refer to, but for the schemas of single ones."""
    milliseconds = {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
    code = {"enum": [code.value for code in ErrorCode]}
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
                "description": "The id of this HTTP call: its `x-request-id`, or a new one."
                " An asynchronous request has another, which stands in bodies as `request_id`.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128},
            },
            "RetryAfter": {
                "description": "Seconds after which to try again.",
                "schema": {"type": "integer", "minimum": 1},
            },
        },
        "schemas": {
            "Error": an_object(
                error=TEXT, error_code=code, detail={"type": "object"}, request_id=TEXT
            ),
            "OpenAIError": an_object(
                error=an_object(
                    message=TEXT,
                    type=TEXT,
                    param=OPTIONAL_TEXT,
                    code=code,
                    detail={"type": "object"},
                    request_id=TEXT,
                )
            ),
        },
    }

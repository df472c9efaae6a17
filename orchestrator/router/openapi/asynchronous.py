"""The description of asynchronous requests."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from orchestrator.lifecycle.async_request import WEBHOOK_FAILED, ErrorCode, WebhookStatus
from orchestrator.router.async_requests import LIST_LIMIT, LONGEST_LIST, LONGEST_WAIT_S, STATES
from orchestrator.router.openapi.parts import (
    OF_A_READ,
    OPTIONAL_TEXT,
    TARGETS,
    TEXT,
    WHOLE,
    Document,
    a_list,
    an_object,
    answers_json,
    deadlines,
    in_path,
    in_query,
    refusals,
    slug,
)
from orchestrator.router.submission import (
    IDEMPOTENCY_KEY,
    LONGEST_IDEMPOTENCY_KEY,
    AsyncPredictRequest,
)

NO_STORE: Final = "The store of asynchronous requests does not answer, or there is none."
_OF_A_SUBMISSION: Final = (*OF_A_READ, "409", "413", "429")

PAGING: Final = (
    in_query("cursor", "Where to go on: the `cursor` of the page before.", TEXT),
    in_query(
        "limit",
        "How many a page has at most.",
        {"type": "integer", "minimum": 1, "maximum": LONGEST_LIST, "default": LIST_LIMIT},
    ),
)
BY_STATUS: Final = in_query("status", "Only those in this state.", {"enum": list(STATES)})


def _body_schemas() -> Document:
    _, schemas = msgspec.json.schema_components(
        [AsyncPredictRequest], ref_template="#/components/schemas/{name}"
    )
    properties: dict[str, Any] = schemas["AsyncPredictRequest"]["properties"]
    properties["model_input"].update({"type": "object", "description": "What the model gets."})
    return schemas


_REQUEST: Final[Document] = {
    "request_id": TEXT,
    "model_id": TEXT,
    "deployment_id": TEXT,
    "environment": TEXT,
    "status": {"enum": [*STATES, WEBHOOK_FAILED]},
    "webhook_status": {"enum": [status.value for status in WebhookStatus]},
    "created_at": {"type": "string", "format": "date-time"},
    "status_at": {"type": "string", "format": "date-time"},
    "priority": WHOLE,
    "attempts": WHOLE,
    "queue_position": {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "How many are before it in its queue; null where it is not in it.",
    },
    "errors": a_list("AsyncRequestError"),
}

SCHEMAS: Final[Document] = {
    **_body_schemas(),
    "AsyncAccepted": an_object(
        request_id={"type": "string", "description": "Of the asynchronous request."}
    ),
    "AsyncQueueStatus": an_object(
        model_id=TEXT,
        deployment_id=TEXT,
        num_queued_requests=WHOLE,
        num_in_progress_requests=WHOLE,
    ),
    "AsyncRequestError": an_object(code={"enum": [code.value for code in ErrorCode]}, message=TEXT),
    "AsyncRequest": an_object(**_REQUEST),
    "AsyncRequestWithResult": an_object(
        **_REQUEST,
        result={
            "description": "The model's answer: JSON as it is, text as a string, anything else"
            " as `{content_type, base64}`; null where it has none."
        },
    ),
    "AsyncRequests": an_object(async_requests=a_list("AsyncRequest"), cursor=OPTIONAL_TEXT),
    "AsyncCancellation": an_object(request_id=TEXT, canceled={"type": "boolean"}, message=TEXT),
}


def paths() -> dict[str, Document]:
    """Their paths."""
    found: dict[str, Document] = {}
    for prefix, names, what in TARGETS:
        base = f"/models/{{model}}/{prefix}"
        parameters = [in_path(name) for name in ("model", *names)]
        for action, method, operation in (
            ("async_predict", "post", _submit(prefix, what)),
            ("async_queue_status", "get", _queue_status(prefix, what)),
            ("async_requests", "get", _list(prefix, what)),
        ):
            found[f"{base}/{action}"] = {"parameters": parameters, method: operation}
    found["/async_request/{id}"] = {
        "parameters": [in_path("id", "Of an asynchronous request.")],
        "get": _show(),
        "delete": _cancel(),
    }
    return found


def _submit(prefix: str, what: str) -> Document:
    body = {"$ref": "#/components/schemas/AsyncPredictRequest"}
    return {
        "operationId": f"async_predict_{slug(prefix)}",
        "tags": ["asynchronous"],
        "summary": f"Accept a request, to be run by {what} of a model when there is room.",
        "parameters": [
            {
                "name": IDEMPOTENCY_KEY,
                "in": "header",
                "description": "Visible ASCII characters. For 24 h, the same key with the same"
                " body gives the same request.",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": LONGEST_IDEMPOTENCY_KEY,
                },
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "201": answers_json("It is kept safe, and will be run.", "AsyncAccepted"),
            **refusals(
                _OF_A_SUBMISSION,
                status_429="As many requests or bytes are open as may be; says which.",
                status_503=NO_STORE,
            ),
        },
    }


def _queue_status(prefix: str, what: str) -> Document:
    return {
        "operationId": f"async_queue_status_{slug(prefix)}",
        "tags": ["asynchronous"],
        "summary": f"How many asynchronous requests wait and run in {what} of a model.",
        "responses": {
            "200": answers_json("The numbers.", "AsyncQueueStatus"),
            **refusals(OF_A_READ, status_503=NO_STORE),
        },
    }


def _list(prefix: str, what: str) -> Document:
    return {
        "operationId": f"async_requests_{slug(prefix)}",
        "tags": ["asynchronous"],
        "summary": f"The asynchronous requests of {what} of a model, newest first.",
        "parameters": [BY_STATUS, *PAGING],
        "responses": {
            "200": answers_json("A page of them, without results.", "AsyncRequests"),
            **refusals(OF_A_READ, status_503=NO_STORE),
        },
    }


def _show() -> Document:
    return {
        "operationId": "read_async_request",
        "tags": ["asynchronous"],
        "summary": "The state of an asynchronous request, and its result.",
        "parameters": [
            in_query(
                "wait",
                "Seconds to wait for its end, if that is still to come.",
                {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_S, "default": 0},
            ),
            *deadlines(),
        ],
        "responses": {
            "200": answers_json("The request.", "AsyncRequestWithResult"),
            **refusals(
                (*OF_A_READ, "504"),
                status_404="There is no such request, or it is no longer kept.",
                status_503=NO_STORE,
                status_504="The caller's deadline had passed when the call came.",
            ),
        },
    }


def _cancel() -> Document:
    return {
        "operationId": "cancel_async_request",
        "tags": ["asynchronous"],
        "summary": "Cancel an asynchronous request that waits or runs.",
        "responses": {
            "200": answers_json("Whether it was canceled, and why not.", "AsyncCancellation"),
            **refusals(
                OF_A_READ,
                status_404="There is no such request, or it is no longer kept.",
                status_503=NO_STORE,
            ),
        },
    }

"""The description of what operators see and do of asynchronous requests and webhooks."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.lifecycle.async_request import WebhookStatus
from orchestrator.router.openapi.asynchronous import BY_STATUS, NO_STORE, PAGING
from orchestrator.router.openapi.parts import (
    OF_A_READ,
    OPTIONAL_TEXT,
    TEXT,
    WHOLE,
    Document,
    a_list,
    an_object,
    answers_json,
    in_path,
    in_query,
    refusals,
)
from orchestrator.router.oversight import DeadLetterFilter

_MOMENT: Final[Document] = {"type": "string", "format": "date-time"}
_BY_PLACE: Final = (
    in_query("model", "Only those of this model.", TEXT),
    in_query("environment", "Only those of environments of this name.", TEXT),
)
_BY_HOST: Final = in_query("host", "Only those for this receiver.", TEXT)
_OF_A_CHANGE: Final = (*OF_A_READ, "413")

_LETTER: Final[Document] = {
    "request_id": TEXT,
    "model_id": TEXT,
    "environment": TEXT,
    "webhook_endpoint": TEXT,
    "given_up_at": _MOMENT,
    "reason": TEXT,
    "attempts": WHOLE,
}
_SECRET: Final[Document] = {
    "id": TEXT,
    "created_at": _MOMENT,
    "expires_at": {"type": ["string", "null"], "format": "date-time"},
}

SCHEMAS: Final[Document] = {
    **msgspec.json.schema_components([DeadLetterFilter])[1],
    "Delivery": an_object(
        at=_MOMENT,
        attempt={"type": "integer", "minimum": 1},
        status={"type": ["integer", "null"]},
        seconds={"type": "number", "minimum": 0},
        answer=TEXT,
        error=TEXT,
    ),
    "Deliveries": an_object(
        request_id=TEXT,
        webhook_status={"enum": [status.value for status in WebhookStatus]},
        webhook_endpoint=OPTIONAL_TEXT,
        deliveries=a_list("Delivery"),
    ),
    "DeadLetter": an_object(**_LETTER),
    "DeadLetterWithTries": an_object(**_LETTER, deliveries=a_list("Delivery")),
    "DeadLetterPage": an_object(dead_letters=a_list("DeadLetter"), cursor=OPTIONAL_TEXT),
    "Replayed": an_object(request_id=TEXT, replayed={"const": True}),
    "ReplayedAll": an_object(replayed=WHOLE),
    "Dropped": an_object(request_id=TEXT, dropped={"const": True}),
    "WebhookSecret": an_object(**_SECRET),
    "NewWebhookSecret": an_object(
        **_SECRET,
        secret={"type": "string", "description": "`whsec_…`; told now and never again."},
    ),
    "WebhookSecrets": an_object(webhook_secrets=a_list("WebhookSecret")),
    "DeletedWebhookSecret": an_object(id=TEXT, deleted={"const": True}),
}


def paths() -> dict[str, Document]:
    """Their paths."""
    return {f"/api/v1{path}": item for path, item in {**_letters(), **_others()}.items()}


def _letters() -> dict[str, Document]:
    request = [in_path("id", "Of the asynchronous request whose webhook was given up.")]
    return {
        "/dead_letters": {
            "get": _read(
                "list_dead_letters",
                "Webhooks that were given up.",
                "DeadLetterPage",
                *_BY_PLACE,
                _BY_HOST,
                *PAGING,
            )
        },
        "/dead_letters/replay": {
            "post": {
                **_change(
                    "replay_dead_letters",
                    "Send all again that match; an empty object means all.",
                    "ReplayedAll",
                ),
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/DeadLetterFilter"}
                        }
                    },
                },
            }
        },
        "/dead_letters/{id}": {
            "parameters": request,
            "get": _read("read_dead_letter", "One, with its tries.", "DeadLetterWithTries"),
            "delete": _change("drop_dead_letter", "Forget it.", "Dropped"),
        },
        "/dead_letters/{id}/replay": {
            "parameters": request,
            "post": _change("replay_dead_letter", "Send it again.", "Replayed"),
        },
    }


def _others() -> dict[str, Document]:
    rotate = "Make a new one; the one before it signs for 24 h more, and all older ones no longer."
    return {
        "/async_requests": {
            "get": _read(
                "list_async_requests",
                "Asynchronous requests, environment by environment, newest first.",
                "AsyncRequests",
                *_BY_PLACE,
                BY_STATUS,
                *PAGING,
            )
        },
        "/async_requests/{id}/deliveries": {
            "parameters": [in_path("id", "Of an asynchronous request.")],
            "get": _read("read_deliveries", "The tries to deliver its webhook.", "Deliveries"),
        },
        "/webhook_secrets": {
            "get": _read("list_webhook_secrets", "The keys that sign webhooks.", "WebhookSecrets"),
            "post": _change("create_webhook_secret", "Make one.", "NewWebhookSecret", "201"),
        },
        "/webhook_secrets/rotate": {
            "post": _change("rotate_webhook_secret", rotate, "NewWebhookSecret", "201"),
        },
        "/webhook_secrets/{id}": {
            "parameters": [in_path("id", "Of a key.")],
            "delete": _change(
                "delete_webhook_secret", "Stop signing with it now.", "DeletedWebhookSecret"
            ),
        },
    }


def _read(operation: str, summary: str, schema: str, *parameters: Document) -> Document:
    described: Document = {
        "operationId": operation,
        "tags": ["management"],
        "summary": summary,
        "responses": {
            "200": answers_json(summary, schema),
            **refusals(OF_A_READ, status_503=NO_STORE),
        },
    }
    return {**described, "parameters": list(parameters)} if parameters else described


def _change(operation: str, summary: str, schema: str, status: str = "200") -> Document:
    return {
        "operationId": operation,
        "tags": ["management"],
        "summary": summary,
        "responses": {
            status: answers_json(summary, schema),
            **refusals(_OF_A_CHANGE, status_503=NO_STORE),
        },
    }

"""The description of what operators see of the system as a whole."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.lifecycle.request import Outcome
from orchestrator.observatory.history import SERIES
from orchestrator.router.insight import (
    LOG_LIMIT,
    LONGEST_HISTORY_MIN,
    LONGEST_LOG,
    LONGEST_REQUESTS,
    LONGEST_SINCE_S,
    REQUESTS_LIMIT,
)
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
    own_headers,
    refusals,
)

_AWAY: Final = "The observatory does not answer; requests are served as always."
_NUMBER: Final[Document] = {"type": "number", "minimum": 0}
_MAYBE_NUMBER: Final[Document] = {"type": ["number", "null"]}
_MOMENT: Final[Document] = {"type": "number", "description": "Unix time."}
_FREE: Final[Document] = {"type": "object"}
_POINTS: Final[Document] = {"type": "array", "items": _MAYBE_NUMBER}
_FLAG: Final[Document] = {"enum": ["true", "false", "1", "0", ""]}

_ROW: Final[Document] = {
    "model": TEXT,
    "environment": TEXT,
    "version": WHOLE,
    "status": TEXT,
    "reason": OPTIONAL_TEXT,
    "deployment": TEXT,
    "waiting": WHOLE,
    "oldest_wait_s": _NUMBER,
    "in_flight": WHOLE,
    "permits": WHOLE,
    "slots": WHOLE,
    "desired": WHOLE,
    "replicas": {"type": "object", "additionalProperties": WHOLE},
    "provisioning": an_object(count=WHOLE, for_s=_NUMBER, needs=_FREE),
    "requests_per_s": _NUMBER,
    "error_rate": _NUMBER,
    "p95_s": _MAYBE_NUMBER,
    "cold_starts": WHOLE,
    "decision": {"type": ["object", "null"]},
    "spark": an_object(requests=_POINTS, waiting=_POINTS, p95=_POINTS),
}

SCHEMAS: Final[Document] = {
    "OverviewRow": an_object(**_ROW),
    "Overview": an_object(
        version={"type": "integer", "minimum": 0, "description": "For `since`, the next time."},
        now=_MOMENT,
        full={"type": "boolean", "description": "Whether these are all that there are."},
        environments=a_list("OverviewRow"),
        gone={"type": "array", "items": TEXT, "description": "`<model>/<environment>`."},
    ),
    "History": an_object(
        step_s={"type": "integer"},
        end=_MOMENT,
        series=an_object(**dict.fromkeys(SERIES, _POINTS)),
        decisions={"type": "array", "items": _FREE},
        starts={"type": "array", "items": _FREE},
        replicas={"type": "array", "items": _FREE},
        queue={
            "type": "array",
            "items": an_object(**{"class": TEXT}, waiting=WHOLE, in_flight=WHOLE, oldest_s=_NUMBER),
        },
        live=_FREE,
    ),
    "RequestSummary": {
        **an_object(
            request_id=TEXT,
            trace_id=TEXT,
            kind={"enum": ["call", "submit", "other"]},
            began=_MOMENT,
            seconds=_NUMBER,
            status={"type": "integer"},
            outcome=TEXT,
            attempts=WHOLE,
            waited_s=_NUMBER,
        ),
        "description": "And all other fields of the request's timeline.",
    },
    "RecentRequests": an_object(
        requests=a_list("RequestSummary"),
        routers={"type": "integer", "minimum": 0, "description": "How many were asked."},
        missing={"type": "integer", "minimum": 0, "description": "How many did not answer."},
    ),
    "RequestTimeline": an_object(
        request_id=TEXT,
        trace_id=TEXT,
        kind={"enum": ["call", "submit", "async", "other"]},
        state=TEXT,
        status={"type": ["integer", "null"]},
        outcome=TEXT,
        model=TEXT,
        environment=TEXT,
        deployment=TEXT,
        began=_MOMENT,
        seconds=_NUMBER,
        summary={"type": "string", "description": "What happened, in one sentence."},
        error=TEXT,
        place={"type": ["object", "null"]},
        others={"type": "integer", "minimum": 0, "description": "Requests with the same id."},
        bars={"type": "array", "items": _FREE},
        raw=_FREE,
    ),
    "LogLine": an_object(
        at=_MOMENT,
        replica=TEXT,
        stream={"enum": ["stdout", "stderr", "log"]},
        level=TEXT,
        text=TEXT,
        request_id=TEXT,
        trace_id=TEXT,
    ),
}


def paths() -> dict[str, Document]:
    """Their paths."""
    place = "/api/v1/models/{model}/environments/{environment}"
    names = [in_path("model"), in_path("environment")]
    return {
        "/metrics": {"get": _metrics()},
        "/api/v1/overview": {
            "get": _read(
                "read_overview",
                "All environments at a glance.",
                "Overview",
                in_query(
                    "since",
                    "Only what has changed after this `version`.",
                    {"type": "integer", "minimum": 0, "default": 0},
                ),
            )
        },
        "/api/v1/events": {"get": _events()},
        f"{place}/history": {
            "parameters": names,
            "get": _read(
                "read_history",
                "The last minutes of an environment.",
                "History",
                in_query(
                    "minutes",
                    "How many.",
                    {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": LONGEST_HISTORY_MIN,
                        "default": LONGEST_HISTORY_MIN,
                    },
                ),
            ),
        },
        f"{place}/logs": {"parameters": names, "get": _logs()},
        "/api/v1/requests": {
            "get": _read(
                "list_requests",
                "Requests that have ended lately or are kept, newest first.",
                "RecentRequests",
                *_filters(),
            )
        },
        "/api/v1/requests/{id}/timeline": {
            "parameters": [in_path("id", "Of an HTTP request, or of an asynchronous one.")],
            "get": _read(
                "read_timeline",
                "Where a request is or was, and for how long.",
                "RequestTimeline",
                status_404="Nobody knows it, or not any more.",
            ),
        },
    }


def _filters() -> list[Document]:
    of_list = {"type": "integer", "minimum": 1, "maximum": LONGEST_REQUESTS}
    return [
        in_query("model", "Only those of this model.", TEXT),
        in_query("environment", "Only those of environments of this name.", TEXT),
        in_query(
            "since",
            f"Only those that ended within so long: seconds, or as in `10m`; at most"
            f" {LONGEST_SINCE_S:g} s.",
            {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,12})?[smhd]?$"},
        ),
        in_query("errors", "Only those that failed.", _FLAG),
        in_query("slow", "Only those that were among the slowest.", _FLAG),
        in_query("slow_ms", "Only those that took at least so many milliseconds.", _NUMBER),
        in_query("cold", "Only those that waited for a replica to start.", _FLAG),
        in_query("retried", "Only those with more than one attempt.", _FLAG),
        in_query("outcome", "Only those.", {"enum": [outcome.value for outcome in Outcome]}),
        in_query("limit", "The newest so many.", {**of_list, "default": REQUESTS_LIMIT}),
    ]


def _logs() -> Document:
    of_lines = {"type": "integer", "minimum": 1, "maximum": LONGEST_LOG}
    summary = "What an environment's replicas have logged and printed, one JSON object a line."
    return {
        "operationId": "read_logs",
        "tags": ["operations"],
        "summary": summary,
        "parameters": [
            in_query("replica", "Only those of this replica.", TEXT),
            in_query("request", "Only those about this request.", TEXT),
            in_query("lines", "The newest so many.", {**of_lines, "default": LOG_LIMIT}),
            in_query("follow", "Go on with those that come; empty lines keep it alive.", _FLAG),
        ],
        "responses": {
            "200": _answers(
                "Where no replica runs: the last lines of the last one that failed.",
                "application/x-ndjson",
                {"type": "string", "description": "Lines, each a `LogLine`."},
            ),
            **refusals(OF_A_READ, status_503=_AWAY),
        },
    }


def _metrics() -> Document:
    text: Document = {"type": "string"}
    described = _answers("Of the whole system, for Prometheus.", "text/plain", text)
    described["content"]["application/openmetrics-text"] = {"schema": text}
    return {
        "operationId": "metrics",
        "tags": ["operations"],
        "summary": "Metrics of all processes; as OpenMetrics, with exemplars, where it is accepted.",
        "responses": {"200": described, **refusals(OF_A_READ, status_503=_AWAY)},
    }


def _events() -> Document:
    events: Document = {
        "type": "string",
        "description": "Events `overview`, at most one a second, whose data is an `Overview`:"
        " at first all, then what has changed. Comments keep it alive.",
    }
    return {
        "operationId": "events",
        "tags": ["operations"],
        "summary": "All environments at a glance, as they change.",
        "responses": {
            "200": _answers("Server-sent events.", "text/event-stream", events),
            **refusals(
                (*OF_A_READ, "429"),
                status_429="As many streams of events are open as may be.",
                status_503=_AWAY,
            ),
        },
    }


def _answers(description: str, content_type: str, schema: Document) -> Document:
    return {
        "description": description,
        "headers": own_headers(),
        "content": {content_type: {"schema": schema}},
    }


def _read(
    operation: str, summary: str, schema: str, *parameters: Document, **words: Any
) -> Document:
    described: Document = {
        "operationId": operation,
        "tags": ["operations"],
        "summary": summary,
        "responses": {
            "200": answers_json(summary, schema),
            **refusals(OF_A_READ, status_503=_AWAY, **words),
        },
    }
    return {**described, "parameters": list(parameters)} if parameters else described

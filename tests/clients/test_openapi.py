"""The served `/openapi.json`: valid, complete, and true of the cluster that serves it."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.clients.conftest import Cluster

EXAMPLES = 12
"""For each operation. A search, not a proof: every run looks elsewhere."""

DEADLINES = {"Request-Timeout-Ms", "Request-Deadline-Ms"}
YEAR_2100_MS = 4_102_444_800_000

Operation = schemathesis.APIOperation[Any, Any, Any, Any]


def no_server_error(
    context: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case[Any],
) -> bool | None:
    """A 5xx, unless it is the 504 that the request itself asked for with its deadline."""
    if response.status_code == 504 and DEADLINES & set(case.headers):
        return None
    return schemathesis.checks.not_a_server_error(context, response, case)


CHECKS = [
    no_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
]

CONTRACT = {
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/models/{model}/production/async_predict",
    "/models/{model}/production/async_queue_status",
    "/models/{model}/production/async_requests",
    "/async_request/{id}",
    "/metrics",
    "/api/v1/overview",
    "/api/v1/events",
    "/api/v1/requests",
    "/api/v1/requests/{id}/timeline",
    "/api/v1/models/{model}/environments/{environment}/history",
    "/api/v1/models/{model}/environments/{environment}/logs",
    "/api/v1/async_requests",
    "/api/v1/dead_letters",
    "/api/v1/webhook_secrets",
}

ENDLESS = {"/api/v1/events"}


@pytest.fixture(scope="session")
def fuzzed(cluster: Cluster) -> schemathesis.BaseSchema:
    """The schema, with values from which most of the generated addresses exist."""
    config = {
        # Less than the patience below: what hangs must not pass for a deadline.
        "request-timeout": 30,
        "dictionaries": {
            # Not the ones that sleep: other tests need them asleep.
            "models": {"values": ["echo", "llm", "embeddings", "scoring"]},
            "environments": {"values": ["production", "development"]},
            "deployments": {"values": ["v1"]},
            "patience": {"values": [60_000, 120_000]},
            "deadlines": {"values": [YEAR_2100_MS]},
            "no": {"values": ["false"]},
            "targets": {"values": ["llm", "echo", "embeddings", "llm/production"]},
        },
        "parameters": {
            "path.model": {"dictionary": "models", "probability": 0.9},
            "path.environment": {"dictionary": "environments", "probability": 0.9},
            "path.deployment": {"dictionary": "deployments", "probability": 0.9},
            "header.Request-Timeout-Ms": {"dictionary": "patience", "probability": 0.8},
            "header.Request-Deadline-Ms": {"dictionary": "deadlines", "probability": 0.8},
            "query.follow": {"dictionary": "no", "probability": 1.0},  # it would not end
            "body.model": {"dictionary": "targets", "probability": 0.9},
        },
        "generation": {"mode": "all", "with-security-parameters": False},
    }
    return schemathesis.openapi.from_url(
        f"{cluster.url}/openapi.json", config=schemathesis.Config.from_dict(config)
    )


@pytest.fixture
def document(fuzzed: schemathesis.BaseSchema) -> dict[str, Any]:
    return dict(fuzzed.raw_schema)


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_it_lists_the_addresses_of_the_contract(document: dict[str, Any]) -> None:
    assert set(document["paths"]) >= CONTRACT


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", GenerationMode)
def test_it_says_which_answers_there_can_be(
    cluster: Cluster,
    fuzzed: schemathesis.BaseSchema,
    mode: GenerationMode,
    subtests: pytest.Subtests,
) -> None:
    """Any request, right or wrong, gets an answer that is documented, and none that is a 5xx."""
    for found in fuzzed.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation):
            continue
        if operation.path in ENDLESS:
            continue
        with subtests.test(operation.label):
            search(operation, mode, cluster.key)


def can_be_wrong(operation: Operation) -> bool:
    """Whether a request can be malformed: any text is a name, whether or not it is one of ours."""
    return any((operation.headers, operation.query, operation.body))


def search(operation: Operation, mode: GenerationMode, key: str) -> None:
    """Sends requests until one gets an answer that the document does not allow for."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def every_answer_is_documented(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=CHECKS)

    every_answer_is_documented()

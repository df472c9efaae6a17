"""The config file as a whole: one YAML file that declares a cluster."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from orchestrator.config.asynchronous import Dispatcher, Results, Webhooks
from orchestrator.config.cluster import Auth, Cluster, Placement, Router
from orchestrator.config.deployment import Deployment
from orchestrator.config.environment import Environment
from orchestrator.config.section import Name, NonEmpty, Section
from orchestrator.config.store_address import EMBEDDED, store_address
from orchestrator.config.telemetry import Telemetry

PRODUCTION = "production"

LONGEST_POLL_SECONDS = 60.0
"""How long a caller may wait for an asynchronous request to end (`?wait=`)."""

StoreAddress = Annotated[str, AfterValidator(store_address)]


class Model(Section):
    """A model: its versions, and the names under which callers reach them."""

    description: NonEmpty | None = Field(
        default=None, description="What the model does, for people."
    )
    deployments: dict[Name, Deployment] = Field(
        min_length=1, description="The versions of the model, by name."
    )
    environments: dict[Name, Environment] = Field(
        description='The environments of the model, by name; "production" must be there.'
    )


class Config(Section):
    """A cluster, as one YAML file declares it."""

    cluster: Cluster = Field(description="Where the cluster listens and what it offers.")
    placement: Placement = Field(
        default_factory=Placement, description="Which nodes run the parts of the cluster."
    )
    router: Router = Field(default_factory=Router, description="The front door.")
    auth: Auth = Field(default_factory=Auth, description="Who may call.")
    store: StoreAddress = Field(
        default=EMBEDDED,
        description=(
            "What holds asynchronous requests: embedded, a private server that `orchestrator up` "
            "starts with its data in the cluster's state directory; or the address of a Redis or "
            "Valkey server (redis://, rediss://, unix://, "
            "redis+sentinel://host1:26379,host2:26379/master/0); or ${NAME}, an environment "
            "variable that holds such an address, as one with a password must be. Where "
            "`orchestrator up` does not start the cluster, embedded stands for "
            "${ORCHESTRATOR_STORE_URL}, which must then be set on every node."
        ),
    )
    dispatcher: Dispatcher = Field(
        default_factory=Dispatcher, description="What runs asynchronous requests."
    )
    results: Results = Field(
        default_factory=Results, description="Results of asynchronous requests."
    )
    webhooks: Webhooks = Field(
        default_factory=Webhooks, description="How ends of asynchronous requests are reported."
    )
    telemetry: Telemetry = Field(
        default_factory=Telemetry, description="What is told about requests."
    )
    models: dict[Name, Model] = Field(min_length=1, description="The models, by name.")

    @property
    def longest_request_seconds(self) -> float:
        """The longest that any call may take: waiting for a slot, then running; or a long poll."""
        return max(
            LONGEST_POLL_SECONDS,
            *(
                environment.timeouts.park_seconds + environment.timeouts.predict_seconds
                for model in self.models.values()
                for environment in model.environments.values()
            ),
        )


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the config file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(by_alias=True),
        "title": "Orchestrator cluster",
    }

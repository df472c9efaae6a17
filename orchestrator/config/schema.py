"""The config file as a whole: one YAML file that declares a cluster."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestrator.config.cluster import Auth, Cluster, Router
from orchestrator.config.deployment import Deployment
from orchestrator.config.environment import Environment
from orchestrator.config.section import Name, NonEmpty, Section

PRODUCTION = "production"


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
    router: Router = Field(default_factory=Router, description="The front door.")
    auth: Auth = Field(default_factory=Auth, description="Who may call.")
    models: dict[Name, Model] = Field(min_length=1, description="The models, by name.")

    @property
    def longest_request_seconds(self) -> float:
        """The longest that any request may take: waiting for a slot, then running."""
        return max(
            environment.timeouts.park_seconds + environment.timeouts.predict_seconds
            for model in self.models.values()
            for environment in model.environments.values()
        )


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the config file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(by_alias=True),
        "title": "Orchestrator cluster",
    }

"""Where the requests of an experiment's environment go in a live cluster, and with what body."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator

from orchestrator.config.section import Name, Section, UrlPath
from orchestrator.replay.errors import ReplayError
from orchestrator.replay.template import DEFAULT, NAMES, unknown_names


class Target(Section):
    """The section `target` of an environment of an experiment."""

    model: Name | None = Field(
        default=None, description="Name of the model; null: what the environment is called here."
    )
    environment: Name | None = Field(
        default=None,
        description="Environment of the model; null: what follows a dot in the name, or production.",
    )
    path: UrlPath | None = Field(
        default=None,
        description="Where synchronous requests go; null: the environment's predict address.",
    )
    body: Any = Field(
        default=DEFAULT,
        description=f"JSON of a request, in which {', '.join('$' + name for name in NAMES)} "
        "stand for the request's own numbers.",
    )

    @field_validator("body")
    @classmethod
    def _known_placeholders(cls, body: Any) -> Any:
        unknown = unknown_names(body)
        if unknown:
            known = ", ".join(f"${name}" for name in NAMES)
            raise ValueError(f"${unknown[0]} stands for nothing here; there are {known}")
        return body


class Place:
    """Addresses of one environment of a live cluster.

    Attributes:
        model, environment: their names there.
        predict: path that synchronous requests go to.
        submit: path that asynchronous requests are handed over at.
        depth: path that tells how many asynchronous requests wait and run.
        read: path of its settings and its live state.
    """

    def __init__(self, model: str, environment: str, predict: str | None = None) -> None:
        self.model = model
        self.environment = environment
        place = f"/models/{quote(model, safe='')}/environments/{quote(environment, safe='')}"
        self.predict = predict or f"{place}/predict"
        self.submit = f"{place}/async_predict"
        self.depth = f"{place}/async_queue_status"
        self.read = f"/api/v1{place}"

    def __str__(self) -> str:
        return f"{self.model}/{self.environment}"


def target_of(name: str, given: Any) -> Target:
    """The target of an environment of an experiment, checked.

    Args:
        name: of the environment, for the message.
        given: the mapping of the file; None: all defaults.

    Raises:
        ReplayError: it is not one; names the field and what would be right.
    """
    try:
        return Target.model_validate(given or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["environments", name, "target", *map(str, first["loc"])])
        raise ReplayError(f"{where}: {first['msg']}") from error


def place_of(name: str, target: Target) -> Place:
    """Where an environment of an experiment is in the live cluster.

    Args:
        name: `model`, or `model.environment`.
        target: what the experiment says of it.
    """
    model, _, environment = name.partition(".")
    return Place(
        target.model or model, target.environment or environment or "production", target.path
    )

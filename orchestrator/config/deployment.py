"""A deployment: one immutable version of a model, and what it needs to run."""

from __future__ import annotations

from typing import Annotated, Literal

import annotated_types
from pydantic import AfterValidator, Field, JsonValue

from orchestrator.config.cluster import NodeLabels
from orchestrator.config.section import (
    ClassPath,
    NonEmpty,
    ResourceName,
    Section,
    UrlPath,
    VariableName,
)

PORT_PLACEHOLDER = "{port}"


class PythonRunner(Section):
    """Runs a Python class with `load()` and `predict()` in the replica's process."""

    type: Literal["python"] = Field(description="This kind of runner.")
    class_path: ClassPath = Field(alias="class", description='The class, as "module:Class".')
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="Keyword arguments for the class, any JSON values."
    )


class CommandRunner(Section):
    """Runs any HTTP model server as a child process."""

    type: Literal["command"] = Field(description="This kind of runner.")
    command: list[NonEmpty] = Field(
        min_length=1,
        description=(
            "Program and arguments, started without a shell. {port} and {host} stand for "
            "the port and the address that the server must listen on."
        ),
    )
    working_directory: NonEmpty | None = Field(
        default=None, description="Directory to start it in; null: the replica's own."
    )
    health_path: UrlPath = Field(
        default="/health", description="Path that answers 200 once the server is ready."
    )
    predict_path: UrlPath = Field(
        default="/predict", description="Path of the server that a predict call goes to."
    )


Runner = Annotated[PythonRunner | CommandRunner, Field(discriminator="type")]


Amount = Annotated[float, annotated_types.Ge(0.0001), annotated_types.Le(1_000_000_000)]
"""Of a resource of a node; Ray counts in ten-thousandths."""

_OWN_FIELDS = {
    "CPU": "num_cpus",
    "GPU": "num_gpus",
    "memory": "memory_gigabytes",
    "num_cpus": "num_cpus",
    "num_gpus": "num_gpus",
}
_RESERVED = ("object_store_memory", "node:", "bundle_group", "accelerator_type:")


def _custom_resource(name: str) -> str:
    if name in _OWN_FIELDS:
        raise ValueError(
            f"must not be a custom resource: ask for it with resources.{_OWN_FIELDS[name]}"
        )
    if name.startswith(_RESERVED):
        raise ValueError("must be a resource of your own: Ray gives this name to nodes itself")
    return name


class Resources(Section):
    """What one replica occupies on its machine, and which machines it may have."""

    num_cpus: float = Field(default=1, ge=0, description="CPUs; fractions are allowed.")
    num_gpus: float = Field(
        default=0,
        ge=0,
        description="GPUs: a whole number, or a fraction below 1 to share one.",
    )
    memory_gigabytes: float | None = Field(
        default=None,
        gt=0,
        description="Memory to reserve (1 GB = 1,000,000,000 bytes); null: none reserved.",
    )
    accelerator_type: NonEmpty | None = Field(
        default=None,
        description='Kind of accelerator as Ray names it, such as "H100"; null: any.',
    )
    node_labels: NodeLabels = Field(
        default_factory=dict,
        description=(
            "Labels that its node must have, with values in the syntax of Ray's label "
            "selectors: a, !a, in(a, b), !in(a, b)."
        ),
    )
    custom: dict[
        Annotated[ResourceName, AfterValidator(_custom_resource)],
        Amount,
    ] = Field(
        default_factory=dict,
        description="Amounts of other resources that nodes were started with, by name.",
    )


class Startup(Section):
    """How a start of a replica is tried, and tried again."""

    timeout_seconds: float = Field(
        default=600, gt=0, le=86_400, description="Time for loading and warming up."
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Failed starts in a row after which the environment is UNHEALTHY.",
    )
    backoff_initial_seconds: float = Field(
        default=1, gt=0, le=3600, description="Pause after the first failed start; doubles."
    )
    backoff_max_seconds: float = Field(
        default=30, gt=0, le=3600, description="Longest pause between two starts."
    )


class Health(Section):
    """How a running replica is watched."""

    interval_seconds: float = Field(
        default=5, gt=0, le=3600, description="Time between two health checks."
    )
    timeout_seconds: float = Field(
        default=5, gt=0, le=600, description="Time that one health check may take."
    )
    failures: int = Field(
        default=3, ge=1, le=100, description="Failed checks in a row that end the replica."
    )


class Deployment(Section):
    """One immutable version of a model. A change here restarts its replicas."""

    runner: Runner = Field(description="What runs the model.")
    resources: Resources = Field(
        default_factory=Resources, description="What one replica occupies."
    )
    concurrency: int = Field(
        default=1, ge=1, le=10_000, description="Slots: requests that one replica runs at once."
    )
    startup: Startup = Field(default_factory=Startup, description="How a replica is started.")
    health: Health = Field(default_factory=Health, description="How a replica is watched.")
    environment_variables: dict[VariableName, str] = Field(
        default_factory=dict,
        description=(
            "Environment variables of the model. ${NAME} in a value is replaced, in the "
            "replica's process, by that process's own variable."
        ),
    )

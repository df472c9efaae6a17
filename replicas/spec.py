"""What one replica is told to be: the compiled form of a deployment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from orchestrator.telemetry.settings import TelemetrySettings
from replicas.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

# Set by Ray for the GPUs (of each maker) that it gave to this replica. Overriding
# one would put two replicas on one GPU without anybody noticing.
ASSIGNED_BY_RAY = frozenset(
    {
        "ASCEND_RT_VISIBLE_DEVICES",
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "NEURON_RT_VISIBLE_CORES",
        "ONEAPI_DEVICE_SELECTOR",
        "ROCR_VISIBLE_DEVICES",
        "TPU_VISIBLE_CHIPS",
    }
)


def _telemetry(given: Any) -> TelemetrySettings:
    try:
        return msgspec.convert(given, TelemetrySettings)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


Telemetry = Annotated[TelemetrySettings, PlainValidator(_telemetry)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PythonRunnerSpec(_Part):
    """A Python class, served in the replica's own process."""

    type: Literal["python"]
    import_path: str = Field(alias="class", description="`module:Class`")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Given to the class")


class CommandRunnerSpec(_Part):
    """Any HTTP server, run as a child process."""

    type: Literal["command"]
    command: tuple[str, ...] = Field(
        min_length=1, description="Program and arguments; `{port}` and `{host}` are filled in"
    )
    working_directory: str | None = None
    health_path: str = "/health"
    predict_path: str = "/predict"


class StartupSpec(_Part):
    """How long a start may take, and how often it is tried."""

    timeout_seconds: float = Field(default=600, gt=0)
    attempts: int = Field(default=3, ge=1)
    backoff_initial_seconds: float = Field(default=1, ge=0)
    backoff_max_seconds: float = Field(default=30, ge=0)


class HealthSpec(_Part):
    """How a ready replica is checked: so many failures in a row end it."""

    interval_seconds: float = Field(default=5, gt=0)
    timeout_seconds: float = Field(default=5, gt=0)
    failures: int = Field(default=3, ge=1)


class ReplicaSpec(_Part):
    """Everything a replica needs to know.

    `environment_variables` may hold `${VAR}`: secrets stay out of the compiled
    configuration, and are looked up where the replica runs.
    """

    model: str
    environment: str
    deployment: str
    runner: Annotated[PythonRunnerSpec | CommandRunnerSpec, Field(discriminator="type")]
    slots: int = Field(default=1, ge=1)
    startup: StartupSpec = StartupSpec()
    health: HealthSpec = HealthSpec()
    environment_variables: dict[str, str] = Field(default_factory=dict)
    drain_timeout_seconds: float = Field(default=1200, ge=0)
    telemetry: Telemetry = TelemetrySettings()

    def resolve_environment(self, source: Mapping[str, str]) -> dict[str, str]:
        """The declared variables with every `${VAR}` replaced by its value in `source`.

        Raises:
            SpecError: a variable is missing, or is one that Ray assigns.
        """
        resolved = {}
        for name, value in self.environment_variables.items():
            if name in ASSIGNED_BY_RAY:
                raise SpecError(
                    f"environment_variables.{name} of deployment {self.deployment!r} would "
                    "override the devices that Ray assigned to this replica; ask for devices "
                    "with resources.num_gpus instead"
                )
            resolved[name] = self._substitute(name, value, source)
        return resolved

    def _substitute(self, name: str, value: str, source: Mapping[str, str]) -> str:
        def look_up(match: re.Match[str]) -> str:
            variable = match[1]
            if variable not in source:
                raise SpecError(
                    f"environment_variables.{name} of deployment {self.deployment!r} needs "
                    f"the environment variable {variable}, which is not set where the "
                    "replica runs"
                )
            return source[variable]

        return _REFERENCE.sub(look_up, value)

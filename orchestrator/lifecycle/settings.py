"""Settings of an environment, as the core reads them (durations in seconds, shares as 0..1)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class FullPolicy(StrEnum):
    """What happens to a request that finds no free slot."""

    QUEUE = "queue_on_full"
    REJECT = "reject_on_full"


@dataclass(frozen=True, slots=True)
class _FromMapping:
    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build from a plain mapping; keys that this class does not read are left to others."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True, slots=True)
class QueueSettings(_FromMapping):
    """How an environment's line behaves.

    Attributes:
        policy: park a request that finds no free slot, or reject it.
        max_requests: bound of the line over all holders, in requests.
        max_bytes: bound of the line over all holders, in payload bytes.
        aging_s: seconds of waiting that lift a waiter by one level of priority.
        async_share: share of slots that asynchronous work may always have.
        handover_s: how old news of other holders may be for a permit to be handed over.
        keep_s: how long an idle permit is kept by its holder.
        lease_s: how long a silent holder's permits stay its own.
    """

    policy: FullPolicy = FullPolicy.QUEUE
    max_requests: int = 10_000
    max_bytes: int = 1 << 30
    aging_s: float = 60.0
    async_share: float = 0.1
    handover_s: float = 0.05
    keep_s: float = 1.0
    lease_s: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", FullPolicy(self.policy))


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What one scaling policy of an environment is made from.

    Attributes:
        name: one that comes with the system, or "module:Class".
        settings: keyword arguments for its class, JSON-able.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AutoscalingSettings(_FromMapping):
    """Bounds, policies and pace of an environment's replicas; names as in the HTTP contract.

    `policies` may be given as mappings with the keys `name` and `settings`.
    """

    min_replica: int = 0
    max_replica: int = 1
    concurrency_target: int = 1
    utilization: float = 0.7
    window_s: float = 60.0
    scale_down_delay_s: float = 900.0
    max_scale_down_rate: float = 0.5
    policies: tuple[PolicySpec, ...] = (PolicySpec("concurrency"),)

    def __post_init__(self) -> None:
        given: Iterable[PolicySpec | Mapping[str, Any]] = self.policies
        specs = (spec if isinstance(spec, PolicySpec) else PolicySpec(**spec) for spec in given)
        object.__setattr__(self, "policies", tuple(specs))


@dataclass(frozen=True, slots=True)
class StartupSettings(_FromMapping):
    """How often a cold start is tried before the environment is unhealthy, and how fast."""

    attempts: int = 3
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 30.0

    def backoff_s(self, failures: int) -> float:
        """Seconds to wait before the next start after `failures` (≥ 1) in a row."""
        return min(self.backoff_initial_s * 2.0 ** min(failures - 1, 32), self.backoff_max_s)


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """All that an environment's queue needs to know.

    `slots`: requests that one replica runs at once, as its deployment says.
    """

    model: str
    environment: str
    deployment: str
    queue: QueueSettings = field(default_factory=QueueSettings)
    autoscaling: AutoscalingSettings = field(default_factory=AutoscalingSettings)
    startup: StartupSettings = field(default_factory=StartupSettings)
    resources: Mapping[str, float] = field(default_factory=dict)
    slots: int = 1

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> EnvironmentSettings:
        """Build from the compiled configuration (see `orchestrator.config`)."""
        return cls(
            model=values["model"],
            environment=values["environment"],
            deployment=values["deployment"],
            queue=QueueSettings.from_mapping(values["queue"]),
            autoscaling=AutoscalingSettings.from_mapping(values["autoscaling"]),
            startup=StartupSettings.from_mapping(values["startup"]),
            resources=values.get("resources", {}),
            slots=values.get("slots", 1),
        )

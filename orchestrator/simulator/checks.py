"""Rules that relate one field of an experiment to another.

As those of a cluster's file, each reads plain data and skips the parts that are wrong by
themselves, so that one mistake does not hide another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from orchestrator.config import rules
from orchestrator.config.environment import Autoscaling
from orchestrator.config.scaling_policy import policy_specs
from orchestrator.config.section import Section
from orchestrator.lifecycle.scaling.registry import PolicyElsewhereError, policy_class
from orchestrator.simulator.experiment import ExperimentEnvironment, Pool
from orchestrator.traffic.settings import Arrivals, Diurnal, Gamma, Poisson, Spike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.config.problems import Broken, Path

S = TypeVar("S", bound=Section)

_ENDLESS: Final = (Poisson, Gamma, Diurnal, Spike)
"""Sources that go on for ever."""

_NUMBER: Final = TypeAdapter(float)


def check(data: dict[str, Any]) -> Iterator[Broken]:
    """Every broken rule of one point's plain data."""
    environments = data.get("environments")
    environments = environments if isinstance(environments, dict) else {}
    duration = _number(data.get("duration_seconds"))
    begins = _number(data.get("measure_from_seconds"))
    if duration is not None and begins is not None and begins >= duration:
        rule = f"must be less than duration_seconds ({duration:g})"
        yield ("measure_from_seconds",), rule, f"{begins:g}"
    for name, environment in environments.items():
        if isinstance(environment, dict):
            yield from _environment(environment, ("environments", name), duration)
    pool = _valid(Pool, data.get("pool", {}))
    if pool is not None and pool.gpus is not None:
        yield from _pool(environments, pool.gpus)


def _environment(
    environment: dict[str, Any], path: Path, duration: float | None
) -> Iterator[Broken]:
    slots = environment.get("concurrency", 1)
    yield from rules.of_settings(environment, path, slots if isinstance(slots, int) else None)
    autoscaling = _valid(Autoscaling, environment.get("autoscaling") or {})
    if autoscaling is not None:
        yield from _policies(autoscaling, (*path, "autoscaling", "policy"))
    gpus = _gpus(environment)
    if gpus is not None and gpus > 1 and not gpus.is_integer():
        yield (*path, "gpus"), "must be a whole number, or a fraction below 1", f"{gpus:g}"
    arrivals = _valid(Arrivals, environment.get("arrivals"))
    if (
        arrivals is not None
        and isinstance(arrivals.source, _ENDLESS)
        and arrivals.duration_seconds is None
        and duration is None
    ):
        rule = (
            "needs an end: give it a duration_seconds, or the experiment one; "
            "this source goes on for ever"
        )
        yield (*path, "arrivals"), rule, None


def _policies(autoscaling: Autoscaling, path: Path) -> Iterator[Broken]:
    """A cluster may have policies that this machine has not; a simulation runs here."""
    for spec in policy_specs(autoscaling.policy):
        try:
            policy_class(spec["name"])
        except PolicyElsewhereError as error:
            yield path, f"must name a policy that is on this machine: {error}", spec["name"]


def _pool(environments: dict[str, Any], gpus: float) -> Iterator[Broken]:
    """Whether the replicas that are always kept fit, and one of each environment does."""
    kept: list[tuple[str, float]] = []
    for name, environment in environments.items():
        each = _gpus(environment)
        if each is None:
            continue
        if each > gpus:
            rule = f"must be at most pool.gpus ({gpus:g}), or no replica can ever start"
            yield ("environments", name, "gpus"), rule, f"{each:g}"
            continue
        autoscaling = _valid(Autoscaling, environment.get("autoscaling") or {})
        if autoscaling is not None and autoscaling.min_replica:
            kept.append((name, autoscaling.min_replica * each))
    wanted = sum(of_one for _, of_one in kept)
    if wanted > gpus:
        parts = " + ".join(f"{of_one:g} for {name}" for name, of_one in kept)
        rule = f"must be at least what min_replica keeps: {wanted:g} GPUs ({parts})"
        yield ("pool", "gpus"), rule, f"{gpus:g}"


def _gpus(environment: Any) -> float | None:
    """GPUs of a replica; None where they are wrong by themselves."""
    if not isinstance(environment, dict):
        return None
    default = ExperimentEnvironment.model_fields["gpus"].default
    number = _number(environment.get("gpus", default))
    return None if number is None or number < 0 else number


def _number(value: Any) -> float | None:
    try:
        return _NUMBER.validate_python(value, strict=True)
    except ValidationError:
        return None


def _valid(section: type[S], value: Any) -> S | None:
    """`value` as a section, or None where it is wrong by itself."""
    try:
        return section.model_validate(value)
    except ValidationError:
        return None

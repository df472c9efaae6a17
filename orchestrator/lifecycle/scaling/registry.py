"""Which class a policy's name stands for, and making one.

Names stand for import paths, so that a process loads only the policies it uses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.lifecycle.scaling.policy import Policy
    from orchestrator.lifecycle.settings import PolicySpec

_HERE: Final = "orchestrator.lifecycle.scaling"

BY_NAME: Final[Mapping[str, str]] = {
    "concurrency": f"{_HERE}.concurrency:ConcurrencyPolicy",
    "panic": f"{_HERE}.panic:PanicPolicy",
    "queue_delay": f"{_HERE}.queue_delay:QueueDelayPolicy",
    "predictive": f"{_HERE}.predictive:PredictivePolicy",
    "schedule": f"{_HERE}.schedule:SchedulePolicy",
}
"""The policies that come with the system. Any other is named by its own "module:Class"."""


FOLLOW_LOAD: Final = frozenset({"concurrency", "panic", "queue_delay"})
"""Those that wish for nothing once nothing has come for as long as they look back. Any other
may wish for replicas without any load, so a simulation must ask it all the time."""


class PolicyError(Exception):
    """A policy cannot be made; the message says why, without naming it."""


class PolicyElsewhereError(PolicyError):
    """Its module, or one that it imports, is not on this machine; it may be on another."""


def policy_class(name: str) -> type[Policy]:
    """The class that a policy's name stands for.

    Raises:
        PolicyElsewhereError: its module cannot be found here.
        PolicyError: there is no such policy, or it is no class with a method `wish`.
    """
    module_name, _, class_name = BY_NAME.get(name, name).partition(":")
    if not class_name:
        known = ", ".join(BY_NAME)
        raise PolicyError(f'it is none of {known}, and no "module:Class" of your own')
    found: Any = getattr(_module(module_name), class_name, None)
    if not isinstance(found, type):
        raise PolicyError(f"module {module_name!r} has no class {class_name!r}")
    if not callable(getattr(found, "wish", None)):
        raise PolicyError(f"class {class_name!r} has no method wish(now, seen)")
    return found


def make(spec: PolicySpec) -> Policy:
    """A new policy.

    Raises:
        PolicyError: as `policy_class`, or its class does not take these settings.
    """
    cls = policy_class(spec.name)
    try:
        return cls(**spec.settings)
    except Exception as error:
        raise PolicyError(f"its settings are not taken: {told(error)}") from error


def told(error: BaseException) -> str:
    """An exception as one line: its kind and what it says."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise PolicyElsewhereError(f"there is no module {error.name!r}") from error
        raise PolicyElsewhereError(f"importing {name} raised {told(error)}") from error
    except (Exception, SystemExit) as error:
        raise PolicyError(f"importing {name} raised {told(error)}") from error

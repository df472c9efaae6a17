"""Several policies side by side: whoever asks for most replicas has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.lifecycle.scaling.policy import Wish
from orchestrator.lifecycle.scaling.registry import PolicyError, make, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.lifecycle.scaling.policy import Policy, Seen
    from orchestrator.lifecycle.settings import PolicySpec


class _Member(NamedTuple):
    """A policy and its spec; `policy` is None, and `trouble` says why, where it has none."""

    spec: PolicySpec
    policy: Policy | None
    trouble: str = ""


class Most:
    """The policies of an environment.

    One that cannot be loaded, or that fails, asks for nothing: the others go on.

    Attributes:
        trouble: what is wrong with its policies, as of the last wish; empty: nothing.
    """

    def __init__(self, specs: Sequence[PolicySpec]) -> None:
        self.trouble = ""
        self._members: list[_Member] = []
        self.reconfigure(specs)

    def reconfigure(self, specs: Sequence[PolicySpec]) -> None:
        """Have these policies from now on.

        One whose spec is among those of before goes on with what it knows. One that
        could not be loaded is tried again.
        """
        left = [member for member in self._members if member.policy is not None]
        members = []
        for spec in specs:
            kept = next((member for member in left if member.spec == spec), None)
            if kept is not None:
                left.remove(kept)
            members.append(kept or _made(spec))
        self._members = members
        self.trouble = "; ".join(filter(None, (member.trouble for member in members)))

    def wish(self, now: float, seen: Seen) -> Wish | None:
        """The largest wish, with the reason of who has it; None where nobody has any."""
        best: Wish | None = None
        troubles = []
        several = len(self._members) > 1
        for member in self._members:
            trouble = member.trouble
            if member.policy is not None:
                try:
                    wish = _whole(member.policy.wish(now, seen))
                except Exception as error:  # noqa: BLE001 - the environment lives on without it
                    trouble = f"policy {member.spec.name} failed: {told(error)}"
                else:
                    if best is None or wish.replicas > best.replicas:
                        best = _named(wish, member.spec) if several else wish
            if trouble:
                troubles.append(trouble)
        self.trouble = "; ".join(troubles)
        if best is not None and troubles:
            return Wish(best.replicas, f"{best.reason}; {self.trouble}")
        return best


def _made(spec: PolicySpec) -> _Member:
    try:
        return _Member(spec, make(spec))
    except PolicyError as error:
        return _Member(spec, None, f"policy {spec.name} cannot be loaded: {error}")


def _named(wish: Wish, spec: PolicySpec) -> Wish:
    return Wish(wish.replicas, f"{spec.name.rpartition(':')[2]}: {wish.reason}")


def _whole(wish: Any) -> Wish:
    """What a policy answered, which may be somebody's own, if it is a wish."""
    if not isinstance(wish, Wish) or not isinstance(wish.replicas, int):
        raise TypeError(f"it answered {wish!r}, not a Wish with a whole number of replicas")
    return wish

"""The `panic` policy: two windows, as in Knative's pod autoscaler (KPA).

A long window tells how many replicas the load needs, and a short one whether it has
just surged. Where the short one wants so many times the replicas that are ready, the
policy panics: until a whole long window has passed without that, it goes by the larger
of the two and takes no replica away.

The rules are those of Knative Serving, `pkg/autoscaler/scaling/autoscaler.go`, and the
defaults those of its ConfigMap `config-autoscaler`. It differs in what is measured:
requests in line count here as well as those that run, so that a first request asks for
a replica by itself; Knative's activator has to ask for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Le

from orchestrator.lifecycle.scaling.load import LoadWindow, RecentMaximum
from orchestrator.lifecycle.scaling.policy import Seen, Wish, replicas_for

Duration = Annotated[float, Ge(0)]
Window = Annotated[float, Gt(0)]
Percentage = Annotated[float, Ge(1), Le(100)]
Threshold = Annotated[float, Gt(100)]
Factor = Annotated[float, Gt(1)]
Count = Annotated[int, Ge(1)]


@dataclass(slots=True, kw_only=True)
class PanicRules:
    """The decision itself, from averages that somebody else measures.

    Attributes:
        threshold: panic begins where the short window wants so many times the replicas
            that are ready.
        max_scale_up_rate: at most so many times the ready replicas at once.
        max_scale_down_rate: at least this part of the ready replicas stays at once (2: half).
        scale_down_delay: a number is given up after nobody wanted it for so many seconds.
        activation_scale: where any replica is wanted, so many are.
        panic_since: when the short window was last over the threshold; None: no panic.
        most: most replicas wanted since the panic began.
    """

    threshold: float = 2.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    scale_down_delay: float = 0.0
    activation_scale: int = 1
    panic_since: float | None = None
    most: int = 0
    _wanted: RecentMaximum = field(init=False, repr=False, default_factory=RecentMaximum)

    def decide(
        self,
        now: float,
        *,
        ready: int,
        stable: float,
        panic: float,
        target: float,
        stable_window_s: float,
    ) -> int:
        """How many replicas there should be.

        Args:
            now: the queue's clock, seconds.
            ready: replicas that may get requests; none counts as one.
            stable: average requests in flight over the long window.
            panic: the same over the short one.
            target: requests in flight that one replica should have.
            stable_window_s: length of the long window: a panic lasts so long at least.
        """
        base = max(ready, 1)
        by_panic = replicas_for(panic, target)
        desired = self._limited(replicas_for(stable, target), base)
        self._notice(now, over=by_panic / base >= self.threshold, stable_window_s=stable_window_s)
        if self.panic_since is not None:
            # The long window may hold more than the short one: a load that has just gone.
            self.most = max(self.most, desired, self._limited(by_panic, base))
            desired = self.most
        if self.scale_down_delay:
            self._wanted.push(now, desired)
            desired = self._wanted.over(now, self.scale_down_delay)
        return desired

    def begin(self, now: float, ready: int) -> None:
        """Start with replicas there already: they stay until there is a window to judge by."""
        if ready > 1:
            self.panic_since, self.most = now, ready

    def _notice(self, now: float, *, over: bool, stable_window_s: float) -> None:
        if over:
            self.panic_since = now
        elif self.panic_since is not None and self.panic_since + stable_window_s < now:
            self.panic_since, self.most = None, 0

    def _limited(self, wanted: int, base: int) -> int:
        """Within the rates; rounded so that one more, or one fewer, is always possible."""
        # 110.00000000000001 replicas must not become 111.
        most = math.ceil(self.max_scale_up_rate * base - 1e-9)
        least = math.floor(base / self.max_scale_down_rate + 1e-9)
        limited = min(max(wanted, least), most)
        return max(limited, self.activation_scale) if wanted else limited


@dataclass(slots=True, kw_only=True)
class PanicPolicy:
    """See the module. Its settings; the names and defaults are Knative's, times are seconds.

    Attributes:
        stable_window: the long window; None: the environment's `autoscaling_window`.
        panic_window_percentage: the short window, as a part of the long one.
        panic_threshold_percentage: panic begins where the short window wants this share of
            the replicas that are ready.
        max_scale_up_rate: replicas wanted at once, at most so many times those ready.
        max_scale_down_rate: replicas ready, at most so many times those wanted at once.
        scale_down_delay: how long a smaller number must do before it is wanted; it comes
            before the environment's own delay.
        activation_scale: where any replica is wanted, at least so many are.
    """

    stable_window: Window | None = None
    panic_window_percentage: Percentage = 10.0
    panic_threshold_percentage: Threshold = 200.0
    max_scale_up_rate: Factor = 1000.0
    max_scale_down_rate: Factor = 2.0
    scale_down_delay: Duration = 0.0
    activation_scale: Count = 1
    _rules: PanicRules = field(init=False, repr=False)
    # One each: a window forgets what is older than the average that it is asked for.
    _stable: LoadWindow | None = field(init=False, repr=False, default=None)
    _panic: LoadWindow | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self._rules = PanicRules(
            threshold=self.panic_threshold_percentage / 100,
            max_scale_up_rate=self.max_scale_up_rate,
            max_scale_down_rate=self.max_scale_down_rate,
            scale_down_delay=self.scale_down_delay,
            activation_scale=self.activation_scale,
        )

    def wish(self, now: float, seen: Seen) -> Wish:
        """See `Policy.wish`."""
        if self._stable is None or self._panic is None:
            self._stable, self._panic = LoadWindow(now), LoadWindow(now)
            self._rules.begin(now, seen.ready)
        self._stable.record(now, seen.in_flight)
        self._panic.record(now, seen.in_flight)
        stable_s = self.stable_window or seen.scaling.window_s
        panic_s = stable_s * self.panic_window_percentage / 100
        stable = self._stable.average(now, stable_s)
        panic = self._panic.average(now, panic_s)
        desired = self._rules.decide(
            now,
            ready=seen.ready,
            stable=stable,
            panic=panic,
            target=seen.per_replica,
            stable_window_s=stable_s,
        )
        reason = f"{stable:.2f} in flight over {stable_s:g} s, {seen.per_replica:g} a replica"
        if self._rules.panic_since is not None:
            ends_s = self._rules.panic_since + stable_s - now
            reason += f"; panic: {panic:.2f} over {panic_s:g} s, none taken away for {ends_s:.0f} s"
        return Wish(desired, reason)

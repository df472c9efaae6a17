"""One queue and several holders under arbitrary interleavings keep what the design promises."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from orchestrator.lifecycle.permits import WorkClass
from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.settings import QueueSettings
from tests.unit.lifecycle.world import World

INDEX = st.integers(min_value=0, max_value=50)


class CalmNetwork(RuleBasedStateMachine):
    """Messages are late and out of order, none is lost; holders and replicas come, go and die."""

    lossy = False

    @initialize(holders=st.integers(1, 3), replicas=st.integers(0, 2))
    def start(self, holders: int, replicas: int) -> None:
        self.world = World(lossy=self.lossy, queue_settings=QueueSettings(max_requests=1000))
        for _ in range(holders):
            self.world.add_holder()
        for _ in range(replicas):
            self.world.add_replica()
        self.world.run(0.1)

    def pick(self, index: int) -> str:
        return sorted(self.world.holders)[index % len(self.world.holders)]

    @rule(index=INDEX, n=st.integers(1, 6))
    def requests_arrive(self, index: int, n: int) -> None:
        for _ in range(n):
            self.world.arrive(self.pick(index))

    @rule(index=INDEX, patience=st.floats(0.05, 2.0))
    def an_impatient_request_arrives(self, index: int, patience: float) -> None:
        self.world.arrive(self.pick(index), patience_s=patience)

    @rule(index=INDEX, level=st.integers(1, 3))
    def a_request_of_lower_priority_arrives(self, index: int, level: int) -> None:
        self.world.arrive(self.pick(index), level=level)

    @precondition(lambda self: self.world.waiting())
    @rule(index=INDEX)
    def a_waiting_caller_leaves(self, index: int) -> None:
        waiting = self.world.waiting()
        request = waiting[index % len(waiting)]
        self.world.cancel(request.holder, request)

    @precondition(lambda self: self.world.running())
    @rule(index=INDEX, n=st.integers(1, 4))
    def requests_finish(self, index: int, n: int) -> None:
        for _ in range(n):
            running = self.world.running()
            if running:
                request = running[index % len(running)]
                self.world.finish(request.holder, request)

    @precondition(lambda self: self.world.running())
    @rule(index=INDEX)
    def a_request_is_put_back(self, index: int) -> None:
        running = self.world.running()
        request = running[index % len(running)]
        self.world.put_back(request.holder, request)

    @rule(seconds=st.sampled_from([0.01, 0.03, 0.1, 0.5, 1.5]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @precondition(lambda self: len(self.world.replicas) < 4)
    @rule()
    def a_replica_starts(self) -> None:
        if self.world.queue_up:
            self.world.add_replica()

    @precondition(lambda self: self.world.replicas)
    @rule(index=INDEX)
    def a_replica_drains(self, index: int) -> None:
        ready = [n for n, stage in self.world.replicas.items() if stage is Stage.READY]
        if ready:
            self.world.drain_replica(ready[index % len(ready)])

    @precondition(lambda self: self.world.replicas)
    @rule(index=INDEX)
    def a_replica_dies(self, index: int) -> None:
        self.world.kill_replica(sorted(self.world.replicas)[index % len(self.world.replicas)])

    @precondition(lambda self: len(self.world.holders) < 4)
    @rule(work=st.sampled_from(WorkClass))
    def a_holder_joins(self, work: WorkClass) -> None:
        self.world.add_holder(work)

    @precondition(lambda self: len(self.world.holders) > 1)
    @rule(index=INDEX)
    def a_holder_dies(self, index: int) -> None:
        self.world.crash_holder(self.pick(index))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


class RoughNetwork(CalmNetwork):
    """Messages are lost too, the queue dies and comes back, and clocks step."""

    lossy = True

    @rule(n=st.integers(1, 10))
    def messages_are_lost(self, n: int) -> None:
        self.world.drop_next += n

    @precondition(lambda self: self.world.queue_up)
    @rule()
    def the_queue_dies(self) -> None:
        self.world.crash_queue()

    @precondition(lambda self: not self.world.queue_up)
    @rule()
    def the_queue_comes_back(self) -> None:
        self.world.restart_queue()

    @rule(seconds=st.sampled_from([0.2, 3.0, 8.0]))
    def clocks_step(self, seconds: float) -> None:
        self.world.jump(seconds)


TestCalmNetwork = CalmNetwork.TestCase
TestCalmNetwork.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRoughNetwork = RoughNetwork.TestCase
TestRoughNetwork.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

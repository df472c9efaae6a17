"""What operators are told of a queue."""

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.permits import Exchange, Head
from orchestrator.lifecycle.replica import ReplicaReport, Stage
from orchestrator.lifecycle.settings import EnvironmentSettings


def test_a_request_whose_grant_is_on_its_way_is_told_as_running_so_that_none_is_missing():
    queue = EnvironmentQueue(
        EnvironmentSettings.from_mapping(
            {
                "model": "m",
                "environment": "production",
                "deployment": "v1",
                "queue": {},
                "autoscaling": {"concurrency_target": 2},
                "startup": {},
            }
        ),
        "life1",
        100.0,
    )
    for stage in (Stage.STARTING, Stage.READY):
        queue.report(ReplicaReport("r1", "v1", stage, 2, address="http://r1"), 100.0)
    heads = tuple(Head(1.0) for _ in range(3))
    reply = queue.exchange(Exchange("a", 1, waiting=3, heads=heads), 100.0)
    assert len(reply.grants) == 2

    told = queue.describe(100.0)

    assert (told["waiting"], told["in_use"]) == (1, 2)
    assert (told["classes"]["sync"]["waiting"], told["classes"]["sync"]["in_use"]) == (1, 2)

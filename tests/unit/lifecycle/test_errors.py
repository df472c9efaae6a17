"""The tree of errors: facts that survive pickling, and sentences."""

from __future__ import annotations

import pickle

import pytest

from orchestrator.lifecycle import errors

EXAMPLES: list[errors.RequestError] = [
    errors.BadRequest("Request-Timeout-Ms", "a number is needed"),
    errors.Unauthorized(),
    errors.Forbidden("the scope `manage`"),
    errors.UnknownAddress("/x"),
    errors.UnknownModel("m", ["a", "b"]),
    errors.UnknownEnvironment("m", "e", []),
    errors.UnknownDeployment("m", "d", ["v1"]),
    errors.UnknownRequest("asynchronous request", "0123"),
    errors.MethodNotAllowed("GET", ["POST"]),
    errors.PayloadTooLarge(10, 11),
    errors.QueueFull(1.5),
    errors.NoFreeSlot(1.5),
    errors.AsyncQueueFull("100 open requests", 5.0),
    errors.IdempotencyConflict(),
    errors.Draining("This router"),
    errors.QueueUnreachable("m.e"),
    errors.StoreUnreachable("the connection was refused"),
    errors.NoStore("none is configured"),
    errors.ResultUnreadable("the bucket does not answer"),
    errors.ObservatoryUnreachable(),
    errors.TooManyWatchers(100),
    errors.ParkTimeout(2.0),
    errors.EnvironmentUnhealthy("it does not start", ["a", "b"], 3.0),
    errors.ReplicaLost(2, "it hung up"),
    errors.PredictTimeout(1.0),
    errors.FirstByteTimeout(1.0),
    errors.ChunkGapTimeout(1.0),
    errors.DeadlineExceeded("Request-Timeout-Ms", 0),
    errors.CallerGone(),
]


def _tree(kind: type[errors.RequestError]) -> set[type[errors.RequestError]]:
    return {kind}.union(*(_tree(each) for each in kind.__subclasses__()))


def test_there_is_an_example_of_every_error() -> None:
    roots = {
        errors.RequestError,
        errors.Rejected,
        errors.Evicted,
        errors.Failed,
        errors.NotFound,
    }
    kinds = {kind for kind in _tree(errors.RequestError) if kind.__module__ == errors.__name__}
    assert kinds - roots == {type(error) for error in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_a_sentence_and_crosses_processes(error: errors.RequestError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    sentence = str(error)
    assert sentence[0].isupper() or sentence.startswith("Request-Timeout-Ms")
    assert str(again) == sentence


def test_the_roots_say_whether_it_ran() -> None:
    assert issubclass(errors.QueueFull, errors.Rejected)
    assert issubclass(errors.ParkTimeout, errors.Evicted)
    assert issubclass(errors.ReplicaLost, errors.Failed)
    assert not issubclass(errors.ParkTimeout, errors.Rejected)

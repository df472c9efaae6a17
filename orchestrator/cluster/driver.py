"""Asks a running Ray cluster, or changes it, in a process of its own.

    python -m orchestrator.cluster.driver GCS_ADDRESS [COMMAND] < input.json > answer.json

Ray reads the cluster's settings when it is imported, and a connection to a
cluster that does not answer cannot be given up from within: the caller sets the
environment, and ends this process when it takes too long.

    apply     a `ServeDeploySchema`; Serve is started where it does not run (the default)
    details   what Serve runs, as its REST API tells it; null where it does not run
    survey    what each node has of what is asked for, see `node_survey.look`
    nodes     the nodes and what runs there
    drain     a `Drain`: why Ray refuses it, or ""
    wait      a `Wait`: null once nothing of Serve's is on the node, else the node

The first three join the cluster, for which a Ray node has to run on this machine.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import ray
from ray import cloudpickle, serve
from ray.exceptions import GetTimeoutError, RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeDeploySchema
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster import node_survey, ray_nodes
from orchestrator.cluster.membership import Drain, Wait
from orchestrator.cluster.supervisor import serve_client

_ANSWER_SECONDS = 20.0
"""For one answer of Serve's controller."""

_SURVEY_SECONDS = 30.0
"""For all nodes to answer; a node may have to start a process for it."""


@contextmanager
def _joined(address: str) -> Iterator[None]:
    ray.init(
        address=address,
        namespace="serve",
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _apply(address: str, given: bytes) -> None:
    schema = ServeDeploySchema.model_validate_json(given)
    with _joined(address):
        client = serve_client(
            lambda: serve.start(
                proxy_location=schema.proxy_location,
                http_options=schema.http_options.model_dump(),
            )
        )
        client.deploy_apps(schema)


def _details(address: str, _given: bytes) -> Any:
    with _joined(address):
        try:
            controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        except ValueError:
            return None
        asked: Any = controller.get_serve_instance_details.remote()
        return json.loads(json.dumps(ray.get(asked, timeout=_ANSWER_SECONDS)))


def _survey(address: str, given: bytes) -> dict[str, Any]:
    """What `node_survey.look` says, by the node's id, of each node that takes work."""
    question = json.loads(given)
    with _joined(address):
        cloudpickle.register_pickle_by_value(node_survey)
        look = ray.remote(num_cpus=0, max_retries=0)(node_survey.look)
        draining = ray_nodes.draining()
        asked = {}
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] not in draining:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[node["NodeID"]] = look.options(scheduling_strategy=there).remote(question)
        end = time.monotonic() + _SURVEY_SECONDS
        return {node: _answer(reference, end) for node, reference in asked.items()}


def _answer(reference: Any, end: float) -> Any:
    try:
        return ray.get(reference, timeout=max(0.0, end - time.monotonic()))
    except GetTimeoutError:
        return {node_survey.NO_ANSWER: f"it did not answer within {_SURVEY_SECONDS:g} s"}
    except RayError as error:
        return {node_survey.NO_ANSWER: str(error).strip().splitlines()[-1]}


def _nodes(address: str, _given: bytes) -> Any:
    return ray_nodes.nodes(address)


def _drain(address: str, given: bytes) -> Any:
    return ray_nodes.drain(address, msgspec.json.decode(given, type=Drain))


def _wait(address: str, given: bytes) -> Any:
    return ray_nodes.wait_empty(address, msgspec.json.decode(given, type=Wait))


_COMMANDS: dict[str, Callable[[str, bytes], Any]] = {
    "apply": _apply,
    "details": _details,
    "survey": _survey,
    "nodes": _nodes,
    "drain": _drain,
    "wait": _wait,
}


def main(address: str, command: str = "apply") -> int:
    """Run one command; its input is on standard input, its answer is printed as one line."""
    try:
        answer = _COMMANDS[command](address, sys.stdin.buffer.read())
    except (OSError, RuntimeError, ValueError, RayError, RayServeException) as error:
        said = " ".join(str(error).split())
        print(f"{type(error).__name__}: {said}", file=sys.stderr)  # noqa: T201  # for the caller
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

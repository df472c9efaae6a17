"""Applies a Serve config to a running cluster, in a process of its own.

    python -m orchestrator.cluster.driver GCS_ADDRESS < serve.json

Ray reads the cluster's settings when it is imported, and a connection to a
cluster that does not answer cannot be given up from within: the caller sets the
environment, and ends this process when it takes too long.
"""

import logging
import sys

import ray
from ray import serve
from ray.serve.schema import ServeDeploySchema

from orchestrator.cluster.supervisor import serve_client


def main(gcs_address: str) -> int:
    """Read a `ServeDeploySchema` as JSON from standard input and apply it."""
    schema = ServeDeploySchema.model_validate_json(sys.stdin.buffer.read())
    try:
        ray.init(
            address=gcs_address,
            namespace="serve",
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        serve_client(serve.status).deploy_apps(schema)
    except (ConnectionError, ray.exceptions.RayError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  # for the caller
        return 1
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

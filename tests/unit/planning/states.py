"""States of a cluster, out of a small file and changes of it."""

import copy
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from orchestrator.config import Config
from orchestrator.config.loading import load_text
from orchestrator.planning import reading
from orchestrator.planning.change import Change
from orchestrator.planning.changes import Platform, plan
from orchestrator.planning.deployed import Deployed

ENVIRONMENT = {"KEY": "k" * 20, "KEY_TWO": "K" * 20, "SECRET": "of a model", "OTHER": "another"}

BASE = """
cluster: {name: planned, port: 8000}
router: {replicas: 2}
auth:
  enabled: true
  keys: {dev: {secret: "${KEY}"}}
results: {url: "s3://bucket/folder"}
models:
  echo:
    deployments:
      v1:
        runner: {type: python, class: "replicas.examples.echo:Echo", arguments: {size: 1}}
        environment_variables: {TOKEN: "${SECRET}"}
        concurrency: 4
      v2:
        runner: {type: python, class: "replicas.examples.echo:Echo"}
    environments:
      production: {deployment: v1, autoscaling: {max_replica: 4, min_replica: 1}}
      staging: {deployment: v2}
  served:
    deployments:
      v1:
        runner: {type: command, command: [serve, --port, "{port}"]}
        resources: {num_gpus: 1}
    environments:
      production: {deployment: v1}
"""

Edit = Callable[[dict[str, Any]], None]


def config(edit: Edit | None = None) -> Config:
    """The file with a change of it."""
    return load_text(text(edit), "planned.yaml", ENVIRONMENT)


def text(edit: Edit | None = None) -> str:
    """The same as YAML."""
    yaml = YAML(typ="safe")
    document = yaml.load(BASE)
    if edit is not None:
        edit(document)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def state(edit: Edit | None = None, env: Mapping[str, str] = ENVIRONMENT) -> Deployed:
    """What the changed file would run."""
    return reading.of_file(config(edit), Path("planned.yaml"), env)


def put(path: str, value: Any) -> Edit:
    """An edit that gives one field another value; keys that are missing on the way are made."""

    def edit(document: dict[str, Any]) -> None:
        *above, last = path.split(".")
        for key in above:
            document = document.setdefault(key, {})
        document[last] = copy.deepcopy(value)

    return edit


def planned(edit: Edit, platform: Platform = Platform.MACHINE) -> list[Change]:
    """What deploying the changed file over the unchanged one does."""
    return plan(state(), state(edit), platform)


def kinds(changes: list[Change]) -> dict[str, str]:
    """The kind of each part's change."""
    return {change.part: str(change.kind) for change in changes}


def paths(changes: list[Change]) -> list[str]:
    """Fields that are named."""
    return [field.path for change in changes for field in change.fields]

"""Whether documents are what Kubernetes and KubeRay accept: a field that they do not know
would be dropped without a word, and is a problem here."""

from __future__ import annotations

import functools
import gzip
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import kubernetes_validate
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.manifests import Document

KUBERNETES = "1.34"
"""The release that the manifests are checked against; nothing in them needs a newer one."""

RAY_SERVICE = "rayservice-v1.openapi.json.gz"


def core_problems(document: Document) -> list[str]:
    """What Kubernetes has to say against a document of one of its own kinds."""
    return list(_core_problems(json.dumps(document, sort_keys=True)))


@functools.cache
def _core_problems(text: str) -> tuple[str, ...]:
    try:
        kubernetes_validate.validate(json.loads(text), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return (f"{'.'.join(map(str, error.path))}: {error.message}",)
    return ()


def pod_problems(spec: Document) -> list[str]:
    """The same of a pod's spec, wherever it stands."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}
    return core_problems(pod)


def ray_service_problems(document: Document) -> list[str]:
    """What the schema of RayService has to say; skips the test where there is none."""
    schema = _ray_service_schema()
    wrong = jsonschema.Draft202012Validator(schema).iter_errors(document)
    found = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in wrong]
    return [*found, *_unknown(document["spec"], schema["properties"]["spec"], "spec")]


def _unknown(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Fields that an API server would prune: those that a structural schema does not name."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, item in value.items():
        if name in known:
            yield from _unknown(item, known[name], f"{path}.{name}")
        elif isinstance(others, dict):
            yield from _unknown(item, others, f"{path}.{name}")
        elif not others and not _free_metadata(path, known):
            yield f"{path}.{name}: no such field"


def _free_metadata(path: str, known: dict[str, Any]) -> bool:
    """An embedded object's metadata, which the schema leaves to the API server."""
    return path.endswith("metadata") and not known


@functools.cache
def _ray_service_schema() -> dict[str, Any]:
    named = os.environ.get("ORCHESTRATOR_SCHEMAS")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "schemas"
    path = folder / RAY_SERVICE
    if not path.is_file():
        pytest.skip(f"no schema of RayService at {path} (set ORCHESTRATOR_SCHEMAS)")
    schema: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return schema

"""Environment variables that pods get out of Secrets, and the commands that make those.

No value is ever read here: a command takes it from the environment of whoever runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.kubernetes.documents import of_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.kubernetes.documents import Document

SECRET: Final = "orchestrator-environment"  # noqa: S105  # its name
"""The Secret with the variables that a config refers to, each under its own name."""

_RANDOM: Final = '"$(openssl rand -hex 32)"'
_RAY_TOKEN_KEY: Final = "auth_token"  # noqa: S105  # KubeRay's name of it
_CLUSTER_SECRET: Final = ("orchestrator-cluster", "secret")


def from_secret(name: str, *, optional: bool = False) -> dict[str, Any]:
    """A variable of a container, out of the Secret."""
    reference: dict[str, Any] = {"name": SECRET, "key": name}
    if optional:
        reference["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def secrets_needed(documents: Iterable[Document]) -> dict[str, list[str]]:
    """Keys of Secrets that the documents refer to and do not bring along, by Secret.

    Keys of a Secret that is mounted whole are those that its user is known to read.
    """
    documents = list(documents)
    brought = {each["metadata"]["name"] for each in of_kind(documents, "Secret")}
    needed: dict[str, set[str]] = {}
    for name, key in _references(documents):
        if name not in brought:
            needed.setdefault(name, set()).add(key)
    return {name: sorted(needed[name]) for name in sorted(needed)}


def commands(documents: Iterable[Document], namespace: str) -> list[str]:
    """`kubectl` commands that make what is needed before the documents are applied."""
    lines = [f"kubectl create namespace {namespace}"]
    for name, keys in secrets_needed(documents).items():
        literals = " ".join(f"--from-literal={key}={_value(name, key)}" for key in keys)
        lines.append(f"kubectl -n {namespace} create secret generic {name} {literals}")
    return lines


def _value(secret: str, key: str) -> str:
    return f'"${key}"' if secret == SECRET else _RANDOM


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """(Secret, key) of every reference below `value` that is not optional."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "secretKeyRef":
                if not each.get("optional"):
                    yield each["name"], each["key"]
            elif key == "secretName":
                yield each, _key_of_mount(each, value)
            else:
                yield from _references(each)


def _key_of_mount(name: str, holder: dict[str, Any]) -> str:
    if name == _CLUSTER_SECRET[0]:
        return _CLUSTER_SECRET[1]
    return _RAY_TOKEN_KEY if "mode" in holder else "password"

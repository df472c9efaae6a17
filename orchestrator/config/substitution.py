"""`${NAME}` in the config: only for secrets, only where listed here.

The config keeps the references. API keys are resolved when the config is
compiled, environment variables of a model in the replica's own process, and the
addresses of stores in the processes that connect to them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.problems import Path, Problem, shown
from orchestrator.config.store_address import variable_of, wrong_with, wrong_with_gcs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.config.document import Document

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OPENING: Final = "${"
_SHORTEST_SECRET: Final = 16
_BLANK: Final = re.compile(r"\s")
_STORES: Final[dict[Path, Callable[[str], str | None]]] = {
    ("store",): wrong_with,
    ("cluster", "gcs_store"): wrong_with_gcs,
}
"""Fields that hold the address of a store, and what may be wrong with each."""


def secret_of(reference: str, env: Mapping[str, str]) -> str:
    """The secret that `${NAME}` refers to.

    Raises:
        ValueError: the variable is not set, or its value is no usable secret. The
            message is a rule for a `Problem` and does not contain the value.
    """
    name = reference.removeprefix(_OPENING).removesuffix("}")
    secret = env.get(name)
    if secret is None:
        raise ValueError(_not_set(name))
    if len(secret) < _SHORTEST_SECRET or _BLANK.search(secret):
        raise ValueError(
            f"environment variable {name} must hold at least {_SHORTEST_SECRET} characters "
            "without blanks or line ends, such as the output of: openssl rand -hex 24"
        )
    return secret


def check(document: Document, env: Mapping[str, str]) -> Iterator[Problem]:
    """Problems with every `${...}` of the file: misplaced, malformed, or not set."""
    for path, text in _texts(document.data, ()):
        if _OPENING not in text:
            continue
        if _is_secret(path):
            yield from _check_secret(document, path, text, env)
        elif _is_environment_variable(path):
            yield from _check_variable(document, path, text, env)
        elif path in _STORES:
            yield from _check_store(document, path, text, env)
        else:
            yield document.problem(
                path,
                "${...} is replaced only in auth.keys.<prefix>.secret, in store, in "
                "cluster.gcs_store and in a deployment's environment_variables; write the "
                "value itself",
                shown(text),
            )


def _check_secret(
    document: Document, path: Path, text: str, env: Mapping[str, str]
) -> Iterator[Problem]:
    if _REFERENCE.fullmatch(text):  # any other shape is the schema's to refuse
        try:
            secret_of(text, env)
        except ValueError as error:
            yield document.problem(path, str(error))


def _check_variable(
    document: Document, path: Path, text: str, env: Mapping[str, str]
) -> Iterator[Problem]:
    if _OPENING in _REFERENCE.sub("", text):
        rule = "${...} must hold the name of an environment variable: letters, digits, underscores"
        yield document.problem(path, rule)
    missing = [name for name in _REFERENCE.findall(text) if name not in env]
    if missing:
        yield document.problem(path, _not_set(*missing))


def _check_store(
    document: Document, path: Path, text: str, env: Mapping[str, str]
) -> Iterator[Problem]:
    name = variable_of(text)
    if name is None:  # the schema's to refuse
        return
    if name not in env:
        yield document.problem(path, _not_set(name))
        return
    problem = _STORES[path](env[name])
    if problem is not None:
        rule = f"environment variable {name} must hold the address of a store: {problem}"
        yield document.problem(path, rule)


def _not_set(*names: str) -> str:
    if len(names) == 1:
        return f"environment variable {names[0]} is not set; set it before loading this file"
    return (
        f"environment variables {', '.join(names)} are not set; set them before loading this file"
    )


def _is_secret(path: Path) -> bool:
    return len(path) == 4 and path[:2] == ("auth", "keys") and path[3] == "secret"


def _is_environment_variable(path: Path) -> bool:
    return len(path) == 6 and (path[0], path[2], path[4]) == (
        "models",
        "deployments",
        "environment_variables",
    )


def _texts(data: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text value of the file with its place."""
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _texts(value, (*path, index))

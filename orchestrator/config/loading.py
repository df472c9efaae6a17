"""Loading a config file: read, check everything, report all problems at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from orchestrator.config import document as yaml
from orchestrator.config import rules, substitution
from orchestrator.config.explain import problems_of
from orchestrator.config.problems import ConfigError, Problem
from orchestrator.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as FilePath


def load(path: FilePath, env: Mapping[str, str]) -> Config:
    """Loads a cluster's config from a YAML file.

    Args:
        path: the file; error messages name it as it is given here.
        env: environment variables; each one that the file refers to must be set.

    Returns:
        The config, with defaults filled in. References `${NAME}` stay as they are.

    Raises:
        ConfigError: with every problem of the file, in the order of its lines.
    """
    return _checked(yaml.read(path), env)


def load_text(text: str, file: str, env: Mapping[str, str]) -> Config:
    """Like `load`, for YAML text; error messages name it `file`.

    Raises:
        ConfigError: with every problem of the text, in the order of its lines.
    """
    return _checked(yaml.parse(text, file), env)


def _checked(document: yaml.Document, env: Mapping[str, str]) -> Config:
    config, invalid = _validated(document)
    problems = [
        *document.problems,
        *substitution.check(document, env),
        *invalid,
        *(document.problem(*broken) for broken in rules.check(document.data)),
    ]
    if problems or config is None:
        raise ConfigError(sorted(_first_per_key(problems), key=lambda found: found.line or 0))
    return config


def _validated(document: yaml.Document) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(document.data), []
    except ValidationError as error:
        return None, list(problems_of(error, document, Config))


def _first_per_key(problems: list[Problem]) -> list[Problem]:
    """The first problem of each key: the others follow from it."""
    first: dict[tuple[int | None, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.line, problem.path), problem)
    return list(first.values())

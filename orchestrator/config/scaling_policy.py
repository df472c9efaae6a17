"""The `policy` of an environment's autoscaling: its forms, and what its settings may be.

A policy's class says itself which settings there are: its constructor's arguments
are checked against their annotations, strictly, as the rest of the file is.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from functools import lru_cache
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    ValidationError,
    create_model,
)

from orchestrator.config.explain import as_error, explained
from orchestrator.config.problems import Broken, Path, listed, shown, suggestion
from orchestrator.config.section import CLASS_PATTERN, Section
from orchestrator.lifecycle.scaling.policy import SettingError
from orchestrator.lifecycle.scaling.registry import (
    BY_NAME,
    PolicyElsewhereError,
    PolicyError,
    policy_class,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import CoreSchema

    from orchestrator.lifecycle.scaling.policy import Policy

_NAME: Final = "name"

_FORMS: Final = (
    'must be the name of a policy, a mapping with "name" and settings, or a list of these'
)


def policy_specs(policy: JsonValue) -> list[dict[str, Any]]:
    """A `policy` that was checked, as the specs that a queue makes its policies from.

    Returns:
        For each policy a mapping with `name` and `settings`, JSON-able.
    """
    return [_spec(each) for each in (policy if isinstance(policy, list) else [policy])]


def _spec(entry: Any) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"name": entry, "settings": {}}
    settings = {key: value for key, value in entry.items() if key != _NAME}
    return {"name": entry[_NAME], "settings": settings}


def _checked(policy: JsonValue) -> JsonValue:
    """Raises what is wrong with a `policy`, each thing at its own place."""
    broken = list(_broken(policy))
    if broken:
        raise as_error(broken, "policy")
    return policy


def _broken(policy: JsonValue) -> Iterator[Broken]:
    if not isinstance(policy, list):
        yield from _broken_entry(policy, ())
    elif not policy:
        yield (), "must not be empty", None
    else:
        for index, entry in enumerate(policy):
            yield from _broken_entry(entry, (index,))


def _broken_entry(entry: JsonValue, path: Path) -> Iterator[Broken]:
    if not isinstance(entry, str | dict):
        yield path, _FORMS, shown(entry)
        return
    here = path if isinstance(entry, str) else (*path, _NAME)
    if isinstance(entry, dict) and not isinstance(entry.get(_NAME), str):
        given = shown(entry[_NAME]) if _NAME in entry else None
        yield here, f"must be the name of a policy: one of {listed(BY_NAME)}", given
        return
    spec = _spec(entry)
    name: str = spec["name"]
    if name not in BY_NAME and re.match(CLASS_PATTERN, name) is None:
        close = suggestion(name, BY_NAME)
        yield here, f'must be one of {listed(BY_NAME)}, or "module:Class"{close}', shown(name)
        return
    try:
        with _modules_of_models():
            cls = policy_class(name)
    except PolicyElsewhereError:
        # It may be on the machines of the cluster alone; the queue says so where it is not.
        return
    except PolicyError as error:
        yield here, f"must name a policy: {error}", shown(name)
        return
    yield from _broken_settings(cls, spec["settings"], path)


def _broken_settings(cls: type[Policy], settings: dict[str, Any], path: Path) -> Iterator[Broken]:
    try:
        section = settings_of(cls)
    except Exception as error:  # noqa: BLE001 - whatever another's annotations raise
        yield path, f"has settings whose types cannot be told: {told(error)}", cls.__name__
        return
    try:
        section.model_validate(settings)
    except ValidationError as error:
        for below, rule, got in explained(error, section):
            yield (*path, *below), rule, got
        return
    try:
        cls(**settings)
    except SettingError as error:
        yield (*path, *error.path), error.rule, _shown_at(settings, error.path)
    except Exception as error:  # noqa: BLE001 - whatever another's constructor raises
        said = str(error) if isinstance(error, ValueError) else told(error)
        yield path, said, None


def _shown_at(settings: Any, path: Path) -> str | None:
    for part in path:
        inside = isinstance(settings, dict) and part in settings
        if not inside and not (isinstance(settings, list) and isinstance(part, int)):
            return None
        settings = settings[part]
    return shown(settings)


@lru_cache(maxsize=64)
def settings_of(cls: type[Policy]) -> type[Section]:
    """A section that has a policy's settings as its fields.

    Raises:
        Exception: its annotations cannot be resolved, or are no types of settings.
    """
    hints = get_type_hints(cls.__init__, include_extras=True)
    definitions: dict[str, Any] = {}
    base: type[Section] = _Settings
    for index, parameter in enumerate(inspect.signature(cls).parameters.values()):
        if parameter.kind is parameter.VAR_KEYWORD:
            base = _OpenSettings
        elif parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            # Their own names could be those of pydantic's methods.
            definition = Field(default=_default(parameter), alias=parameter.name)
            definitions[f"setting_{index}"] = (hints.get(parameter.name, Any), definition)
    return create_model(cls.__name__, __base__=base, **definitions)


def _default(parameter: inspect.Parameter) -> Any:
    """For the JSON Schema alone: the class itself puts in what is left out."""
    if parameter.default is parameter.empty:
        return ...
    plain = isinstance(parameter.default, str | bool | int | float)
    return parameter.default if plain else None


class _Settings(Section):
    """The settings of a policy."""

    model_config = ConfigDict(validate_default=False)


class _OpenSettings(_Settings):
    """Those of a policy that takes any."""

    model_config = ConfigDict(extra="allow")


@contextlib.contextmanager
def _modules_of_models() -> Iterator[None]:
    """Modules are found where those of models are: in the working directory, too."""
    here = str(FilePath.cwd())
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


class _Described:
    """Writes the JSON Schema of a `policy`, with the settings of those that come with us."""

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        one: list[dict[str, Any]] = [
            {"enum": list(BY_NAME)},
            {"type": "string", "pattern": CLASS_PATTERN},
            *(_object(name) for name in BY_NAME),
            {
                "type": "object",
                "properties": {_NAME: {"type": "string", "pattern": CLASS_PATTERN}},
                "required": [_NAME],
            },
        ]
        several = {"type": "array", "minItems": 1, "items": {"anyOf": one}}
        return {"anyOf": [*one, several]}


def _object(name: str) -> dict[str, Any]:
    schema: Mapping[str, Any] = settings_of(policy_class(name)).model_json_schema(by_alias=True)
    return {
        "type": "object",
        "properties": {_NAME: {"const": name}, **schema.get("properties", {})},
        "required": [_NAME, *schema.get("required", ())],
        "additionalProperties": False,
    }


ScalingPolicy = Annotated[JsonValue, AfterValidator(_checked), _Described()]
"""As in the file: a name, a mapping with `name` and settings, or a list of these."""

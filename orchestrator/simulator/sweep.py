"""The points of an experiment: each combination of the values that it tries.

`sweep` gives lists of values by path, and every combination of them is a point;
`variants` gives sets of values by name, and each is a point. Where a file has both,
every variant is combined with every combination. A path is dotted, as in
`environments.*.autoscaling.scale_down_delay`; `*` stands for all environments.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.problems import Path, listed, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

EVERY: Final = "*"
"""Stands for all environments in a path."""

ENVIRONMENTS: Final = "environments"

MOST_POINTS: Final = 1_000

_LONGEST_LABEL: Final = 80
_LONGEST_VALUE: Final = 48


@dataclass(frozen=True, slots=True)
class Setting:
    """One path with the value that it gets.

    Attributes:
        path: dotted, as the file or the command line has it.
        value: plain data.
        origin: where it stands in the file; for one of the command line, where it would.
    """

    path: str
    value: Any
    origin: Path


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of an axis: a value of a swept path, or a variant."""

    label: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Combination:
    """One point of the sweep.

    Attributes:
        label: short, for people; no two of an experiment have the same.
        settings: what it sets, in order; a later one wins.
    """

    label: str
    settings: tuple[Setting, ...]

    @property
    def parameters(self) -> dict[str, Any]:
        """What it sets, by path."""
        return {setting.path: setting.value for setting in self.settings}


Axis = list[Choice]


def axes(data: Mapping[str, Any], *, fixed: Iterable[str] = ()) -> list[Axis]:
    """What an experiment's plain data tries, variants first. Parts of a wrong shape are left out.

    Args:
        data: the file's.
        fixed: paths that are not to be swept, as the command line has set them.
    """
    found: list[Axis] = []
    variants = data.get("variants")
    if isinstance(variants, dict) and variants:
        found.append([_variant(name, values) for name, values in variants.items()])
    sweep = data.get("sweep")
    swept = {
        path: values
        for path, values in (sweep.items() if isinstance(sweep, dict) else ())
        if isinstance(values, list) and values and path not in set(fixed)
    }
    names = _short_names(list(swept))
    found += [
        [
            Choice(
                _cut(f"{names[path]}={readable(value)}", _LONGEST_LABEL),
                (Setting(path, value, ("sweep", path, index)),),
            )
            for index, value in enumerate(values)
        ]
        for path, values in swept.items()
    ]
    return found


def number_of_points(found: Sequence[Axis]) -> int:
    """How many combinations there are."""
    return math.prod(len(axis) for axis in found)


def combinations(found: Sequence[Axis], label: str) -> Iterator[Combination]:
    """Every combination of the axes' choices, the last axis changing fastest.

    Args:
        found: as `axes` gives them.
        label: of the one point that there is where nothing is tried.
    """
    for choices in itertools.product(*found):
        settings = tuple(setting for choice in choices for setting in choice.settings)
        yield Combination(", ".join(choice.label for choice in choices) or label, settings)


def misplaced(path: str, data: Mapping[str, Any], known: Sequence[str]) -> str | None:
    """What would be right in place of a path that leads to nothing; None where it leads on.

    What comes after an environment's name is judged where the value is, by the schema.

    Args:
        path: dotted.
        data: the file's plain data.
        known: paths that may be set; `environments.*.…` among them.
    """
    first, _, rest = path.partition(".")
    if first != ENVIRONMENTS:
        if path in known or any(path.startswith(f"{name}.") for name in known):
            return None
        return (
            f"must be a path that can be set{suggestion(path, known)} "
            f'(those of environments begin with "{ENVIRONMENTS}.", then a name or * for all)'
        )
    name, _, setting = rest.partition(".")
    environments = data.get(ENVIRONMENTS)
    names = list(environments) if isinstance(environments, dict) else []
    if name != EVERY and name not in names:
        return (
            f"must name an environment of the file, or * for all{suggestion(name, names)} "
            f"(known: {listed(names)})"
        )
    return None if setting else "must go on to a setting of the environment"


def readable(value: Any) -> str:
    """A value for a label: short numbers, a policy by its name with its settings in brackets."""
    return _cut(_readable(value), _LONGEST_VALUE)


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return _readable_mapping(value)
    if isinstance(value, list):
        return "+".join(_readable(item) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _readable_mapping(value: dict[str, Any]) -> str:
    name = value.get("name")
    inner = " ".join(
        f"{key}({_readable(part)})" if isinstance(part, dict) else f"{key}={_readable(part)}"
        for key, part in value.items()
        if key != "name" or not isinstance(name, str)
    )
    if not isinstance(name, str):
        return inner
    return f"{name}({inner})" if inner else name


def _variant(name: str, values: Any) -> Choice:
    settings = values.items() if isinstance(values, dict) else ()
    return Choice(
        _cut(name, _LONGEST_LABEL),
        tuple(Setting(path, value, ("variants", name, path)) for path, value in settings),
    )


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest ends of dotted paths that tell them apart."""
    parts = {path: path.split(".") for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for each, other in parts.items() if each != path]
        length = next(
            (n for n in range(1, len(own)) if all(o[-n:] != own[-n:] for o in others)), len(own)
        )
        names[path] = ".".join(own[-length:])
    return names


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

"""Loading an experiment: read, put its points together, check them, report all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from orchestrator.config import document as yaml
from orchestrator.config.explain import problems_of
from orchestrator.config.problems import ConfigError, Problem
from orchestrator.simulator import checks, sweep
from orchestrator.simulator.composing import COMMAND_LINE, compose, problem_at
from orchestrator.simulator.experiment import Experiment, settable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from orchestrator.config.document import Document
    from orchestrator.simulator.sweep import Combination, Setting

KEYS = "name and environments"
"""That every experiment has."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of what an experiment tries.

    Attributes:
        label: short, for people; no two points of an experiment have the same.
        parameters: what it sets, by path.
        experiment: the experiment with that put in.
    """

    label: str
    parameters: dict[str, Any]
    experiment: Experiment


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment that can be run.

    Attributes:
        name: of the experiment, and `description`: what it is to show.
        folder: where its relative paths begin: that of the file.
        seeds: each point is run once with each.
        points: at least one, in the order of the file.
    """

    name: str
    description: str
    folder: Path
    seeds: tuple[int, ...]
    points: tuple[Point, ...]

    @property
    def runs(self) -> list[tuple[Point, int]]:
        """Every run: a point and a seed."""
        return [(point, seed) for point in self.points for seed in self.seeds]


def load(path: Path, settings: Sequence[str] = ()) -> Plan:
    """Loads an experiment from a YAML file.

    Args:
        path: the file; error messages name it as it is given here.
        settings: `path=value` of the command line, over the file and its points. A swept
            path that is given here is not swept. Values are YAML.

    Raises:
        ConfigError: with every problem of the file, in the order of its lines.
    """
    given = [_setting(text) for text in settings]
    return _planned(yaml.read(path, keys=KEYS), given, path.parent)


def _setting(text: str) -> Setting:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        rule = 'must be path=value, as in "environments.*.autoscaling.max_replica=4"'
        raise ConfigError([Problem(COMMAND_LINE, None, "", rule, text)])
    path = path.strip()
    try:
        found = YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise ConfigError(
            [Problem(COMMAND_LINE, None, path, "must be a value as YAML has it", value)]
        ) from None
    return sweep.Setting(path, found, (COMMAND_LINE, path))


def _planned(document: Document, given: list[Setting], folder: Path) -> Plan:
    problems = list(document.problems)
    points: list[Point] = []
    if isinstance(document.data, dict):
        axes = sweep.axes(document.data, fixed=[setting.path for setting in given])
        misplaced = _misplaced(document, axes, given)
        problems += misplaced.values()
        number = sweep.number_of_points(axes)
        if number > sweep.MOST_POINTS:
            rule = f"must come to at most {sweep.MOST_POINTS} points; it comes to {number}"
            raise ConfigError([*problems, document.problem(("sweep",), rule)])
        for combination in sweep.combinations(axes, str(document.data.get("name"))):
            point, invalid = _point(document, combination, given, misplaced)
            problems += invalid
            points += [point] if point is not None else []
    else:
        problems += _validated(document)[1]
    problems += _repeated(document, points)
    if problems:
        raise ConfigError(sorted(_first_per_key(problems), key=lambda found: found.line or 0))
    first = points[0].experiment
    return Plan(first.name, first.description or "", folder, tuple(first.seeds), tuple(points))


def _point(
    document: Document, combination: Combination, given: list[Setting], without: Container[str]
) -> tuple[Point | None, list[Problem]]:
    """A point, or what is wrong with it.

    Args:
        document: the file.
        combination: what the point sets.
        given: what the command line sets.
        without: paths that are known to lead to nothing, and are left out.
    """
    settings = [each for each in (*combination.settings, *given) if each.path not in without]
    composed = compose(document, settings)
    experiment, problems = _validated(composed)
    broken = [composed.problem(*found) for found in checks.check(composed.data)]
    problems = [*composed.problems, *problems, *broken]
    if problems or experiment is None:
        return None, problems
    return Point(combination.label, combination.parameters, experiment), []


def _validated(document: Document) -> tuple[Experiment | None, list[Problem]]:
    try:
        return Experiment.model_validate(document.data), []
    except ValidationError as error:
        return None, list(problems_of(error, document, Experiment))


def _misplaced(
    document: Document, axes: list[sweep.Axis], given: list[Setting]
) -> dict[str, Problem]:
    """Problems of paths that lead to nothing, by path."""
    tried = [setting for axis in axes for choice in axis for setting in choice.settings]
    known, found = settable(), {}
    for setting in (*given, *tried):
        rule = sweep.misplaced(setting.path, document.data, known)
        if rule is not None and setting.path not in found:
            found[setting.path] = problem_at(document, setting.origin, rule)
    return found


def _repeated(document: Document, points: list[Point]) -> Iterator[Problem]:
    """Problems of points that are the same as one before them, or look it."""
    labels: set[str] = set()
    for point in points:
        if point.label in labels:
            rule = f'must not have two points that read "{point.label}"; variants can name them'
            yield document.problem(("sweep",), rule)
        labels.add(point.label)


def _first_per_key(problems: Iterable[Problem]) -> list[Problem]:
    """The first problem of each key: the others follow from it, or are of other points."""
    first: dict[tuple[str, int | None, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.file, problem.line, problem.path), problem)
    return list(first.values())

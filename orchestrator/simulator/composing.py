"""An experiment's data at one of its points, with the place in the file of every part.

`defaults` go under each environment, a point's settings over them. What is then
found wrong is reported where it was written: in `defaults`, in `sweep`, in `variants`
or on the command line, and once, however many points and environments it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.document import Document
from orchestrator.config.problems import Path, Problem, dotted, shown
from orchestrator.simulator.sweep import ENVIRONMENTS, EVERY
from orchestrator.traffic.settings import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.simulator.sweep import Setting

COMMAND_LINE: Final = "--set"
"""First part of the origin of what the command line sets; its second is the path."""

_MERGED: Final = frozenset(
    {
        (),
        ("arrivals",),
        ("autoscaling",),
        ("queue",),
        ("retry",),
        ("timeouts",),
        ("cold_start",),
        ("callers",),
        ("target",),
    }
)
"""Parts of an environment that take over from `defaults` key by key; others as a whole."""

_SECTION_WITH_SOURCES: Final = ("arrivals",)
"""Where a mapping under a key is merged, too, and takes the place of another such mapping: a
trace in an environment and its format in `defaults`, but no trace beside a generator."""


@dataclass(frozen=True, slots=True)
class Composed(Document):
    """Data put together from parts of a file.

    Attributes:
        origins: where the part at a path stands in the file, by path.
    """

    origins: dict[Path, Path] = field(default_factory=dict)

    def problem(self, path: Path, rule: str, got: str | None = None) -> Problem:
        """A problem at `path` of the data, reported where that was written."""
        return problem_at(self, self.origin(path), rule, got)

    def origin(self, path: Path) -> Path:
        """The place in the file of what is at `path`."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return (*self.origins[path[:length]], *path[length:])
        return path


def problem_at(document: Document, origin: Path, rule: str, got: str | None = None) -> Problem:
    """A problem at a place in a file, or on the command line."""
    if origin[:1] == (COMMAND_LINE,):
        return Problem(COMMAND_LINE, None, dotted(origin[1:]), rule, got)
    return Problem(document.file, document.line(origin), dotted(origin), rule, got)


def compose(document: Document, settings: Sequence[Setting]) -> Composed:
    """The data of one point. The document stays as it is.

    Args:
        document: the file; its data is a mapping.
        settings: what the point sets, a later one over an earlier one. Paths that lead
            into something that is no mapping or list are left out, and are problems.
    """
    root = dict(document.data)
    origins: dict[Path, Path] = {}
    environments, defaults = root.get(ENVIRONMENTS), root.get("defaults")
    if isinstance(environments, dict):
        under = defaults if isinstance(defaults, dict) else {}
        root[ENVIRONMENTS] = {
            name: _over(under, own, (), (ENVIRONMENTS, name), origins)
            for name, own in environments.items()
        }
    composed = Composed(document.file, root, document.lines, [], origins)
    for setting in settings:
        for path in _targets(setting.path, root):
            _put(composed, path, setting)
    return composed


def _over(under: Any, own: Any, at: Path, here: Path, origins: dict[Path, Path]) -> Any:
    """`own` over what `defaults` have at `at`; a copy as deep as it is merged.

    Args:
        under: of `defaults`.
        own: of the environment; null stands for an empty mapping.
        at: path from the environment on.
        here: path from the root on, to `own`.
        origins: told of what comes from `defaults`.
    """
    if own is None and isinstance(under, dict):
        own = {}
    if not (isinstance(own, dict) and isinstance(under, dict)) or not _is_merged(at):
        return own
    merged = dict(own)
    for key, value in under.items():
        if key in own:
            merged[key] = _over(value, own[key], (*at, key), (*here, key), origins)
        elif not _displaced(key, own, at):
            merged[key] = value
            origins[(*here, key)] = ("defaults", *at, key)
    return merged


def _is_merged(at: Path) -> bool:
    return at in _MERGED or at[:-1] == _SECTION_WITH_SOURCES


def _displaced(key: str, own: dict[str, Any], at: Path) -> bool:
    """Whether the environment has a source of its own in place of this one of `defaults`."""
    return at == _SECTION_WITH_SOURCES and key in SOURCES and any(o in SOURCES for o in own)


def _targets(path: str, root: dict[str, Any]) -> Iterator[Path]:
    """The paths that a dotted one stands for."""
    parts = tuple(path.split("."))
    if parts[:2] != (ENVIRONMENTS, EVERY):
        yield parts
        return
    environments = root.get(ENVIRONMENTS)
    for name in environments if isinstance(environments, dict) else ():
        yield (ENVIRONMENTS, name, *parts[2:])


def _put(composed: Composed, path: Path, setting: Setting) -> None:
    """Puts a value into the data, copying every container on the way to it."""
    container = composed.data
    reached: Path = ()
    for part in path[:-1]:
        key = _key(container, part)
        inner = container.get(key) if isinstance(container, dict) else container[key]
        if inner is None:
            inner = {}
            composed.origins.setdefault((*reached, key), setting.origin)
        following = path[len(reached) + 1]
        if not isinstance(inner, dict | list) or _key(inner, following) is None:
            where = dotted((*reached, part))
            rule = f'must lead to a setting; at {where} there is no "{following}"'
            composed.problems.append(problem_at(composed, setting.origin, rule, shown(inner)))
            return
        inner = inner.copy()
        container[key] = inner
        container, reached = inner, (*reached, key)
    last = _key(container, path[-1])
    container[last] = setting.value
    whole: Path = (*reached, last)
    for inside in [at for at in composed.origins if at[: len(whole)] == whole]:
        del composed.origins[inside]
    composed.origins[whole] = setting.origin


def _key(container: Any, part: str | int) -> Any:
    """`part` as a key of `container`; None where a list has no such place."""
    if isinstance(container, list):
        at = int(part) if str(part).isdecimal() else -1
        return at if 0 <= at < len(container) else None
    return part

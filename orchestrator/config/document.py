"""A YAML file as plain data that knows the line of every key.

Read from ruamel.yaml's node graph (YAML 1.2) and not from its constructed
objects, so that every duplicate key is found, not only the first one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from orchestrator.config.problems import ConfigError, Path, Problem, dotted

if TYPE_CHECKING:
    from pathlib import Path as FilePath

_TAG = "tag:yaml.org,2002:"
_CONSTRUCTED: Final = frozenset({f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float")})
_TEXT: Final = frozenset({f"{_TAG}{kind}" for kind in ("str", "timestamp", "merge", "value")})
_MOST_NODES: Final = 100_000
"""Aliases are expanded; a few nested ones would otherwise fill the memory."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    Attributes:
        file: the file as the caller named it.
        data: dicts with text keys, lists, and scalars.
        lines: the 1-based line of each key or list item.
        problems: what is wrong with the YAML, such as duplicate keys.
    """

    file: str
    data: Any
    lines: dict[Path, int]
    problems: list[Problem]

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest key above it that is in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def problem(self, path: Path, rule: str, got: str | None = None) -> Problem:
        """A problem at `path`."""
        return Problem(self.file, self.line(path), dotted(path), rule, got)


def read(path: FilePath, *, keys: str = "cluster and models") -> Document:
    """Reads and parses a file.

    Args:
        path: the file; error messages name it as it is given here.
        keys: that it must have, for the error of an empty one.

    Raises:
        ConfigError: it cannot be read, or is not one YAML document.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _unreadable(file, "no such file; give the path of a YAML file") from None
    except IsADirectoryError:
        raise _unreadable(file, "is a directory; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise _unreadable(file, f"must be UTF-8 text; byte {error.start} is not") from None
    except OSError as error:
        raise _unreadable(file, f"cannot be read: {error.strerror}") from None
    return parse(text, file, keys=keys)


def parse(text: str, file: str, *, keys: str = "cluster and models") -> Document:
    """Parses YAML text; `file` is its name in error messages, `keys` as of `read`.

    Raises:
        ConfigError: it is not one YAML document.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        what = " ".join(str(error.problem or error.context).split())
        raise ConfigError([Problem(file, line, "", f"must be valid YAML: {what}")]) from None
    except YAMLError as error:
        what = " ".join(str(error).split())
        raise ConfigError([Problem(file, None, "", f"must be valid YAML: {what}")]) from None
    if root is None:
        raise _unreadable(file, f"is empty; it must have the keys {keys}")
    builder = _Builder(Document(file, None, {(): 1}, []), yaml)
    data = builder.build(root, ())
    return Document(file, data, builder.document.lines, builder.document.problems)


def _unreadable(file: str, rule: str) -> ConfigError:
    return ConfigError([Problem(file, None, "", rule)])


@dataclass(slots=True)
class _Builder:
    """Turns nodes into plain data, noting lines and problems on the way."""

    document: Document
    yaml: YAML
    nodes: int = 0
    open: set[int] = field(default_factory=set)

    def build(self, node: Any, path: Path) -> Any:
        """The plain value of `node`, which stands at `path`."""
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            rule = f"must have at most {_MOST_NODES} values after its aliases are expanded"
            raise ConfigError([Problem(self.document.file, None, "", rule)])
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self.open:
            self._report(path, "must not contain itself through an alias")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            return self._sequence(node, path)
        finally:
            self.open.remove(id(node))

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag in _TEXT:
            return node.value
        if node.tag not in _CONSTRUCTED:
            self._report(path, "must have no YAML tag of its own", str(node.tag))
            return None
        try:
            value = self.yaml.constructor.construct_object(node)
        except (YAMLError, ValueError):
            self._report(path, "must be a value that YAML 1.2 knows", str(node.value))
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._report(path, "must be a finite number", str(node.value))
            return None
        return value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._report(path, "must have plain text as keys", line=line)
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key_node.tag == f"{_TAG}merge":
                self._report(here, "merge keys are not supported; write the fields out", line=line)
            elif key in result:
                first = self.document.lines[here]
                self._report(here, f"is given twice; the first is in line {first}", line=line)
            else:
                self.document.lines[here] = line
                result[key] = self.build(value_node, here)
        return result

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        result = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            self.document.lines[here] = item.start_mark.line + 1
            result.append(self.build(item, here))
        return result

    def _report(
        self, path: Path, rule: str, got: str | None = None, *, line: int | None = None
    ) -> None:
        line = self.document.line(path) if line is None else line
        self.document.problems.append(Problem(self.document.file, line, dotted(path), rule, got))

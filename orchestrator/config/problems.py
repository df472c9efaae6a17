"""What is wrong with a config file: each problem with its place, rule and value."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Path = tuple[str | int, ...]
"""Place in the file: keys, and indexes of lists."""

Broken = tuple[Path, str, str | None]
"""A broken rule: place, what would be right, and the value as shown."""

_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config file.

    Attributes:
        file: the file as the caller named it.
        line: 1-based; None where the problem is with the file as a whole.
        path: the key, as in `models.echo.deployments.v1.concurrency`; may be empty.
        rule: what would be right.
        got: the value as it is shown to people; None where there is none to show.
    """

    file: str
    line: int | None
    path: str
    rule: str
    got: str | None = None

    def __str__(self) -> str:
        """`file:line: key.path: rule; got value`, without the parts that are missing."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f"{self.path}: " if self.path else ""
        got = "" if self.got is None else f"; got {self.got}"
        return f"{place}: {key}{self.rule}{got}"


class ConfigError(Exception):
    """The config cannot be used.

    Attributes:
        errors: every problem that was found, in the order of the file; never empty.
    """

    def __init__(self, errors: Sequence[Problem]) -> None:
        """Collects `errors`; the message has one of them per line."""
        self.errors = list(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


def dotted(path: Path) -> str:
    """`("models", "a", "command", 0)` as `models.a.command[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def shown(value: Any) -> str:
    """A value as it stands in an error message: JSON, cut short; containers by kind."""
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(str, value)) or 'nothing in it'}"[:_LONGEST_VALUE]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def kind(value: Any) -> str:
    """What a value is, without saying it: for values that may be secret."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number"}
    names |= {str: "text (not shown)", list: "a list", dict: "a mapping"}
    return names.get(type(value), "a value (not shown)")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ""


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: `"a", "b"`, or `none`."""
    return ", ".join(f'"{name}"' for name in names) or "none"

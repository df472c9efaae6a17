"""The body of a replayed request: a template, and what a trace knows of each request.

In any text of the template, `$prompt_tokens`, `$output_tokens` and `$service_seconds`
stand for the request's own numbers, and `$prompt` for a text of so many words as its
prompt has tokens. A text that is nothing but one of them becomes the number itself:

    {"max_tokens": "$output_tokens", "prompt": "$prompt", "user": "of $prompt_tokens"}
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

NAMES: Final = ("prompt", "prompt_tokens", "output_tokens", "service_seconds")

DEFAULT: Final[dict[str, Any]] = {"service_seconds": "$service_seconds"}
"""What `replicas.examples.timed` wants."""

_PLACEHOLDER: Final = re.compile(r"\$(\w+)")
_WORD: Final = "word "


class Numbers(NamedTuple):
    """What is filled in; `service_s` is None where nobody knows it before it ran."""

    prompt_tokens: int
    output_tokens: int
    service_s: float | None


class Template:
    """A body with placeholders.

    Args:
        value: any JSON value.

    Attributes:
        names: placeholders that are in it.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        self.names = frozenset(_names_in(value))

    def fill(self, numbers: Numbers) -> Any:
        """The body for one request, as a JSON value.

        Raises:
            ValueError: `$service_seconds` is in it, and is not known.
        """
        values: dict[str, Any] = {
            "prompt_tokens": numbers.prompt_tokens,
            "output_tokens": numbers.output_tokens,
            "service_seconds": numbers.service_s,
        }
        if "prompt" in self.names:
            values["prompt"] = (_WORD * numbers.prompt_tokens).rstrip()
        if numbers.service_s is None and "service_seconds" in self.names:
            raise ValueError("$service_seconds is not known before the request has run")
        return _filled(self._value, values)

    def encode(self, numbers: Numbers) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(self.fill(numbers))


def unknown_names(value: Any) -> list[str]:
    """Placeholders in a template that stand for nothing, in alphabetical order."""
    return sorted(_names_in(value) - set(NAMES))


def _names_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(_PLACEHOLDER.findall(value))
    if isinstance(value, dict):
        return {name for each in value.values() for name in _names_in(each)}
    if isinstance(value, list):
        return {name for each in value for name in _names_in(each)}
    return set()


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, str):
        if "$" not in value:
            return value
        whole = _PLACEHOLDER.fullmatch(value)
        if whole is not None:
            return values[whole[1]]
        return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), value)
    if isinstance(value, dict):
        return {key: _filled(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    return value

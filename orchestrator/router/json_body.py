"""JSON bodies that are read strictly: what is wrong with one is named, with the rule for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from orchestrator.lifecycle.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T", bound=msgspec.Struct)

_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`(?: - at `\$\.?(.*?)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"missing required field `(.*?)`")
_PLACE: Final = re.compile(r" - at `\$\.?(.*?)`$")
_LONGEST_SHOWN: Final = 60


class JsonBody(Generic[T]):
    """Bodies of one shape, which is a msgspec struct that forbids unknown fields."""

    __slots__ = ("_decoder", "_rules")

    def __init__(self, shape: type[T], rules: Mapping[str, str]) -> None:
        """A reader.

        Args:
            shape: of the bodies.
            rules: of each field, by its path (`inner.field`), what is needed.
        """
        self._decoder = msgspec.json.Decoder(shape)
        self._rules = {"": "a JSON object is needed", **rules}

    def read(self, body: bytes) -> T:
        """Reads a body.

        Raises:
            BadRequest: names the field, the rule, and what was given.
        """
        try:
            body.decode("utf-8")  # `msgspec.Raw` is not checked for it otherwise
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self._misfit(str(error), body) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            sentence = str(error)
            rule = f"it is not valid JSON ({sentence[:1].lower()}{sentence[1:]})"
            raise BadRequest("body", rule) from None

    def wrong(self, field: str, body: bytes) -> BadRequest:
        """The error for a field that is not as its rule says."""
        rule = self._rules[field]
        try:
            given: Any = msgspec.json.decode(body)
            for step in field.split(".") if field else ():
                given = given[step]
            rule += f", not {clipped(msgspec.json.encode(given).decode('utf-8'))}"
        except (ValueError, LookupError, TypeError, RecursionError):
            pass  # there is more amiss than the first thing that was found
        return BadRequest(field or "body", rule)

    def _misfit(self, sentence: str, body: bytes) -> BadRequest:
        """What msgspec found, in the words of this API."""
        unknown = _UNKNOWN.search(sentence)
        if unknown is not None:
            return self._unknown(unknown[2] or "", unknown[1])
        missing = _MISSING.search(sentence)
        if missing is not None:
            return BadRequest(missing[1], f"{self._rules[missing[1]]}, and it is missing")
        place = _PLACE.search(sentence)
        return self.wrong("" if place is None else place[1], body)

    def _unknown(self, owner: str, name: str) -> BadRequest:
        prefix = f"{owner}." if owner else ""
        inside = (path.removeprefix(prefix) for path in self._rules if path.startswith(prefix))
        possible = ", ".join(name for name in inside if name and "." not in name)
        rule = (
            f"there is no such field; {f'possible: {possible}' if possible else 'none is possible'}"
        )
        return BadRequest(clipped(prefix + name), rule)


def clipped(text: str) -> str:
    """A text as it may be repeated to whoever sent it."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

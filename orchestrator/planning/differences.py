"""Where two JSON values differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Place = tuple[str, ...]
"""Keys, from the outermost."""


class _Absent:
    """Stands for a value where there is none."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs; `ABSENT` on the side that does not have it."""

    place: Place
    old: Any
    new: Any


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], below: Place = (), *, exact: bool = False
) -> Iterator[Difference]:
    """Every value that differs, in the order of the keys of `old`, then of `new`.

    Mappings are looked into; lists and all else differ as a whole.

    Args:
        old: one side.
        new: the other.
        below: where the two stand.
        exact: whether 1 and 1.0 differ, as they do in a digest over their JSON.
    """
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, (*below, key), exact=exact)
        elif before != after or (exact and _text(before) != _text(after)):
            yield Difference((*below, key), before, after)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)

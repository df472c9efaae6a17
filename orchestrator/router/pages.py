"""Lists that go over several environments, a page at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from orchestrator.lifecycle.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Fetch = Callable[[str, str | None, int], Awaitable[tuple[list["T"], str | None]]]

T = TypeVar("T")

_CURSOR: Final = re.compile(r"([0-9a-f]{1,64})\.([0-9]{0,20})")

_LOOKED_AT: Final = 1000
"""How many are looked at for one page: where few are wanted of many, it may be a short one."""


async def gather_page(
    tags: Sequence[str],
    cursor: str | None,
    limit: int,
    fetch: Fetch[T],
    wanted: Callable[[T], bool] = lambda _: True,
) -> tuple[list[T], str | None]:
    """A page of a list that has one part for each environment, one part after the other.

    Args:
        tags: of the environments, in an order that stays.
        cursor: `<tag>.<cursor within that part>`, as this function gave it.
        limit: the most that the page may have.
        fetch: reads a part: (tag, cursor, limit) to (found, next cursor).
        wanted: which of them to take.

    Returns:
        What was found, and where the next page begins; None: that was all.

    Raises:
        BadRequest: the cursor is none of this list.
    """
    left, position = list(tags), None
    if cursor is not None:
        place = _CURSOR.fullmatch(cursor)
        if place is None or place[1] not in tags:
            raise BadRequest("cursor", "a `cursor` that this list has given is needed")
        left, position = left[left.index(place[1]) :], place[2] or None
    page: list[T] = []
    looked_at = 0
    while left:
        found, position = await fetch(left[0], position, limit - len(page))
        page += filter(wanted, found)
        looked_at += len(found)
        if position is None:
            del left[0]
        if left and (len(page) >= limit or looked_at >= _LOOKED_AT):
            return page, f"{left[0]}.{position or ''}"
    return page, None

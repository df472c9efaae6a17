"""Lists over several environments: every one found once, however the pages are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.errors import BadRequest
from orchestrator.router.pages import gather_page

if TYPE_CHECKING:
    from orchestrator.router.pages import Fetch

Parts = dict[str, list[int]]


def _fetch(parts: Parts, longest: int) -> Fetch[int]:
    async def fetch(tag: str, cursor: str | None, limit: int) -> tuple[list[int], str | None]:
        first = int(cursor or 0)
        last = first + min(limit, longest)
        return parts[tag][first:last], str(last) if last < len(parts[tag]) else None

    return fetch


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=5),
    st.integers(1, 7),
    st.integers(1, 5),
    st.integers(0, 9),
)
async def test_each_is_found_once_and_in_order(
    lists: list[list[int]], limit: int, longest: int, least: int
) -> None:
    parts = {f"{number:012x}": items for number, items in enumerate(lists)}
    found: list[int] = []
    cursor: str | None = None
    for _ in range(200):
        page, cursor = await gather_page(
            list(parts),
            cursor,
            limit,
            _fetch(parts, longest),
            lambda item: item >= least,
        )
        assert len(page) <= limit
        found += page
        if cursor is None:
            break
    assert cursor is None
    assert found == [item for items in lists for item in items if item >= least]


async def test_a_rare_find_does_not_take_for_ever() -> None:
    parts = {"a": list(range(5000))}
    fetch = _fetch(parts, 200)
    page, cursor = await gather_page(
        ["a"],
        None,
        200,
        fetch,
        lambda item: item == 4999,
    )
    assert (page, cursor) == ([], "a.1000")


@pytest.mark.parametrize("cursor", ["", ".", "b.", "a", "a.-1", "a.x", "a.1.2", "a." + "1" * 21])
async def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    fetch = _fetch({"a": [1]}, 1)
    with pytest.raises(BadRequest) as caught:
        await gather_page(["a"], cursor, 1, fetch)
    assert caught.value.field == "cursor"

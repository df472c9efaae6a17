"""Waiting for the end of processes that are not our children."""

from __future__ import annotations

import asyncio
import os
import select


def _wait_for_end(pid: int, timeout_s: float) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], timeout_s)[0])
    finally:
        os.close(pidfd)


async def has_ended(pid: int, timeout_s: float = 10) -> bool:
    """Whether the process `pid` ends within `timeout_s`."""
    return await asyncio.to_thread(_wait_for_end, pid, timeout_s)

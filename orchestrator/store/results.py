"""Where results are kept: small ones in the store itself, larger ones as files, through fsspec.

    <url>/<day it was written, UTC>/<request id>.<attempt>

A file has its attempt in its name, so that a run which lost its lease cannot
overwrite the result of the run that followed. It lives as long as its request's
record, which may be longer than results are kept (an undelivered webhook needs
it), so `sweep` asks the store about what is old enough to go.

Addresses are fsspec's: `file:///…`, `s3://bucket/folder` (with the extra `s3`),
and credentials come from where each of its file systems looks for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from orchestrator.store.keys import ID_DIGITS
from orchestrator.store.records import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

WRITE_S: Final = 60.0
READ_S: Final = 30.0
LIST_S: Final = 120.0

_THREADS: Final = 8
"""File systems block; a slow one must not take the threads of everything else."""

_DELETED_AT_ONCE: Final = 500
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_FILE: Final = re.compile(rf"([0-9a-f]{{{ID_DIGITS}}})\.\d+(\.part)?")
_REFERENCE: Final = re.compile(rf"{_DAY.pattern}/[0-9a-f]{{{ID_DIGITS}}}\.\d+")


class ResultUnavailable(Exception):  # noqa: N818 - a fact, like those of `lifecycle.errors`
    """A result could not be written or read; the message says why, without an address."""


class ResultStore:
    """Results of asynchronous requests. Safe to use from one event loop.

    Args:
        url: fsspec's, of a folder; empty: there is none, and all are kept inline.
        inline_bytes: results up to this size are not written there.
    """

    def __init__(self, url: str = "", inline_bytes: int = 1 << 20) -> None:
        self._url = url
        self._inline_bytes = inline_bytes
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="results")

    async def put(self, request_id: str, attempt: int, data: bytes, content_type: str) -> Result:
        """Keeps a result; once this returns, it is durable as far as its file system says.

        Raises:
            ResultUnavailable: it could not be written.
        """
        size = len(data)
        if not self._url or size <= self._inline_bytes:
            return Result(content_type=content_type, size=size, data=data)
        day = datetime.now(UTC).date().isoformat()
        reference = f"{day}/{request_id}.{attempt}"
        await self._call(WRITE_S, self._write, reference, data)
        return Result(content_type=content_type, size=size, reference=reference)

    async def read(self, reference: str) -> bytes:
        """A result that is not inline, by `Result.reference`.

        Raises:
            ResultUnavailable: it is gone, cannot be read, or is no such reference.
        """
        return await self._call(READ_S, self._read, reference)

    async def delete(self, reference: str) -> None:
        """Removes a result that nobody will ask for; one that is gone is no error.

        Raises:
            ResultUnavailable: it could not be removed.
        """
        await self._call(WRITE_S, self._remove, [self._path(reference)])

    async def sweep(
        self, now: float, keep_s: float, known: Callable[[str], Awaitable[bool]]
    ) -> int:
        """Removes files whose request is no longer known, and the folders that empties.

        Args:
            now: Unix seconds.
            keep_s: files of days that ended less than this ago are not looked at.
            known: whether the store has the record of a request id; what it raises
                ends the sweep.

        Returns:
            How many files are gone.

        Raises:
            ResultUnavailable: the file system failed.
        """
        if not self._url:
            return 0
        last = datetime.fromtimestamp(now - keep_s, UTC).date() - timedelta(days=1)
        removed = 0
        for day in await self._call(LIST_S, self._list, ""):
            if not _DAY.fullmatch(day) or day > last.isoformat():
                continue
            gone, left = [], 0
            for name in await self._call(LIST_S, self._list, day):
                file = _FILE.fullmatch(name)
                if file is not None and (file[2] or not await known(file[1])):
                    gone.append(f"{self._base}/{day}/{name}")
                else:
                    left += 1
            for first in range(0, len(gone), _DELETED_AT_ONCE):
                batch = gone[first : first + _DELETED_AT_ONCE]
                await self._call(LIST_S, self._remove, batch)
            removed += len(gone)
            if not left:
                await self._call(LIST_S, self._remove_folder, day)
        return removed

    def close(self) -> None:
        """Waits for nothing: what is being written may or may not be."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, timeout_s: float, work: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                return await loop.run_in_executor(self._threads, partial(work, *args))
        except TimeoutError:
            raise ResultUnavailable(f"no answer within {timeout_s:g} s") from None
        except ResultUnavailable:
            raise
        except FileNotFoundError:
            raise ResultUnavailable("it is not there (any more)") from None
        except Exception as error:
            # Each file system has exceptions of its own, and all mean the same here.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else ""
            raise ResultUnavailable(reason or type(error).__name__) from error

    # In a thread

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system, and the folder in it; made when first needed: some are slow to load."""
        system, base = fsspec.core.url_to_fs(self._url)
        return system, base.rstrip("/")

    @property
    def _system(self) -> Any:
        return self._place[0]

    @property
    def _base(self) -> str:
        return self._place[1]

    def _path(self, reference: str) -> str:
        if not _REFERENCE.fullmatch(reference):
            # A reference that comes back from the store must not lead anywhere else.
            raise ResultUnavailable("that is no reference to a result")
        return f"{self._base}/{reference}"

    def _write(self, reference: str, data: bytes) -> None:
        path = self._path(reference)
        if isinstance(self._system, LocalFileSystem):
            _write_whole(Path(path), data)
            return
        try:
            self._system.pipe_file(path, data)
        except FileNotFoundError:  # where folders have to be made first
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, data)

    def _read(self, reference: str) -> bytes:
        data: bytes = self._system.cat_file(self._path(reference))
        return data

    def _list(self, folder: str) -> list[str]:
        try:
            paths = self._system.ls(f"{self._base}/{folder}", detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def _remove(self, paths: Sequence[str]) -> None:
        try:
            self._system.rm(list(paths))
        except FileNotFoundError:  # somebody else was quicker with one of them
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(path)

    def _remove_folder(self, day: str) -> None:
        # Not empty after all, or a file system without folders.
        with contextlib.suppress(OSError, NotImplementedError):
            self._system.rmdir(f"{self._base}/{day}")


def _write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that it is there whole, or not at all, also after a power cut."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - Path cannot open a descriptor
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Opening a trace, wherever it is and however it is compressed."""

from __future__ import annotations

import io
import sys
import zlib
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import fsspec

from orchestrator.config.problems import suggestion
from orchestrator.traffic import datasets
from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPRESSIONS: Final = {".gz": "gzip", ".zst": None, ".bz2": "bz2", ".xz": "xz"}
"""What fsspec calls them, by suffix."""


def place(file: str, folder: Path) -> str:
    """Where a trace is that an experiment names: a path or a URL.

    Raises:
        TrafficError: a dataset that is not there, or a file that is not.
    """
    if file.startswith(datasets.PREFIX):
        return str(datasets.locate(file))
    if "://" in file:
        return file
    path = folder / Path(file).expanduser()
    if not path.exists():
        beside = path.parent.absolute()
        what = f"there is no such file in {beside}" + suggestion(path.name, _names(beside))
        raise TrafficError(file, None, what)
    return str(path)


def suffix(file: str) -> str:
    """What a file is by its name, without what says how it is compressed: `.csv`."""
    path = Path(file)
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix.lower()


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """A file to be read, unpacked by its suffix.

    Raises:
        TrafficError: it cannot be opened, or breaks off while it is read.
    """
    try:
        with _raw(file) as stream:
            yield _unzstd(stream, file) if file.endswith(".zst") else stream
    except (EOFError, zlib.error, LZMAError) as error:
        raise TrafficError(file, None, f"breaks off, or is damaged: {error}") from None
    except FileNotFoundError as error:
        # Of a URL that is what fsspec makes of any answer but 200.
        why = "" if error.__cause__ is None else f": {error.__cause__}"
        raise TrafficError(file, None, f"there is no such file{why}") from None
    except _lost() as error:
        what = getattr(error, "strerror", None) or error
        raise TrafficError(file, None, f"cannot be read: {what}") from None


@contextmanager
def opened_text(file: str) -> Iterator[IO[str]]:
    """The same for text, in UTF-8."""
    with opened(file) as stream:
        try:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        except UnicodeDecodeError as error:
            what = f"is no UTF-8 text: it has the byte 0x{error.object[error.start]:02x}"
            raise TrafficError(file, None, what, "text, or a suffix that says what it is") from None


def _raw(file: str) -> Any:
    """The file, unpacked but for zstd."""
    try:
        return fsspec.open(file, "rb", compression=COMPRESSIONS.get(Path(file).suffix))
    except (ImportError, ValueError) as error:  # a protocol that is not there, or unknown
        raise TrafficError(file, None, f"cannot be read: {error}") from None


def _unzstd(stream: IO[bytes], file: str) -> IO[bytes]:
    """Python's own library has no zstd before 3.14; Arrow does."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and rarely needed
    except ImportError:
        raise TrafficError(
            file, None, "is compressed with zstd, and pyarrow is not installed",
            "it to be: pip install 'orchestrator-serve[parquet]'",
        ) from None  # fmt: skip
    return pa.CompressedInputStream(stream, "zstd")  # type: ignore[no-any-return]


def _lost() -> tuple[type[Exception], ...]:
    """What is raised where a file cannot be read; of URLs, by the library that reads them."""
    aiohttp = sys.modules.get("aiohttp")
    return (OSError,) if aiohttp is None else (OSError, aiohttp.ClientError)


def _names(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir()]
    except OSError:
        return []

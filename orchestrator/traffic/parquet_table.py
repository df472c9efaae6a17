"""Tables as Parquet, read by Arrow a batch at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.traffic.errors import TrafficError
from orchestrator.traffic.files import opened
from orchestrator.traffic.piece import Piece
from orchestrator.traffic.rows import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def names(file: str) -> list[str]:
    """The columns that there are.

    Raises:
        TrafficError: it cannot be read, is no Parquet, or Arrow is not installed.
    """
    with _opened(file) as table:
        return list(table.schema_arrow.names)


def read(file: str, wanted: Sequence[str]) -> Iterator[Piece]:
    """The rows' values in those columns; moments as ISO texts.

    Raises:
        TrafficError: as `names`.
    """
    with _opened(file) as table:
        begin = 1
        for batch in table.iter_batches(BATCH, columns=list(wanted)):
            columns = {name: _values(batch.column(name)) for name in wanted}
            if batch.num_rows:
                yield Piece(file, range(begin, begin + batch.num_rows), columns)
            begin += batch.num_rows


def _values(column: Any) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415 - large, and rarely needed

    if pa.types.is_timestamp(column.type):
        # As text, since Python's own moments end at microseconds.
        naive = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.timestamp("ns"))
        column = naive.cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise TrafficError(
            file, None, "is Parquet, and pyarrow is not installed",
            "it to be: pip install 'orchestrator-serve[parquet]'",
        ) from None  # fmt: skip
    with opened(file) as stream:
        try:
            with parquet.ParquetFile(stream) as table:
                yield table
        except pa.ArrowException as error:
            raise TrafficError(file, None, f"cannot be read as Parquet: {error}") from None

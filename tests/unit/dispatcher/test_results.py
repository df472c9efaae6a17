"""Results that are kept as files: on a disk, in memory, in an S3-compatible store."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from orchestrator.store import keys, results
from orchestrator.store.results import ResultStore, ResultUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

DAY_S = 86_400.0
TAG = keys.tag_of("echo", "production")


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., ResultStore]]:
    stores: list[ResultStore] = []

    def open_one(url: str = "", inline_bytes: int = 10) -> ResultStore:
        stores.append(ResultStore(url, inline_bytes))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def disk(opened, tmp_path: Path) -> ResultStore:
    store: ResultStore = opened((tmp_path / "results").as_uri())
    return store


@pytest.fixture
def bucket(monkeypatch) -> Iterator[str]:
    """A bucket of a server that speaks S3's protocol; its address."""
    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    # It keeps file systems, with the addresses that they were made with.
    s3fs.S3FileSystem.clear_instance_cache()
    name = uuid.uuid4().hex  # moto keeps buckets for the life of its process
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}/results"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["file", "memory", "bucket"])
def anywhere(request: pytest.FixtureRequest, opened, tmp_path: Path) -> ResultStore:
    if request.param == "bucket":
        url = request.getfixturevalue("bucket")
    else:
        url = f"{request.param}://{tmp_path}/results"
    store: ResultStore = opened(url)
    return store


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def never(request_id: str) -> bool:
    return False


async def test_a_small_result_stays_with_its_request(disk: ResultStore, tmp_path: Path):
    result = await disk.put(keys.new_id(TAG), 1, b"0123456789", "text/plain")
    assert result.data == b"0123456789"
    assert result.reference is None
    assert (result.size, result.content_type) == (10, "text/plain")
    assert not (tmp_path / "results").exists()


async def test_without_a_place_for_files_all_results_stay_with_their_requests(opened):
    result = await opened("").put(keys.new_id(TAG), 1, b"x" * 100_000, "")
    assert result.data == b"x" * 100_000


async def test_a_large_result_is_written_read_and_removed(anywhere: ResultStore):
    data = b"x" * 1_000_000
    result = await anywhere.put(keys.new_id(TAG), 1, data, "image/png")
    assert result.data is None
    assert (result.size, result.content_type) == (1_000_000, "image/png")
    assert result.reference is not None
    assert await anywhere.read(result.reference) == data
    await anywhere.delete(result.reference)
    await anywhere.delete(result.reference)  # again: somebody else was quicker
    with pytest.raises(ResultUnavailable):
        await anywhere.read(result.reference)


async def test_attempts_do_not_overwrite_each_other(disk: ResultStore):
    request_id = keys.new_id(TAG)
    first = await disk.put(request_id, 1, b"first attempt", "")
    second = await disk.put(request_id, 2, b"second attempt", "")
    assert first.reference is not None
    assert await disk.read(first.reference) == b"first attempt"
    assert second.reference != first.reference


@pytest.mark.parametrize(
    "reference",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "2026-01-01/../../secret",
        f"2026-01-01/{'a' * 32}.1/../../secret",
        f"../results/2026-01-01/{'a' * 32}.1",
        f"2026-01-01/{'a' * 32}.1\n",
        f"2026-01-01/{'a' * 31}.1",
        "",
    ],
)
async def test_a_reference_leads_nowhere_else(disk: ResultStore, tmp_path: Path, reference: str):
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(ResultUnavailable, match="no reference"):
        await disk.read(reference)
    with pytest.raises(ResultUnavailable, match="no reference"):
        await disk.delete(reference)
    assert (tmp_path / "secret").exists()


async def test_what_nobody_can_ask_for_any_more_goes(anywhere: ResultStore):
    result = await anywhere.put(keys.new_id(TAG), 1, b"x" * 100, "")
    assert result.reference is not None
    now = time.time()
    # Its day has to have ended that long ago.
    assert await anywhere.sweep(now + DAY_S, 1.5 * DAY_S, never) == 0
    assert await anywhere.read(result.reference)
    assert await anywhere.sweep(now + 3 * DAY_S, DAY_S, never) == 1
    with pytest.raises(ResultUnavailable):
        await anywhere.read(result.reference)
    assert await anywhere.sweep(now + 3 * DAY_S, DAY_S, never) == 0


async def test_what_somebody_can_still_ask_for_stays(disk: ResultStore, tmp_path: Path):
    kept = await disk.put(keys.new_id(TAG), 1, b"x" * 100, "")
    await disk.put(keys.new_id(TAG), 1, b"y" * 100, "")
    assert kept.reference is not None

    async def known(request_id: str) -> bool:
        assert kept.reference is not None
        return request_id in kept.reference

    assert await disk.sweep(time.time() + 9 * DAY_S, DAY_S, known) == 1
    assert await disk.read(kept.reference) == b"x" * 100


async def test_sweeping_leaves_alone_what_is_not_ours(disk: ResultStore, tmp_path: Path):
    day = (dt.datetime.now(dt.UTC) - dt.timedelta(days=30)).date().isoformat()
    for name in (f"{day}/notes.txt", "2020/old.1", "README"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / name).write_text("mine")
    unfinished = tmp_path / "results" / day / f"{keys.new_id(TAG)}.1.part"
    unfinished.write_text("half")
    assert await disk.sweep(time.time(), DAY_S, never) == 1
    assert files_in(tmp_path) == ["README", "notes.txt", "old.1"]


async def test_files_are_for_their_owner_only(disk: ResultStore, tmp_path: Path):
    result = await disk.put(keys.new_id(TAG), 1, b"x" * 100, "")
    assert result.reference is not None
    path = tmp_path / "results" / result.reference
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


async def test_a_failure_does_not_tell_where_results_are(opened, tmp_path: Path):
    (tmp_path / "results").write_text("no folder")
    store = opened((tmp_path / "results").as_uri())
    with pytest.raises(ResultUnavailable) as refusal:
        await store.put(keys.new_id(TAG), 1, b"x" * 100, "")
    assert str(tmp_path) not in str(refusal.value)


async def test_a_file_system_that_hangs_is_not_waited_for(opened, monkeypatch, tmp_path: Path):
    go_on = threading.Event()

    def hang(*args: object, **kwargs: object) -> bytes:
        go_on.wait(10)
        return b""

    store = opened(f"memory://{tmp_path.name}")
    monkeypatch.setattr(results, "READ_S", 0.05)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", hang)
    with pytest.raises(ResultUnavailable, match=r"no answer within 0\.05 s"):
        await store.read(f"2026-01-01/{keys.new_id(TAG)}.1")
    go_on.set()

from __future__ import annotations

import asyncio
import hmac
import logging
import stat
from typing import TYPE_CHECKING

import pytest

from orchestrator import cluster_secret
from orchestrator.cluster_secret import ClusterSecret, SecretError, is_guarded, write_new

if TYPE_CHECKING:
    from pathlib import Path

OLD = "old-" * 8
NEW = "new-" * 8
OTHER = "other" * 8


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{OLD}\n")
    return path


def test_the_first_is_sent_and_all_are_accepted(file):
    file.write_text(f"{NEW}\n\n  {OLD} \r\n")
    secret = ClusterSecret(file)
    assert secret.current == NEW.encode()
    assert secret.line == f"x-orchestrator-cluster: {NEW}\r\n".encode()
    assert secret.accepts(NEW.encode())
    assert secret.accepts(OLD.encode())
    for stranger in (b"", OTHER.encode(), NEW.encode()[:-1], NEW.encode() + b"x", NEW.encode() * 2):
        assert not secret.accepts(stranger)


def test_every_secret_is_compared_whichever_fits(file, monkeypatch):
    file.write_text(f"{NEW}\n{OLD}\n{OTHER}\n")
    secret = ClusterSecret(file)
    compared: list[bytes] = []

    def note(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", note)
    assert secret.accepts(NEW.encode())
    assert compared == [NEW.encode(), OLD.encode(), OTHER.encode()]


def test_no_file_named_is_no_secret(file):
    assert ClusterSecret.from_environment({}) is None
    assert ClusterSecret.from_environment({"ORCHESTRATOR_CLUSTER_SECRET_FILE": ""}) is None
    named = ClusterSecret.from_environment({"ORCHESTRATOR_CLUSTER_SECRET_FILE": str(file)})
    assert named is not None
    assert named.current == OLD.encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: one secret a line is needed"),
        (b"\n \n", "is empty: one secret a line is needed"),
        (f"{OLD}\n{'short' * 6}\n".encode(), "line 2 of"),
        (b"with spaces " * 4, "line 1 of"),
        ("é".encode() * 40, "line 1 of"),
        (b"x" * 513, "line 1 of"),
    ],
)
def test_a_file_that_is_no_list_of_secrets_is_refused_and_not_quoted(file, content, said):
    file.write_bytes(content)
    with pytest.raises(SecretError) as raised:
        ClusterSecret(file)
    sentence = str(raised.value)
    assert said in sentence
    assert str(file) in sentence
    assert "ORCHESTRATOR_CLUSTER_SECRET_FILE" in sentence
    assert "short" not in sentence
    assert OLD not in sentence


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SecretError, match=r"nowhere.*No such file"):
        ClusterSecret(tmp_path / "nowhere")


def test_a_changed_file_is_read_again(file):
    secret = ClusterSecret(file)
    file.write_text(f"{NEW}\n{OLD}\n")
    secret.refresh()
    assert secret.current == NEW.encode()
    file.write_text(f"{NEW}\n")
    secret.refresh()
    assert not secret.accepts(OLD.encode())


def test_a_swapped_folder_is_noticed_as_kubernetes_swaps_it(tmp_path):
    for version, content in (("1", OLD), ("2", NEW)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "secret").write_text(f"{content}\n")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "secret").symlink_to("..data/secret")
    secret = ClusterSecret(tmp_path / "secret")
    assert secret.current == OLD.encode()
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    secret.refresh()
    assert secret.current == NEW.encode()


def test_a_bad_change_keeps_the_last_good_ones_and_is_told_once(file, caplog):
    secret = ClusterSecret(file)
    file.write_text("half of a")
    with caplog.at_level(logging.ERROR, "ray.serve"):
        for _ in range(3):
            secret.refresh()
    (told,) = caplog.messages
    assert "line 1 of" in told
    assert "the last good secrets stay" in told
    assert secret.accepts(OLD.encode())
    file.write_text(f"{NEW}\n")
    secret.refresh()
    assert secret.current == NEW.encode()


def test_a_file_that_goes_keeps_the_last_good_ones_and_is_told_once(file, caplog):
    secret = ClusterSecret(file)
    file.unlink()
    with caplog.at_level(logging.ERROR, "ray.serve"):
        for _ in range(3):
            secret.refresh()
    assert len(caplog.messages) == 1
    assert secret.current == OLD.encode()
    file.write_text(f"{NEW}\n")
    secret.refresh()
    assert secret.current == NEW.encode()


async def test_a_watched_file_is_looked_at_again_and_again(file, monkeypatch):
    monkeypatch.setattr(cluster_secret, "LOOK_S", 0.01)
    taken_over = asyncio.Event()

    class Watched(ClusterSecret):
        def refresh(self) -> None:
            super().refresh()
            if self.current == NEW.encode():
                taken_over.set()

    secret = Watched(file)
    secret.watch()
    secret.watch()  # a second time changes nothing
    file.write_text(f"{NEW}\n")
    async with asyncio.timeout(10):
        await taken_over.wait()
    secret.close()


def test_nothing_shows_the_secret(file, caplog):
    with caplog.at_level(logging.DEBUG):
        secret = ClusterSecret(file)
        file.write_text(f"{NEW}\n")
        secret.refresh()
    assert repr(secret) == str(secret) == f"<ClusterSecret of {file}>"
    assert "read anew" in caplog.text
    for shown in (OLD, NEW):
        assert shown not in caplog.text
        assert all(shown not in digest for digest in secret.digests)


def test_a_new_file_is_its_owner_s_alone_and_replaces_nothing(tmp_path):
    path = tmp_path / "secret"
    write_new(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = ClusterSecret(path).current
    with pytest.raises(FileExistsError):
        write_new(path)
    assert ClusterSecret(path).current == first
    write_new(tmp_path / "second")
    assert ClusterSecret(tmp_path / "second").current != first


@pytest.mark.parametrize(
    ("host", "guarded"),
    [
        ("127.0.0.1", False),
        ("127.0.0.2", False),
        ("::1", False),
        ("localhost", False),
        ("10.1.0.2", True),
        ("0.0.0.0", True),
        ("fd00::2", True),
        ("node-7.internal", True),
    ],
)
def test_all_but_loopback_is_guarded(host, guarded):
    assert is_guarded(host) is guarded

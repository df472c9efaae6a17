"""The secret by which a cluster's replicas know its routers and dispatchers.

A replica that other machines can reach answers nobody who does not send it, so that
whoever finds its port has found nothing. It stands in a file on every node, one secret
a line: the first is sent, all are accepted. That makes it rotatable while requests
run: add the new one below, move it to the top, remove the old one; each time on all
nodes, and with a pause of a few seconds (on Kubernetes: until the kubelet has
brought the file to every pod, a minute or two).

What listens on loopback is not guarded: this machine alone can reach it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import os
import re
import secrets
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

logger: Final = logging.getLogger("ray.serve")

FILE_VARIABLE: Final = "ORCHESTRATOR_CLUSTER_SECRET_FILE"
"""Names the file, in the environment of every process of a cluster."""

HEADER: Final = b"x-orchestrator-cluster"
"""In which a request to a replica carries the secret."""

FEWEST_CHARACTERS: Final = 32
MOST_CHARACTERS: Final = 512

LOOK_S: Final = 2.0
"""A change of the file is seen within so many seconds."""

_SECRET: Final = re.compile(rb"[!-~]{%d,%d}" % (FEWEST_CHARACTERS, MOST_CHARACTERS))


class SecretError(Exception):
    """There is no usable secret; says where it was looked for and what would be right."""


class ClusterSecret:
    """The secrets of one file, as they are now.

    Made once a process; `refresh` or `watch` keep it up with the file. What it holds may
    be asked for by any thread.

    Attributes:
        current: the one to send.
        line: header line that sends it, as on the wire.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
            SecretError: it cannot be read, or is not a list of secrets.
        """
        self.current = b""
        self.line = b""
        self._accepted: tuple[bytes, ...] = ()
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._complaint = ""
        self._timer: asyncio.TimerHandle | None = None
        self._read()

    def __repr__(self) -> str:
        return f"<ClusterSecret of {self._path}>"

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> ClusterSecret | None:
        """The cluster's; None: no file is named.

        Raises:
            SecretError: one is named, but not a good one.
        """
        named = env.get(FILE_VARIABLE)
        return cls(Path(named)) if named else None

    @property
    def digests(self) -> frozenset[str]:
        """SHA-256 of each accepted secret, in lower-case hexadecimal."""
        return frozenset(sha256(secret).hexdigest() for secret in self._accepted)

    def accepts(self, given: bytes) -> bool:
        """Whether it is one of the secrets; how long this takes does not tell which, or how far."""
        found = False
        for secret in self._accepted:
            found |= hmac.compare_digest(secret, given)
        return found

    def refresh(self) -> None:
        """Reads the file again if it has changed; keeps the last good secrets if it is bad."""
        try:
            if self._mark(self._path.stat()) != self._seen:
                self._read()
                logger.info("the cluster's secrets in %s were read anew", self._path)
        except OSError as error:
            self._complain(f"{self._path} cannot be read: {error.strerror}")
        except SecretError as error:
            self._complain(str(error))
        else:
            self._complaint = ""

    def watch(self) -> None:
        """Calls `refresh` every `LOOK_S` from now on, on the running loop."""
        if self._timer is None:
            self._look(asyncio.get_running_loop())

    def close(self) -> None:
        """Ends `watch`; from its loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.refresh()
        self._timer = loop.call_later(LOOK_S, self._look, loop)

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                # Before it is judged: a bad file is not read again until it has changed.
                self._seen = self._mark(os.fstat(file.fileno()))
                accepted = _parse(file.read(), self._path)
        except OSError as error:
            raise SecretError(f"{self._path} ({FILE_VARIABLE}): {error.strerror}") from error
        self.current = accepted[0]
        self.line = b"%b: %b\r\n" % (HEADER, accepted[0])
        self._accepted = accepted

    @staticmethod
    def _mark(found: os.stat_result) -> tuple[int, ...]:
        # Kubernetes swaps a link to the file's folder: the file is then another one.
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _complain(self, sentence: str) -> None:
        if sentence != self._complaint:
            logger.error("%s; the last good secrets stay", sentence)
            self._complaint = sentence


def is_guarded(host: str) -> bool:
    """Whether a replica that listens on this address has to ask for the secret.

    Both sides go by this: a router sends none to a replica on loopback, whose model
    server may be one that would see it.
    """
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def write_new(path: Path) -> None:
    """Writes a file with one new secret, for its owner's eyes alone.

    Raises:
        FileExistsError: there is something already; it stays as it is.
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_urlsafe(48).encode("ascii") + b"\n")


def _parse(content: bytes, path: Path) -> tuple[bytes, ...]:
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        secret = line.strip()
        if secret and _SECRET.fullmatch(secret) is None:
            raise SecretError(
                f"line {number} of {path} ({FILE_VARIABLE}) is no secret: {FEWEST_CHARACTERS} to "
                f"{MOST_CHARACTERS} visible ASCII characters are needed, without spaces"
            )
        if secret:
            found.append(secret)
    if not found:
        raise SecretError(f"{path} ({FILE_VARIABLE}) is empty: one secret a line is needed")
    return tuple(found)

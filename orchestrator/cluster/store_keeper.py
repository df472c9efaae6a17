"""Keeps the embedded store of a cluster running: starts it again whenever it dies.

Everybody else only notices that it does not answer for a moment; what it had
accepted is in its files.
"""

import logging
import threading
import time

from orchestrator.store.embedded import EmbeddedServer, EmbeddedServerError

log = logging.getLogger("orchestrator.cluster.store_keeper")

_POLL_SECONDS = 0.05
_STEADY_SECONDS = 30.0
"""A server that ran for this long is started again at once when it ends."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_JOIN_SECONDS = 2.0


class StoreKeeper:
    """Runs one server until it is told to end it.

    It never gives up: with each failed start in a row it only waits longer, and says
    so in the log. A cluster without its store goes on with all that needs none.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="store keeper", daemon=True)

    def start(self) -> None:
        """Start the server, wait until it answers, and keep it running from now on.

        Raises:
            EmbeddedServerError: it does not start; nothing of it is left.
        """
        self._server.start()
        log.info("the store's server answers at %s", self._server.url)
        self._thread.start()

    def end(self) -> None:
        """End the server in order, for good."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)  # it may be waiting for a start to succeed
        self._server.end()

    def _keep(self) -> None:
        failures, begun = 0, time.monotonic()
        while not self._over.wait(_POLL_SECONDS):
            if self._server.alive():
                continue
            steady = time.monotonic() - begun >= _STEADY_SECONDS
            failures = 0 if steady else failures + 1
            pause = _pause_seconds(failures)
            log.error(
                "the store's server has ended (see %s); starting it again in %.1f s",
                self._server.log,
                pause,
            )
            if self._over.wait(pause):
                return
            begun = time.monotonic()
            self._start_again()

    def _start_again(self) -> None:
        try:
            self._server.start()
        except EmbeddedServerError as error:
            log.error("the store's server does not start: %s", error)  # noqa: TRY400  # said
        except Exception:  # whatever it is, the next start may succeed
            log.exception("the store's server does not start")
        else:
            log.info("the store's server answers again")


def _pause_seconds(failures: int) -> float:
    """How long to wait after `failures` quick ends in a row; the first is put right at once."""
    if failures <= 1:
        return 0.0
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 2, 16), _LONGEST_PAUSE_SECONDS)

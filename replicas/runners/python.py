"""Runs a Python class with `load` and `predict` in the replica's own process."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import threading
import traceback
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.lifecycle.replica import Stage
from replicas.application import ModelApp
from replicas.children import KEPT_LINES
from replicas.errors import StartFailed, Unhealthy
from replicas.runners import base_url
from replicas.server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.cluster_secret import ClusterSecret
    from replicas.predictions import Predictions
    from replicas.spec import PythonRunnerSpec

T = TypeVar("T")


class PythonRunner:
    """A model of the user's own.

    What the class may have (only `predict` is needed):

    * `__init__(**arguments)`: cheap; the arguments come from the configuration.
    * `load()`: reads weights; plain (in a thread) or async (in the loop that will
      run `predict`).
    * `predict(body)`: plain (in a pool of as many threads as there are slots),
      async, or a generator of either kind to stream.
    * `is_healthy() -> bool`: plain or async; False or an exception is a failed check.
    * `app`: an ASGI application for all other paths.
    """

    def __init__(
        self,
        spec: PythonRunnerSpec,
        *,
        slots: int,
        host: str,
        predictions: Predictions | None = None,
        secret: ClusterSecret | None = None,
    ) -> None:
        """A runner that has started nothing yet.

        Args:
            spec: what to run.
            slots: how many requests it runs at once.
            host: where it is to listen.
            predictions: make the spans of its requests; None: traces go nowhere.
            secret: of the cluster, which callers must send; None: nothing is asked.
        """
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._spec = spec
        self._slots = slots
        self._predictions = predictions
        self._secret = secret
        self._host = host
        self._address = ""
        self._progress = f"{spec.import_path} is being imported"
        self._server = ModelServer()
        self._app: ModelApp | None = None
        self._loader: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Base URL of the server in this process."""
        return self._address

    @property
    def in_flight(self) -> int | None:
        """Requests that hold a slot now."""
        return self._app.in_flight if self._app is not None else 0

    @property
    def progress(self) -> str:
        """What the start is waiting for."""
        return self._progress

    @property
    def log_tail(self) -> tuple[str, ...]:
        """Where the loading thread is, if it is still at it: a start that hangs."""
        loader = self._loader
        if loader is None or not loader.is_alive() or loader.ident is None:
            return ()
        frame = sys._current_frames().get(loader.ident)  # noqa: SLF001 - the documented way
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        return ("loading is here:", *stack.splitlines()[-KEPT_LINES + 1 :])

    async def start(self, enter: Callable[[Stage], None]) -> None:
        """Imports, makes and loads the model, then serves it."""
        path = self._spec.import_path
        self._server.start()
        model_class = await self._in_thread(lambda: import_model(path))
        enter(Stage.LOADING)
        self._progress = f"{path} is being loaded"
        model = await self._in_thread(lambda: self._make(model_class))
        load = getattr(model, "load", None)
        if inspect.iscoroutinefunction(load):
            await self._server.call(_told(f"{path}.load()", load))
        elif load is not None:
            await self._in_thread(lambda: _run_told(f"{path}.load()", load))
        enter(Stage.WARMING)
        self._progress = f"the server of {path} is being started"
        self._app = ModelApp(
            model, slots=self._slots, predictions=self._predictions, secret=self._secret
        )
        port = await self._server.serve(self._app, self._host)
        self._address = base_url(self._host, port)

    async def check(self) -> None:
        """Asks the server's loop, and in it the model's `is_healthy`."""
        if self._app is None or not self._server.alive:
            raise Unhealthy("the model's server has ended")
        try:
            healthy = await self._server.call(self._app.is_healthy())
        except Exception as error:
            raise Unhealthy(f"is_healthy() raised {type(error).__name__}: {error}") from error
        if not healthy:
            raise Unhealthy("is_healthy() returned False")

    async def stop(self, grace_s: float) -> None:  # noqa: ARG002 - there is no child to wait for
        """Ends the server; threads still in the model end with the process."""
        await self._server.stop()
        if self._app is not None:
            self._app.close()

    def _make(self, model_class: Callable[..., Any]) -> Any:
        path = self._spec.import_path
        model = _run_told(f"{path}(...)", lambda: model_class(**self._spec.arguments))
        if not callable(getattr(model, "predict", None)):
            raise StartFailed(f"{path} has no method `predict`")
        return model

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Runs `work` in a daemon thread of its own.

        Not in a pool: a `load` that hangs must not keep the process from ending.
        """
        result: Future[T] = Future()

        def run() -> None:
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 - handed on to the waiting task
                if not result.cancelled():
                    result.set_exception(error)
            else:
                if not result.cancelled():
                    result.set_result(value)

        self._loader = threading.Thread(target=run, name="model-load", daemon=True)
        self._loader.start()
        return await asyncio.wrap_future(result)


def import_model(path: str) -> Callable[..., Any]:
    """The class at `module:Class`.

    Raises:
        StartFailed: says which half of the path is wrong, or what the module raised.
    """
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise StartFailed(f"the import path {path!r} is not of the form module:Class")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            reason = f"there is no module {error.name!r} (import path {path!r})"
            raise StartFailed(reason) from error
        raise _failed(f"importing {module_name}", error) from error
    except BaseException as error:
        raise _failed(f"importing {module_name}", error) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            reason = f"module {module_name!r} has no attribute {attribute!r}"
            raise StartFailed(f"{reason} (import path {path!r})")
        found = getattr(found, name)
    if not callable(found):
        raise StartFailed(f"{path} is not a class but a {type(found).__name__}")
    return found  # type: ignore[no-any-return] # just checked


def _run_told(what: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except BaseException as error:  # also sys.exit() in a model is a failed start
        raise _failed(what, error) from error


async def _told(what: str, load: Callable[[], Any]) -> None:
    try:
        await load()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # also sys.exit() in a model is a failed start
        raise _failed(what, error) from error


def _failed(what: str, error: BaseException) -> StartFailed:
    said = f": {error}" if str(error) else ""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return StartFailed(f"{what} raised {type(error).__name__}{said}", tuple(lines[-KEPT_LINES:]))

"""A collector: a real server that takes OTLP over HTTP, and may be slow or refuse."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

DEADLINE_S = 20.0


class Collector:
    """Listens on a port of its own.

    Attributes:
        requests: what came, with path and headers, decoded.
        answers: status of its answers.
        open: cleared, it takes requests and does not answer them.
        busy: set while it has one.
    """

    def __init__(self) -> None:
        self.requests: queue.Queue[tuple[str, dict[str, str], ExportTraceServiceRequest]] = (
            queue.Queue()
        )
        self.answers = 200
        self.open = threading.Event()
        self.open.set()
        self.busy = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next(self) -> ExportTraceServiceRequest:
        """What came next."""
        return self.requests.get(timeout=DEADLINE_S)[2]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.busy.set()
                collector.open.wait(DEADLINE_S)
                message = ExportTraceServiceRequest()
                message.ParseFromString(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.requests.put((self.path, headers, message))
                try:
                    self.send_response(collector.answers)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:  # the exporter's patience ended first
                    pass

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def names(request: ExportTraceServiceRequest) -> list[str]:
    """Of the spans in a request."""
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]

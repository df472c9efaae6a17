"""An HTTP/1.1 server as model servers are: streaming, keeping connections, noticing hang-ups.

python model_server.py PORT [HOST]

GET  /health   200
GET  /facts    as JSON: what came with this request, and on which connection
POST /echo     the body
GET  /stream   one chunk at once, the second after GET /go
GET  /hang     nothing, until the caller hangs up; GET /hanging answers when it has begun,
               and GET /gone when it is over
GET  /half     one chunk, then nothing, until the caller hangs up
GET  /die      ends the process
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

go = threading.Event()
hanging = threading.Event()
gone = threading.Event()
paths: list[str] = []
connections = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.number = next(connections)
        self.requests_here = 0

    def do_GET(self) -> None:
        self.requests_here += 1
        paths.append(self.path)
        if self.path == "/die":
            os._exit(3)
        if self.path == "/hang":
            self._until_hung_up()
            return
        if self.path in ("/stream", "/half"):
            self._stream()
            return
        if self.path == "/go":
            go.set()
        waited_for = {"/hanging": hanging, "/gone": gone}.get(self.path)
        if waited_for is not None and not waited_for.wait(20):
            self._answer(b"it did not come", 504)
            return
        facts = {
            "paths": paths,
            "pid": os.getpid(),
            "arguments": sys.argv[1:],
            "connection": self.number,
            "requests_here": self.requests_here,
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        self._answer(json.dumps(facts).encode())

    def do_POST(self) -> None:
        self.requests_here += 1
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._chunk(b"first")
        if self.path == "/half":
            self._until_hung_up()
            return
        go.wait(20)
        self._chunk(b"second")
        self.wfile.write(b"0\r\n\r\n")

    def _until_hung_up(self) -> None:
        hanging.set()
        with contextlib.suppress(ConnectionError):
            self.rfile.read(1)
        gone.set()
        self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    host = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    ThreadingHTTPServer((host, int(sys.argv[1])), Handler).serve_forever()

"""An HTTP server that knows nothing of replicas, to be run as a command.

python small_server.py PORT [--never-healthy] [--ignore-sigterm] [--fork]

Answers every GET with its environment and arguments as JSON. `--fork` leaves a
grandchild in a session of its own, whose pid is in the answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/die":
            print("fatal: device lost", flush=True)
            os._exit(3)
        healthy = "--never-healthy" not in sys.argv
        facts = {
            "pid": os.getpid(),
            "grandchild": grandchild,
            "arguments": sys.argv[1:],
            "environment": dict(os.environ),
            "directory": str(Path.cwd()),
        }
        self.send_response(200 if healthy else 503)
        self.end_headers()
        self.wfile.write(json.dumps(facts).encode())

    def log_message(self, *_: object) -> None:
        pass


grandchild: int | None = None
if "--fork" in sys.argv:
    forever = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
    grandchild = subprocess.Popen(forever, start_new_session=True).pid
if "--ignore-sigterm" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("starting", file=sys.stderr, flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

"""What the cluster's secret costs: in a router, in a Python model, and by the gate before a server.

    python -m tests.benchmarks.gate

The first table is processor time of the added steps alone. The second compares the same
model server (uvicorn) asked directly and through its gate, in turns and on kept
connections: a whole request, and how long a chunk of a stream is on its way.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import timeit
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn

from orchestrator.cluster_secret import ClusterSecret, write_new
from orchestrator.router.upstream import UpstreamPool
from replicas.application import _knows
from replicas.gate import Gate

ROUNDS = 20
REQUESTS = 200
STREAMS = 5
CHUNKS = 50
CHUNK_PAUSE_S = 0.002
TIMES = 200_000

HEADERS = [
    (b"host", b"10.1.0.2:20001"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"a client"),
    (b"x-request-id", b"0" * 32),
    (b"x-baseten-request-id", b"0" * 32),
    (b"x-forwarded-for", b"10.1.0.9"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"models.example.com"),
    (b"traceparent", b"00-" + b"0" * 52),
    (b"request-timeout-ms", b"1200000"),
    (b"content-length", b"42"),
]


async def server(scope: Any, receive: Any, send: Any) -> None:
    """Answers `/`, and streams `/stream`: each chunk says when it was sent."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/plain")]
    if scope["path"] != "/stream":
        headers.append((b"content-length", b"2"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(CHUNKS):
        await asyncio.sleep(CHUNK_PAUSE_S)
        body = b"%d\n" % time.monotonic_ns()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Asker:
    """Asks one address, on one kept connection."""

    def __init__(self, address: str, secret: ClusterSecret) -> None:
        self._address = address
        self._proof = secret.line
        self._pool = UpstreamPool()

    async def request_us(self) -> float:
        """How long one request takes, median of many."""
        taken = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            await self._ask(b"/", [])
            taken.append(1e6 * (time.perf_counter() - began))
        return median(taken)

    async def chunk_us(self) -> float:
        """How long a chunk is on its way, median of many."""
        late: list[float] = []
        for _ in range(STREAMS):
            await self._ask(b"/stream", late)
        return median(late)

    def close(self) -> None:
        self._pool.close()

    async def _ask(self, path: bytes, late: list[float]) -> None:
        pool = self._pool
        connection = pool.take(self._address) or await pool.connect(self._address, 5.0)
        head = b"GET %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (path, connection.host, self._proof)
        connection.send(head, (), 0, head_only=False)
        await connection.head_received()
        while chunk := await connection.read():
            now = time.monotonic_ns()
            if path == b"/stream":
                late.append((now - int(chunk.split(b"\n", 1)[0])) / 1000)
        pool.give_back(connection)


def steps(secret: ClusterSecret) -> dict[str, float]:
    """Microseconds of each added step."""
    proved = [HEADERS[0], (b"x-orchestrator-cluster", secret.current), *HEADERS[1:]]
    other = b"y" * len(secret.current)
    passed, traced, length = b"x" * 300, b"x" * 70, b"x" * 20
    plain = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%brequest-timeout-ms: %d\r\n%b\r\n"
    longer = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%brequest-timeout-ms: %d\r\n%b\r\n"
    measured = {
        "head of an attempt, without": lambda: (
            plain % (b"POST", b"/predict", b"10.1.0.2:1", passed, traced, 1_200_000, length)
        ),
        "head of an attempt, with": lambda: (
            longer
            % (b"POST", b"/predict", b"10.1.0.2:1", secret.line, passed, traced, 1_200_000, length)
        ),
        "comparison with one accepted secret": lambda: secret.accepts(other),
        "Python model: found, compared, taken out": lambda: _knows(secret, {"headers": proved}),
    }
    return {
        name: 1e6 * min(timeit.repeat(step, number=TIMES, repeat=5)) / TIMES
        for name, step in measured.items()
    }


async def compare(folder: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Microseconds by what is measured: directly and through the gate, one of each a round."""
    secret = ClusterSecret(folder / "secret")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.gate", "serve"), stdout=asyncio.subprocess.PIPE
    )
    gate: Gate | None = None
    try:
        if child.stdout is None:
            raise RuntimeError("the server was started without a pipe")
        port = int(await child.stdout.readline())
        gate = Gate("127.0.0.1", port, secret)
        await gate.start()
        askers = [Asker(url, secret) for url in (f"http://127.0.0.1:{port}", gate.address)]
        found: dict[str, tuple[list[float], list[float]]] = {
            "a request": ([], []),
            "a chunk of a stream": ([], []),
        }
        for _ in range(ROUNDS):
            for at, asker in enumerate(askers):
                found["a request"][at].append(await asker.request_us())
                found["a chunk of a stream"][at].append(await asker.chunk_us())
        for asker in askers:
            asker.close()
        return found
    finally:
        if gate is not None:
            await gate.stop()
        child.kill()
        await child.wait()


def main() -> None:
    """Prints both tables."""
    if sys.argv[1:] == ["serve"]:
        _serve()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_new(folder / "secret")
        print("| step | us |\n|---|---|")
        for step, microseconds in steps(ClusterSecret(folder / "secret")).items():
            print(f"| {step} | {microseconds:.2f} |")
        print("\n| | directly, us | through the gate, us | added, us | ratio (of rounds) |")
        print("|---|---|---|---|---|")
        for what, (direct, gated) in asyncio.run(compare(folder)).items():
            ratios = [b / a for a, b in zip(direct, gated, strict=True)]
            one, other = median(direct), median(gated)
            spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {what} | {one:.0f} | {other:.0f} | {other - one:.0f} | {spread} |")


def _serve() -> None:
    config = uvicorn.Config(server, port=0, log_config=None, http="httptools", loop="uvloop")
    listener = config.bind_socket()
    listener.listen()  # connections wait from now on
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

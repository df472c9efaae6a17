"""The load generator: one thread of ``wrk`` against one address.

``wrk`` holds every connection open and sends the next request when the last one is answered
(a closed loop), so throughput and latency are two views of the same thing.
"""

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

RESULT_PREFIX = "benchmark-result "

# wrk's own text rounds to three figures with changing units; its Lua hook has the exact numbers.
SCRIPT = """\
wrk.method = "POST"
wrk.body = %(body)s
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('%(prefix)s{"requests": %%d, "duration_us": %%d, "bytes": %%d, ' ..
    '"p50_us": %%d, "p90_us": %%d, "p99_us": %%d, "max_us": %%d, "mean_us": %%.1f, ' ..
    '"errors": {"connect": %%d, "read": %%d, "write": %%d, "timeout": %%d, "status": %%d}}\\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
    latency.mean, e.connect, e.read, e.write, e.timeout, e.status))
end
"""


class LoadGeneratorError(Exception):
    """``wrk`` is missing, failed, or printed no result."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of the load generator saw. Times in milliseconds, rates per second."""

    requests: int
    duration_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    errors: int

    @property
    def throughput(self) -> float:
        """Answered requests per second."""
        return self.requests / self.duration_s if self.duration_s > 0 else 0.0


def find_wrk() -> str:
    """Path of the ``wrk`` binary; raises ``LoadGeneratorError`` with the way to install it."""
    path = shutil.which("wrk")
    if path is None:
        raise LoadGeneratorError(
            "the load generator wrk is not on PATH; install it with: apt-get install wrk"
        )
    return path


def wrk_version(wrk: str) -> str:
    """Name and version from the first line of ``wrk -v`` (wrk exits non-zero for it)."""
    shown = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False)
    return (shown.stdout + shown.stderr).split(" [")[0].strip()


def lua_quote(text: str) -> str:
    """``text`` as a Lua string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def script_for(body: str) -> str:
    """The Lua script that posts ``body`` and prints the result as one JSON line."""
    return SCRIPT % {"body": lua_quote(body), "prefix": RESULT_PREFIX}


def parse_output(output: str) -> Measurement:
    """Read what the script printed; raises ``LoadGeneratorError`` when it is not there."""
    for line in output.splitlines():
        if line.startswith(RESULT_PREFIX):
            break
    else:
        raise LoadGeneratorError(f"wrk printed no result: {output.strip()[-500:]!r}")
    try:
        found = json.loads(line.removeprefix(RESULT_PREFIX))
        return Measurement(
            requests=int(found["requests"]),
            duration_s=found["duration_us"] / 1e6,
            p50_ms=found["p50_us"] / 1e3,
            p90_ms=found["p90_us"] / 1e3,
            p99_ms=found["p99_us"] / 1e3,
            max_ms=found["max_us"] / 1e3,
            mean_ms=found["mean_us"] / 1e3,
            errors=sum(int(count) for count in found["errors"].values()),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LoadGeneratorError(f"wrk printed a result that cannot be read: {line!r}") from error


def measure(wrk: str, url: str, body: str, *, connections: int, seconds: float) -> Measurement:
    """Put load on ``url`` for ``seconds`` (rounded up to whole ones, as wrk wants them)."""
    whole_seconds = max(1, round(seconds + 0.499))
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        script = Path(folder) / "post.lua"
        script.write_text(script_for(body), encoding="utf-8")
        # fmt: off
        command = [
            wrk, "-t1", f"-c{connections}", f"-d{whole_seconds}s", "--timeout", "10s",
            "-s", str(script), url,
        ]
        # fmt: on
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=whole_seconds + 60
            )
        except subprocess.TimeoutExpired as error:
            raise LoadGeneratorError(f"wrk did not end in time: {' '.join(command)}") from error
    if ran.returncode != 0:
        raise LoadGeneratorError(
            f"wrk ended with {ran.returncode}: {(ran.stdout + ran.stderr).strip()[-500:]}"
        )
    return parse_output(ran.stdout)

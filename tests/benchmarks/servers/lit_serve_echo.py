"""The echo model on LitServe: ``python -m tests.benchmarks.servers.lit_serve_echo PORT``."""

import sys
from typing import Any

from litserve import LitAPI, LitServer


class Echo(LitAPI):  # type: ignore[misc]  # litserve carries no types
    """Gives the request back."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def predict(self, x: Any, **_: Any) -> Any:
        """The decoded JSON body, unchanged."""
        return x


def main() -> None:
    """Serve on loopback until SIGTERM, without an access log (no system here writes one)."""
    server = LitServer(Echo(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()

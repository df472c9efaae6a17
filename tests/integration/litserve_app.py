"""A LitServe server as its documentation writes one, for the `command` runner."""

import argparse
from typing import Any

import litserve


class Squares(litserve.LitAPI):  # type: ignore[misc]  # litserve carries no types
    def setup(self, device: str) -> None:
        self.exponent = 2

    def decode_request(self, request: dict[str, Any]) -> float:
        return float(request["input"])

    def predict(self, x: float) -> float:
        return x**self.exponent

    def encode_response(self, output: float) -> dict[str, float]:
        return {"output": output}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    server = litserve.LitServer(Squares(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=parser.parse_args().port, generate_client_file=False)

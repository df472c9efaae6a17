"""Where recorded traces are, for tests that need them; those skip where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

AZURE_CODE = "azure-llm-2023/AzureLLMInferenceTrace_code.csv"
MOONCAKE_CONVERSATION = "mooncake-fast25/conversation_trace.jsonl.gz"
SERVEGEN_SMALL = "servegen/language_m-small.csv.gz"


def folder() -> Path:
    """`$ORCHESTRATOR_TRACES`, or `shared/traces` beside the checkout; it may not exist."""
    named = os.environ.get("ORCHESTRATOR_TRACES")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "traces"


def trace(name: str) -> Path:
    """The file of a recorded trace, such as `AZURE_CODE`; skips the test where it is missing."""
    path = folder() / name
    if not path.is_file():
        pytest.skip(f"no recorded trace at {path} (set ORCHESTRATOR_TRACES)")
    return path

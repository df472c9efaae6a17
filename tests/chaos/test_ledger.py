"""The short chaos run: every part dies once, in turn, and the store is away once. `make chaos` is the long one."""

from pathlib import Path

import pytest

from tests.chaos.run import OUTAGE, PARTS, chaos


@pytest.mark.cluster
@pytest.mark.timeout(400)
async def test_what_was_accepted_ends_once_whoever_dies(tmp_path: Path):
    ledger = await chaos(tmp_path, 400, [*PARTS, OUTAGE, "all"])
    print(f"\n{ledger}")
    assert not ledger.faults(), str(ledger)

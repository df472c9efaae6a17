"""Published traces are read as those who publish them describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.traffic.settings import Arrivals
from orchestrator.traffic.source import arrivals, inspect, requests
from tests import recorded


def settings(name: str, **more: Any) -> Arrivals:
    path = recorded.trace(name)
    return Arrivals.model_validate({"trace": {"file": str(path)}, **more})


def test_azure_s_hour_of_code_is_the_bursty_one() -> None:
    found = inspect(settings(recorded.AZURE_CODE), folder=Path())
    assert found.requests == 8819
    assert found.span_s == pytest.approx(57 * 60, rel=0.01)
    assert found.rate == pytest.approx(2.57, abs=0.005)
    assert found.cv == pytest.approx(13, abs=0.5)
    # The busiest minute of the clock, which begins with the first request here.
    assert found.busiest_minute / (found.rate * 60) == pytest.approx(4.2, abs=0.15)
    assert found.idle_share == pytest.approx(0.21, abs=0.01)
    assert found.suspicions == ()


def test_mooncake_s_hour_comes_in_batches() -> None:
    wanted = settings(recorded.MOONCAKE_CONVERSATION)
    found = inspect(wanted, folder=Path())
    assert found.requests == 12_031
    assert found.span_s == pytest.approx(59 * 60, rel=0.01)
    assert found.rate == pytest.approx(3.4, abs=0.05)
    first = next(arrivals(wanted, 1, folder=Path()))
    assert (first.prompt_tokens, first.output_tokens) == (6758, 500)
    gaps = np.concatenate([np.diff(part.at) for part in requests(wanted, 1, folder=Path())])
    assert (gaps == 0).mean() > 0.5


def test_servegen_s_clients_have_their_rates_over_two_weeks() -> None:
    wanted = settings(recorded.SERVEGEN_SMALL, rate_scale=0.001)
    found = inspect(wanted, folder=Path(), most=3_000_000)
    assert found.span_s == pytest.approx(14 * 86_400, rel=0.01)
    assert len(found.environments) == 43
    # The rates of all rows, times ten minutes, are 1,420,558,786 requests.
    assert found.requests == pytest.approx(1_420_559, rel=0.001)


def test_a_client_of_servegen_is_exact_by_windows() -> None:
    path = recorded.trace(recorded.SERVEGEN_SMALL)
    wanted = Arrivals.model_validate({"trace": {"file": str(path), "client": 0}})
    found = inspect(wanted, folder=Path())
    # Its windows' rates are whole numbers of requests over ten minutes, but for rounding.
    assert found.requests == pytest.approx(98_147, abs=20)

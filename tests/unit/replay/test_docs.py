"""What docs/replay.md says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.replay import connections, levels, validity
from orchestrator.replay.target import place_of, target_of
from orchestrator.replay.template import NAMES, Numbers, Template
from orchestrator.simulator.loading import load

if TYPE_CHECKING:
    from orchestrator.simulator.experiment import ExperimentEnvironment

TEXT = (Path(__file__).parents[3] / "docs" / "replay.md").read_text(encoding="utf-8")


@pytest.fixture
def chat(tmp_path: Path) -> ExperimentEnvironment:
    """The environment of its example."""
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example)
    [point] = load(path).points
    return point.experiment.environments["chat"]


def test_its_example_is_sent_where_it_says(chat: ExperimentEnvironment):
    target = target_of("chat", chat.target)
    place = place_of("chat", target)
    assert (place.predict, str(place)) == ("/v1/chat/completions", "llm/staging")
    body = Template(target.body).fill(Numbers(prompt_tokens=2, output_tokens=5, service_s=None))
    assert body == {
        "model": "llm/staging",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "word word"}],
    }


def test_it_names_all_placeholders():
    assert all(f"${name}`" in TEXT for name in NAMES)


def test_its_numbers_are_those_of_the_program():
    assert f"{connections.MOST_UNDER_WAY:,} requests are under way" in TEXT
    assert f"more than {validity.LAG_S * 1000:.0f} ms late" in TEXT
    assert f"(or {validity.LAG_SHARE:.0%} of".replace("%", " %") in TEXT
    assert levels.PERIOD_S == 1 / 4
    assert validity.MISSED_SHARE == 1 / 10

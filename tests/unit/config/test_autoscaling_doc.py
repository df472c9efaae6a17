"""What docs/autoscaling.md says: its files load, its example runs, its tables are complete."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields
from pathlib import Path
from textwrap import indent

import pytest

from orchestrator.config import environment_settings
from orchestrator.config.explain import fields as fields_of
from orchestrator.config.scaling_policy import settings_of
from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.permits import Exchange
from orchestrator.lifecycle.scaling.policy import Seen
from orchestrator.lifecycle.scaling.registry import BY_NAME, policy_class
from orchestrator.lifecycle.settings import EnvironmentSettings

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "autoscaling.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "spare_slots.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no section {title}"
    return found[1]


def with_autoscaling(small: str, autoscaling: str) -> str:
    below = f"\n        deployment: v1\n{indent(autoscaling, ' ' * 8)}"
    return small.replace(" {deployment: v1}\n", below)


@pytest.fixture(autouse=True)
def beside_the_file(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)


@pytest.mark.parametrize("autoscaling", blocks("yaml"))
def test_every_file_in_it_loads_and_its_policies_work(loaded, small, autoscaling, monkeypatch):
    config = loaded(with_autoscaling(small, autoscaling))
    # As `orchestrator up` does for the processes of a cluster.
    monkeypatch.syspath_prepend(Path.cwd())
    compiled = environment_settings("echo", "production", config.models["echo"], config.telemetry)
    queue = EnvironmentQueue(EnvironmentSettings.from_mapping(compiled), "life", 0.0, 1.8e9)
    queue.tick(0.1)
    assert not queue.autoscaler.trouble


def test_the_policy_of_ones_own_does_what_its_text_says(loaded, small, monkeypatch):
    [mine] = [text for text in blocks("yaml") if "spare_slots" in text]
    config = loaded(with_autoscaling(small, mine))
    monkeypatch.syspath_prepend(Path.cwd())
    compiled = environment_settings("echo", "production", config.models["echo"], config.telemetry)
    queue = EnvironmentQueue(EnvironmentSettings.from_mapping(compiled), "life", 0.0)
    queue.tick(0.1)
    assert queue.decision.desired == 1
    # Four slots a replica: three requests and two spare need two.
    queue.exchange(Exchange("router", 1, in_use=3), 0.1)
    queue.tick(0.2)
    assert queue.decision.desired == 2
    assert queue.decision.reason == "SpareSlots: 3 requests and 2 spare, 4 a replica"


def test_the_example_refuses_a_setting_out_of_its_bounds(refused, small):
    [mine] = [text for text in blocks("yaml") if "spare_slots" in text]
    [problem] = refused(with_autoscaling(small, mine.replace("spare: 2", "spare: 0")))
    assert problem.path.endswith("autoscaling.policy[0].spare")
    assert problem.rule == "must be at least 1"


def test_the_class_in_it_is_the_file_beside_it():
    assert blocks("python") == [EXAMPLE.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", BY_NAME)
def test_every_policy_has_a_section_with_all_its_settings(name: str):
    text = section(name)
    known = fields_of(settings_of(policy_class(name)))
    assert [setting for setting in known if f"`{setting}`" not in text] == []


def test_all_that_a_policy_sees_is_listed():
    text = section("A policy of your own")
    names = [each.name for each in fields(Seen)]
    assert [name for name in names if f"`{name}`" not in text] == []

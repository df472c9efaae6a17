"""From a policy's name and settings to the policy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestrator.lifecycle.scaling.registry import (
    BY_NAME,
    PolicyElsewhereError,
    PolicyError,
    make,
    policy_class,
)
from orchestrator.lifecycle.settings import AutoscalingSettings, PolicySpec
from tests.unit.lifecycle.scaling.policies import HERE, Fixed


@pytest.mark.parametrize("name", BY_NAME)
def test_every_policy_that_comes_with_the_system_is_there(name: str):
    assert callable(policy_class(name).wish)


def test_a_class_of_ones_own_is_made_with_its_settings():
    assert make(PolicySpec(f"{HERE}:Fixed", {"replicas": 7})) == Fixed(7)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("panik", 'it is none of concurrency, panic, queue_delay, .*, and no "module:Class"'),
        (f"{HERE}:Missing", f"module '{HERE}' has no class 'Missing'"),
        (f"{HERE}:HERE", "has no class 'HERE'"),
        (f"{HERE}:NoPolicy", r"class 'NoPolicy' has no method wish\(now, seen\)"),
        ("", "it is none of"),
    ],
)
def test_a_name_that_stands_for_no_policy(name: str, said: str):
    with pytest.raises(PolicyError, match=said):
        policy_class(name)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("import no_such_dependency", PolicyElsewhereError, "no_such_dependency"),
        ("raise SystemExit(3)", PolicyError, "importing broken raised SystemExit: 3"),
        ("1 / 0", PolicyError, "importing broken raised ZeroDivisionError: division by zero"),
        ("def (", PolicyError, "importing broken raised SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(tmp_path, monkeypatch, text, error, said):
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PolicyError, match=said) as caught:
        policy_class("broken:Policy")
    assert type(caught.value) is error


@pytest.mark.parametrize("name", ["nowhere:Policy", "orchestrator.lifecycle.nowhere.at:Policy"])
def test_a_module_that_is_not_here_may_be_elsewhere(name: str):
    with pytest.raises(PolicyElsewhereError, match="there is no module"):
        policy_class(name)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low": 2, "high": 1}, "its settings are not taken: ValueError: low must be at most high"),
        ({"low": 2}, "TypeError: .*missing 1 required keyword-only argument: 'high'"),
        ({"low": 1, "high": 2, "mid": 3}, "TypeError: .*unexpected keyword argument 'mid'"),
    ],
)
def test_settings_that_the_class_does_not_take(settings: dict[str, int], said: str):
    with pytest.raises(PolicyError, match=said):
        make(PolicySpec(f"{HERE}:Refusing", settings))


def test_a_queue_loads_only_the_policies_that_it_uses():
    code = (
        "import sys\n"
        "from orchestrator.lifecycle.environment_queue import EnvironmentQueue\n"
        "from orchestrator.lifecycle.settings import EnvironmentSettings\n"
        "EnvironmentQueue(EnvironmentSettings('m', 'e', 'v1'), 'life', 0.0)\n"
        "loaded = [m.rpartition('.')[2] for m in sys.modules if '.scaling.' in m]\n"
        "print(sorted({'concurrency', 'panic', 'predictive', 'schedule'} & set(loaded)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "['concurrency']\n"


def test_specs_may_be_plain_mappings():
    given = AutoscalingSettings.from_mapping(
        {"policies": [{"name": "panic", "settings": {"activation_scale": 2}}]}
    )
    assert given.policies == (PolicySpec("panic", {"activation_scale": 2}),)
    assert AutoscalingSettings().policies == (PolicySpec("concurrency"),)

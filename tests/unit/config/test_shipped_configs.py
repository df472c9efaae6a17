import importlib
import inspect
import re
from pathlib import Path

import pytest
from ray.serve.schema import ServeDeploySchema

from orchestrator.config import compile_serve, load

CONFIGS = Path(__file__).parents[3] / "configs"
FILES = sorted(set(CONFIGS.glob("**/*.yaml")) - set(CONFIGS.glob("experiments/**/*.yaml")))
"""Those that declare clusters."""


def variables(path: Path) -> dict[str, str]:
    """A value for each variable that a file refers to."""
    names = re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))
    return dict.fromkeys(names, "0123456789abcdef") | dict.fromkeys(
        ("STORE_URL", "ORCHESTRATOR_STORE_URL"), "rediss://:s3cret@store"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_loads_and_compiles(path):
    env = variables(path)
    compiled = compile_serve(load(path, env), env)
    ServeDeploySchema.model_validate(compiled)
    assert "s3cret" not in str(compiled)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_classes_that_a_file_names_take_its_arguments(path):
    config = load(path, variables(path))
    for model in config.models.values():
        for deployment in model.deployments.values():
            if deployment.runner.type == "python":
                module, _, name = deployment.runner.class_path.partition(":")
                cls = getattr(importlib.import_module(module), name)
                inspect.signature(cls).bind(**deployment.runner.arguments)


def test_quickstart_needs_no_secrets_and_stays_on_this_machine():
    config = load(CONFIGS / "quickstart.yaml", {})
    assert config.cluster.host == "127.0.0.1"
    assert {"echo", "llm", "worker"} <= config.models.keys()


def test_quickstart_wants_more_replicas_than_it_has_gpus():
    config = load(CONFIGS / "quickstart.yaml", {})
    autoscaling = config.models["worker"].environments["production"].autoscaling
    assert config.cluster.gpus is not None
    assert autoscaling.max_replica > config.cluster.gpus


def test_quickstart_may_call_receivers_on_this_machine_only():
    webhooks = load(CONFIGS / "quickstart.yaml", {}).webhooks
    assert webhooks.allow_http
    assert webhooks.allowed_networks == ["127.0.0.0/8"]


def test_production_survives_the_loss_of_any_one_process_of_ours():
    path = CONFIGS / "production.yaml"
    config = load(path, variables(path))
    assert config.store != "embedded"
    assert min(config.router.replicas, config.dispatcher.replicas) >= 2


def test_there_are_files_to_test():
    assert len(FILES) >= 3

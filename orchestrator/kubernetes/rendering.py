"""An overlay's documents and a config, to the documents that are applied: a pure function."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from orchestrator.config.deployment import CommandRunner
from orchestrator.config.problems import ConfigError
from orchestrator.kubernetes import fitting, groups, refusals, serving, stores, yaml_text
from orchestrator.kubernetes.documents import (
    CONTROL,
    named,
    ray_container,
    ray_service,
    worker_group,
)
from orchestrator.kubernetes.node_choice import Accelerators
from orchestrator.kubernetes.serving import own_store
from orchestrator.kubernetes.shapes import environments_of, shapes_of
from orchestrator.kubernetes.variables import from_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.config.schema import Config
    from orchestrator.kubernetes.documents import Document

NAMESPACE: Final = "orchestrator"

_CREDENTIALS: Final = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"),
}
"""Variables that a storage's own library looks for, by the scheme of `results.url`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is not in the config.

    Attributes:
        namespace: of everything.
        image: of the pods of Ray; None: as the overlay has it.
        accelerators: the labels of nodes that have them.
        most_gpus: of one node; None: not known.
    """

    namespace: str = NAMESPACE
    image: str | None = None
    accelerators: Accelerators = field(default_factory=Accelerators)
    most_gpus: int | None = None


def render(
    overlay: Sequence[Document], config: Config, env: Mapping[str, str], options: Options
) -> list[Document]:
    """The documents of a cluster; the same for the same arguments.

    Args:
        overlay: what its kustomization renders to, with the component external-redis
            where the config's store is somebody else's; not changed.
        config: a loaded config.
        env: environment variables, for the secrets and addresses that it refers to. Of
            keys only hashes, of addresses only where they are gets into the documents.
        options: what is not in the config.

    Raises:
        ConfigError: what cannot be expressed, every reason at once.
    """
    problems = refusals.problems(
        config,
        env,
        accelerators=options.accelerators,
        namespace=options.namespace,
        image=options.image,
        most_gpus=options.most_gpus,
    )
    if problems:
        raise ConfigError(problems)
    documents = copy.deepcopy(list(overlay))
    shapes = shapes_of(config)
    serve = serving.placed(config, env, shapes)
    groups.set_groups(documents, shapes.values(), options.accelerators)
    groups.set_control(documents, config)
    _set_outside(documents, config, env)
    fitting.set_settings(documents, config)
    fitting.set_times_to_end(documents, serve)
    if options.image is not None:
        fitting.set_image(documents, options.image)
    fitting.set_namespace(documents, options.namespace)
    ray_service(documents)["spec"]["serveConfigV2"] = yaml_text.dump(serve)
    return documents


def components_of(config: Config) -> list[str]:
    """Components that the config asks for by itself."""
    return [] if own_store(config) else ["external-redis"]


def remarks(config: Config, components: Sequence[str]) -> Iterator[str]:
    """What whoever applies it should know, in sentences."""
    if config.cluster.port != serving.PORT:
        yield (
            f"cluster.port ({config.cluster.port}) is of no account here: callers reach port "
            f"{serving.PORT} of the Service"
        )
    for name, _, deployment in environments_of(config):
        if deployment.resources.memory_gigabytes is None:
            yield (
                f"models.{name}: resources.memory_gigabytes is not set; its pods get 16 GB for "
                "each GPU, or without one 2 GB for each CPU that replicas ask for"
            )
        if isinstance(deployment.runner, CommandRunner):
            program = deployment.runner.command[0]
            yield f"models.{name}: the image must have {program!r} in it"
            if "model-downloads" not in components:
                yield (
                    f"models.{name}: its pods reach nothing outside; --component model-downloads "
                    "lets them load weights"
                )
    if not own_store(config) or config.cluster.gcs_store is not None:
        yield "narrow the network policies durable-from-* to the addresses of your servers"


def _set_outside(documents: list[Document], config: Config, env: Mapping[str, str]) -> None:
    """What control pods reach outside: stores, places for results, receivers of our own."""
    if not own_store(config):
        stores.use_external_store(documents, config, env)
    if config.cluster.gcs_store is not None:
        stores.use_external_gcs_store(documents, config, env)
    scheme = urlsplit(config.results.url or "").scheme
    container = ray_container(worker_group(documents, CONTROL))
    credentials = [from_secret(name, optional=True) for name in _CREDENTIALS.get(scheme, ())]
    container["env"] = [*container.get("env", []), *credentials]
    policy = named(documents, "NetworkPolicy", "webhooks")
    if policy is not None:
        policy["spec"]["egress"] += _receivers(config, policy["spec"]["egress"])


def _receivers(config: Config, there: list[Any]) -> list[dict[str, Any]]:
    """Rules for receivers of webhooks that are in networks of our own, or have no TLS."""
    rules = []
    if config.webhooks.allow_http:
        rules.append({**there[0], "ports": [{"protocol": "TCP", "port": 80}]})
    if config.webhooks.allowed_networks:
        blocks = [{"ipBlock": {"cidr": each}} for each in config.webhooks.allowed_networks]
        rules.append({"to": blocks})
    return rules

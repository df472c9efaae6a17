"""`serveConfigV2`: the compiled config, its parts placed on worker groups by label."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config.compiling import compile_serve
from orchestrator.config.routing import application_name
from orchestrator.config.store_address import EMBEDDED, EMBEDDED_VARIABLE
from orchestrator.kubernetes import yaml_text
from orchestrator.kubernetes.documents import CONTROL, GROUP, MODELS, PART
from orchestrator.kubernetes.shapes import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.config.schema import Config
    from orchestrator.kubernetes.shapes import Shape

PORT: Final = 8000
"""Where routers are reached in pods; callers see the Service's port."""

_ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104  # network policies say who reaches it
_NOBODYS_HASH: Final = "0" * 64
_START: Final = re.compile(r"^  serveConfigV2: \|\n", re.MULTILINE)


def placed(
    config: Config, env: Mapping[str, str], shapes: Mapping[str, Shape] | None = None
) -> dict[str, Any]:
    """A `ServeDeploySchema` dict for a cluster of Kubernetes.

    Args:
        config: a loaded config.
        env: environment variables, for the secrets of API keys, of which hashes go out.
        shapes: the worker groups of models, by key; None: there is one for all.

    Raises:
        ConfigError: a key's variable is not set, or holds no usable secret.
    """
    serve = compile_serve(config, env)
    serve["http_options"] = {"host": _ALL_ADDRESSES, "port": PORT}
    groups = _groups(config, shapes or {})
    for application in serve["applications"]:
        for deployment in application["deployments"]:
            where = {PART: CONTROL}
            if deployment["name"] == "Replica":
                where = {PART: MODELS, **groups.get(application["name"], {})}
            options = deployment["ray_actor_options"]
            options["label_selector"] = {**options.get("label_selector", {}), **where}
    return serve


def example(config: Config) -> dict[str, Any]:
    """The same without any secret, for a manifest that is public: its keys let nobody in."""
    secrets = {key.secret[2:-1]: _NOBODYS_HASH for key in config.auth.keys.values()}
    serve = placed(config, secrets)
    for application in serve["applications"]:
        for deployment in application["deployments"]:
            auth = deployment.get("user_config", {}).get("auth") or {}
            for key in auth.get("keys", {}).values():
                key["sha256"] = _NOBODYS_HASH
    return serve


def refreshed(manifest: str, serve: Mapping[str, Any]) -> str:
    """The text of a manifest whose last field is `serveConfigV2`, with another one.

    Raises:
        ValueError: it has no such field.
    """
    found = _START.search(manifest)
    if found is None:
        raise ValueError("it must end in the block `serveConfigV2: |` of a RayService")
    block = "".join(f"    {line}" for line in yaml_text.dump(serve).splitlines(keepends=True))
    return manifest[: found.end()] + block


def own_store(config: Config) -> bool:
    """Whether the manifests' own server is the store."""
    return config.store in {EMBEDDED, f"${{{EMBEDDED_VARIABLE}}}"}


def _groups(config: Config, shapes: Mapping[str, Shape]) -> dict[str, dict[str, str]]:
    """The label of the group of each environment, by the name of its application."""
    return {
        application_name(name, environment): {GROUP: shape.name}
        for name, model in config.models.items()
        for environment, settings in model.environments.items()
        if (shape := shapes.get(key_of(model.deployments[settings.deployment].resources)))
    }

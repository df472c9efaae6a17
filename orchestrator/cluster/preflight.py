"""Whether the nodes of an existing Ray cluster can run what a config declares.

Ray Serve reads its settings from the environment of each node's own processes, so
what a node lacks shows late, and somewhere else: as a router without HAProxy, or a
model that never loads. Here it is found before anything is deployed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.cluster.membership import DRAINING, Node
from orchestrator.cluster.node_survey import NO_ANSWER
from orchestrator.cluster.records import ClusterError
from orchestrator.cluster_secret import FEWEST_CHARACTERS, FILE_VARIABLE
from orchestrator.config.cluster import is_loopback
from orchestrator.config.deployment import PythonRunner
from orchestrator.config.section import GIGABYTE
from orchestrator.config.store_address import handed_on, variable_of
from orchestrator.release import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.config import Config
    from orchestrator.config.deployment import Deployment, Resources

_AT_LEAST: Final = frozenset(
    {
        "RAY_SERVE_HAPROXY_MAXCONN",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S",
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
    }
)
"""Settings of which a node may have more than a config needs."""

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PACKAGE: Final = "orchestrator.release"


class Lack(msgspec.Struct, frozen=True, order=True):
    """What one node lacks, and how to put it right."""

    node: str
    missing: str
    remedy: str


class UnfitNodesError(ClusterError):
    """Nodes lack what they need; the message is a table of it.

    Attributes:
        lacks: at least one.
    """

    def __init__(self, lacks: list[Lack]) -> None:
        self.lacks = lacks
        node = max(len(lack.node) for lack in lacks)
        missing = max(len(lack.missing) for lack in lacks)
        rows = (
            f"  {lack.node:<{node}}  {lack.missing:<{missing}}  {lack.remedy}" for lack in lacks
        )
        head = "nodes lack what they need, in the environment that `ray start` has there:"
        super().__init__("\n".join((head, *rows)))


def question(config: Config, settings: Mapping[str, str]) -> dict[str, Any]:
    """What each node is asked, for `node_survey.look`.

    Args:
        config: what is to be deployed.
        settings: environment variables that every node needs, with their values.
    """
    deployments = list(_deployed(config).values())
    variables = {name for deployment in deployments for name in _variables(deployment)}
    return {
        "variables": sorted(settings),
        "present": sorted({*_store_variable(config), *variables}),
        "modules": sorted({module for each in deployments for module in _modules(each)}),
        "distribution": DISTRIBUTION,
        "package": _PACKAGE,
        "secret": FILE_VARIABLE,
        "shortest": FEWEST_CHARACTERS,
    }


def lacks(
    config: Config,
    settings: Mapping[str, str],
    version: str,
    nodes: list[Node],
    answers: Mapping[str, Mapping[str, Any]],
) -> list[Lack]:
    """What the nodes lack, node by node; empty: all can run what they may be given.

    What only a model needs is asked of nodes that could hold a replica of it, and the
    store's address of those that may get a router or dispatcher.

    Args:
        config: what is to be deployed.
        settings: as for `question`.
        version: the release of this package that deploys.
        nodes: the cluster's.
        answers: to `question`, by the node's id; draining nodes need not be there.
    """
    found: list[Lack] = []
    for node in nodes:
        answer = answers.get(node.id)
        if answer is None or node.state == DRAINING:
            continue
        if NO_ANSWER in answer:
            found.append(Lack(str(node), "an answer", str(answer[NO_ANSWER])))
            continue
        wanted = (
            *_of_package(answer, version),
            *_of_settings(answer, settings),
            *_of_secret(answer, node),
            *_of_parts(answer, node, config),
            *_of_models(answer, node, config),
        )
        found += [Lack(str(node), missing, remedy) for missing, remedy in wanted]
    return [*found, *_differing_secrets(nodes, answers)]


def nowhere(config: Config, nodes: list[Node]) -> list[str]:
    """Environments of which no node that is there now could hold a replica."""
    return [
        name
        for name, deployment in _deployed(config).items()
        if not any(_holds(node, deployment.resources) for node in nodes)
    ]


def meets(labels: Mapping[str, str], selectors: Mapping[str, str]) -> bool:
    """Whether a node's labels are what Ray's label selectors ask for."""
    return all(_meets(labels.get(key), selector) for key, selector in selectors.items())


def _meets(value: str | None, selector: str) -> bool:
    wanted = selector.removeprefix("!")
    inside = re.fullmatch(r"in\((.*)\)", wanted)
    values = [each.strip() for each in inside[1].split(",")] if inside else [wanted]
    return (value in values) != selector.startswith("!")


def _of_package(answer: Mapping[str, Any], version: str) -> Iterator[tuple[str, str]]:
    has = answer["version"] or ("0+source" if answer["package"] else None)
    if not answer["package"]:
        yield DISTRIBUTION, f"install {DISTRIBUTION} {version}"
    elif has != version:
        yield (
            f"{DISTRIBUTION} {version}",
            f"it has {has}: install {version} there, or deploy with {has}",
        )


def _of_settings(
    answer: Mapping[str, Any], settings: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for name, wanted in sorted(settings.items()):
        has = answer["variables"].get(name)
        if has is None:
            yield name, f"set it to {wanted}"
        elif has != wanted and not (name in _AT_LEAST and _number(has) >= _number(wanted)):
            at_least = " or more" if name in _AT_LEAST else ""
            yield name, f"set it to {wanted}{at_least}; it is {has}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _of_secret(answer: Mapping[str, Any], node: Node) -> Iterator[tuple[str, str]]:
    secrets = answer["secrets"]
    if isinstance(secrets, str):
        yield FILE_VARIABLE, secrets
    elif secrets is None and not is_loopback(node.address):
        yield FILE_VARIABLE, "set it to the path of a file with the cluster's secret"


def _of_parts(answer: Mapping[str, Any], node: Node, config: Config) -> Iterator[tuple[str, str]]:
    placement = config.placement
    if meets(node.labels, placement.router) or meets(node.labels, placement.dispatcher):
        for name in _store_variable(config):
            if not answer["present"][name]:
                yield name, "set it to the store's address"


def _of_models(answer: Mapping[str, Any], node: Node, config: Config) -> Iterator[tuple[str, str]]:
    said: set[str] = set()
    for environment, deployment in _deployed(config).items():
        if not _holds(node, deployment.resources):
            continue
        for module in _modules(deployment):
            if not answer["modules"][module] and module not in said:
                said.add(module)
                yield (
                    f"module {module}",
                    f"install it, or add its folder to PYTHONPATH ({environment})",
                )
        for name in _variables(deployment):
            if not answer["present"][name] and name not in said:
                said.add(name)
                yield name, f"set it, as environment_variables of {environment} refer to it"


def _differing_secrets(
    nodes: list[Node], answers: Mapping[str, Mapping[str, Any]]
) -> Iterator[Lack]:
    """Nodes that would refuse what another one sends."""
    have = {
        str(node): answer["secrets"]
        for node in nodes
        if isinstance((answer := answers.get(node.id, {})).get("secrets"), list)
    }
    for node, accepted in have.items():
        refused = [other for other, secrets in have.items() if secrets[0] not in accepted]
        if refused:
            remedy = f"it has other secrets than {', '.join(refused)}: use the same file"
            yield Lack(node, FILE_VARIABLE, remedy)


def _deployed(config: Config) -> dict[str, Deployment]:
    """The deployment that each environment runs, by MODEL/ENVIRONMENT."""
    return {
        f"{name}/{environment}": model.deployments[settings.deployment]
        for name, model in config.models.items()
        for environment, settings in model.environments.items()
    }


def _store_variable(config: Config) -> list[str]:
    name = variable_of(handed_on(config.store))
    return [] if name is None else [name]


def _modules(deployment: Deployment) -> list[str]:
    runner = deployment.runner
    return [runner.class_path.partition(":")[0]] if isinstance(runner, PythonRunner) else []


def _variables(deployment: Deployment) -> list[str]:
    values = deployment.environment_variables.values()
    return [name for value in values for name in _REFERENCE.findall(value)]


def _holds(node: Node, resources: Resources) -> bool:
    """Whether a replica would have room on a node where nothing else runs."""
    needs = {"CPU": resources.num_cpus, "GPU": resources.num_gpus, **resources.custom}
    if resources.memory_gigabytes is not None:
        needs["memory"] = resources.memory_gigabytes * GIGABYTE
    if resources.accelerator_type is not None:
        needs[f"accelerator_type:{resources.accelerator_type}"] = 0.001
    has = node.total
    enough = all(amount <= has.get(name, 0) for name, amount in needs.items())
    return enough and meets(node.labels, resources.node_labels)

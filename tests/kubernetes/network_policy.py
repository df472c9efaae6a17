"""What a set of NetworkPolicies means: who may open a connection to whom.

As the API describes it (networking.k8s.io/v1): a pod that no policy selects for a
direction is open in it; a selected one is closed but for what any of its policies
allows; a connection between two pods needs the word of both. An `ipBlock` is taken
to hold for every address in it, those of pods too.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Labels = dict[str, str]


@dataclass(frozen=True)
class Pod:
    """An end of a connection that policies can select.

    Attributes:
        address: its IP.
        namespace: by name; the labels of namespaces are the world's.
        labels: its own.
        ports: the numbers of its container ports, by name.
    """

    address: str
    namespace: str
    labels: Labels = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outside:
    """An end that is no pod: only an ipBlock can mean it."""

    address: str


End = Pod | Outside


@dataclass(frozen=True)
class _Connection:
    source: End
    target: End
    port: int
    protocol: str


class Policies:
    """Policies in the cluster that they are in.

    Args:
        found: NetworkPolicy documents; others are ignored.
        namespaces: labels by name. Each namespace also has the label
            `kubernetes.io/metadata.name`, as the API server sees to.

    """

    def __init__(
        self, found: Iterable[Mapping[str, Any]], namespaces: Mapping[str, Labels]
    ) -> None:
        self._policies = [each for each in found if each["kind"] == "NetworkPolicy"]
        self._namespaces = {
            name: {**labels, "kubernetes.io/metadata.name": name}
            for name, labels in namespaces.items()
        }

    def allow(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to `port` of `target`."""
        wanted = _Connection(source, target, port, protocol)
        return self._lets(wanted, "Egress") and self._lets(wanted, "Ingress")

    def _lets(self, wanted: _Connection, direction: str) -> bool:
        """Whether the policies of one end let the other be its peer."""
        leaves = direction == "Egress"
        end, peer = (wanted.source, wanted.target) if leaves else (wanted.target, wanted.source)
        if isinstance(end, Outside):
            return True
        rules, peers = ("egress", "to") if leaves else ("ingress", "from")
        chosen = [each for each in self._policies if _selects(each, end, direction)]
        return not chosen or any(
            self._is_peer(each, rule.get(peers), peer) and _is_port(rule.get("ports"), wanted)
            for each in chosen
            for rule in each["spec"].get(rules) or []
        )

    def _is_peer(
        self, policy: Mapping[str, Any], peers: list[dict[str, Any]] | None, end: End
    ) -> bool:
        return not peers or any(self._matches(policy, peer, end) for peer in peers)

    def _matches(self, policy: Mapping[str, Any], peer: dict[str, Any], end: End) -> bool:
        if "ipBlock" in peer:
            return _is_inside(peer["ipBlock"], end.address)
        if isinstance(end, Outside):
            return False
        if "namespaceSelector" in peer:
            labels = self._namespaces.get(end.namespace, {})
            if not selects(peer["namespaceSelector"], labels):
                return False
        elif end.namespace != policy["metadata"]["namespace"]:
            return False
        return selects(peer.get("podSelector", {}), end.labels)


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a label selector means something with these labels; an empty one means all."""
    return all(
        labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()
    ) and all(_holds(each, labels) for each in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    key, operator = expression["key"], expression["operator"]
    match operator:
        case "In":
            return labels.get(key) in expression["values"]
        case "NotIn":
            return labels.get(key) not in expression["values"]
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            raise ValueError(f"no such operator of a label selector: {operator}")


def _selects(policy: Mapping[str, Any], pod: Pod, direction: str) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        direction in types
        and policy["metadata"]["namespace"] == pod.namespace
        and selects(spec["podSelector"], pod.labels)
    )


def _is_port(ports: list[dict[str, Any]] | None, wanted: _Connection) -> bool:
    return not ports or any(_covers(each, wanted) for each in ports)


def _covers(entry: dict[str, Any], wanted: _Connection) -> bool:
    if entry.get("protocol", "TCP") != wanted.protocol:
        return False
    first = entry.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        target = wanted.target
        return isinstance(target, Pod) and target.ports.get(first) == wanted.port
    return bool(first <= wanted.port <= entry.get("endPort", first))


def _is_inside(block: dict[str, Any], address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip in ipaddress.ip_network(block["cidr"]) and not any(
        ip in ipaddress.ip_network(hole) for hole in block.get("except") or []
    )

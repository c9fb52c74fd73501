"""What network policies let through, by the rules of Kubernetes: both ends agree, or no policy holds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from tests.deploy.cluster import Cluster, Pod, selects

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod of ours, something in another namespace, or an address outside of the cluster."""

    pod: Pod | None = None
    namespace: str = "fluxforge"
    address: str = ""


def passes(cluster: Cluster, source: End, target: End, port: int) -> bool:
    """Tell whether a connection is let through."""
    return _agrees(cluster, source, target, port, "Egress") and _agrees(cluster, target, source, port, "Ingress")


def _agrees(cluster: Cluster, own: End, other: End, port: int, way: str) -> bool:
    if own.pod is None:
        return True  # somebody else's policies
    labels = own.pod.labels
    specs = [one["spec"] for one in cluster.of("NetworkPolicy")]
    holding = [spec for spec in specs if way in spec["policyTypes"] and selects(spec["podSelector"], labels)]
    if not holding:
        return True
    peers = "to" if way == "Egress" else "from"
    return any(_lets(rule, peers, other, port) for spec in holding for rule in spec.get(way.lower(), ()))


def _lets(rule: Rule, peers: str, other: End, port: int) -> bool:
    is_peer = peers not in rule or any(_is(peer, other) for peer in rule[peers])
    numbers = {"telemetry": 9100}
    return is_peer and ("ports" not in rule or port in [numbers.get(one["port"], one["port"]) for one in rule["ports"]])


def _is(peer: Rule, other: End) -> bool:
    if block := peer.get("ipBlock"):
        return bool(other.address) and _within(other.address, block["cidr"], block.get("except", ()))
    if other.address:
        return False
    namespaces = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": "fluxforge"}})
    if not selects(namespaces, {"kubernetes.io/metadata.name": other.namespace}):
        return False
    return "podSelector" not in peer or (other.pod is not None and selects(peer["podSelector"], other.pod.labels))


def _within(address: str, block: str, excepted: Iterable[str]) -> bool:
    found = ip_address(address)
    return found in ip_network(block) and not any(found in ip_network(part) for part in excepted)

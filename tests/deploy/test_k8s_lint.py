"""The lint itself: of every rule there is a fault, planted into a faultless overlay, that it finds and names."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy import k8s_lint
from tests.deploy.cluster import Cluster, Manifest, needs_kustomize, overlay, template_of
from tests.deploy.k8s_lint import RULES, faults, the
from tests.deploy.k8s_schemas import refused

pytestmark = needs_kustomize
Plant = Callable[[Cluster], object]


def spec(cluster: Cluster, kind: str, name: str) -> Manifest:
    return the(cluster, kind, name)["spec"]


def pod(cluster: Cluster, kind: str = "Deployment", name: str = "etl-worker") -> Manifest:
    template = template_of(the(cluster, kind, name))
    assert template
    return template["spec"]


def container(cluster: Cluster, kind: str = "Deployment", name: str = "etl-worker") -> Manifest:
    return pod(cluster, kind, name)["containers"][0]


def put(tree: Any, path: str, value: object) -> None:
    """Set what stands at `a.0.b`."""
    *way, last = path.split(".")
    for step in way:
        tree = tree[int(step) if step.isdigit() else step]
    tree[int(last) if last.isdigit() else last] = value


def policy(name: str) -> Callable[[Cluster], Manifest]:
    return lambda cluster: spec(cluster, "NetworkPolicy", name)


def forget(cluster: Cluster, kind: str, name: str) -> None:
    assert isinstance(cluster.objects, list)
    cluster.objects.remove(the(cluster, kind, name))


PLANTED: list[tuple[str, str, Plant]] = [
    (
        "controllers_select_their_template",
        "its selector does not mean its own pods",
        lambda c: put(
            spec(c, "Deployment", "etl-worker"), "selector.matchLabels", {"app.kubernetes.io/component": "etl"}
        ),
    ),
    (
        "controllers_select_nothing_else",
        "means pods of StatefulSet collector-kraken, too",
        lambda c: spec(c, "StatefulSet", "collector-binanceus")["selector"]["matchLabels"].pop("fluxforge.io/exchange"),
    ),
    (
        "selectors_mean_a_pod",
        "Service segmenter: selects no pod",
        lambda c: put(spec(c, "Service", "segmenter"), "selector", {"app.kubernetes.io/component": "sealer"}),
    ),
    (
        "selectors_mean_a_pod",
        "PodDisruptionBudget etl-worker: selects no pod",
        lambda c: put(spec(c, "PodDisruptionBudget", "etl-worker"), "selector.matchLabels", {"app": "etl-worker"}),
    ),
    (
        "selectors_mean_a_pod",
        "NetworkPolicy services-to-bus (peer): selects no pod",
        lambda c: put(
            policy("services-to-bus")(c), "egress.0.to.0.podSelector.matchLabels", {"app.kubernetes.io/name": "natz"}
        ),
    ),
    (
        "selectors_mean_a_pod",
        "PodMonitor fluxforge: selects no pod",
        lambda c: put(
            spec(c, "PodMonitor", "fluxforge"), "selector.matchLabels", {"app.kubernetes.io/part-of": "forge"}
        ),
    ),
    (
        "selectors_mean_a_pod",
        "(spread): selects no pod",
        lambda c: put(pod(c), "topologySpreadConstraints.0.labelSelector.matchExpressions.0.values", ["etl"]),
    ),
    (
        "named_ports_exist",
        "Service segmenter: StatefulSet segmenter has no port metrics",
        lambda c: put(spec(c, "Service", "segmenter"), "ports.0.targetPort", "metrics"),
    ),
    (
        "named_ports_exist",
        "(probe): Deployment etl-worker has no port http",
        lambda c: put(container(c), "livenessProbe.httpGet.port", "http"),
    ),
    (
        "named_ports_exist",
        "PodMonitor fluxforge: Deployment compactor has no port metrics",
        lambda c: put(spec(c, "PodMonitor", "fluxforge"), "podMetricsEndpoints.0.port", "metrics"),
    ),
    (
        "named_ports_exist",
        "NetworkPolicy telemetry: none of its pods has a port metrics",
        lambda c: put(policy("telemetry")(c), "ingress.0.ports.0.port", "metrics"),
    ),
    (
        "what_pods_refer_to_exists",
        "there is no ServiceAccount etl",
        lambda c: put(pod(c), "serviceAccountName", "etl"),
    ),
    (
        "what_pods_refer_to_exists",
        "there is no PriorityClass fluxforge-capture",
        lambda c: forget(c, "PriorityClass", "fluxforge-capture"),
    ),
    (
        "what_pods_refer_to_exists",
        "there is no ConfigMap fluxforge-config",
        lambda c: put(pod(c), "volumes.0.configMap.name", "fluxforge-config"),
    ),
    (
        "what_pods_refer_to_exists",
        "Secret fluxforge-nats has no etl-worker",
        lambda c: put(pod(c), "volumes.1.secret.items.0.key", "etl-worker"),
    ),
    (
        "what_pods_refer_to_exists",
        "there is no Secret fluxforge-s3",
        lambda c: put(container(c), "env.0.valueFrom.secretKeyRef.optional", value=False),
    ),
    (
        "mounts_have_a_volume",
        "mounts cache, which is no volume of it",
        lambda c: put(container(c), "volumeMounts.3.name", "cache"),
    ),
    (
        "stateful_sets_have_their_service",
        "there is no headless Service segmenter",
        lambda c: spec(c, "Service", "segmenter").pop("clusterIP"),
    ),
    (
        "budgets_say_one_thing",
        "exactly one of minAvailable and maxUnavailable",
        lambda c: put(spec(c, "PodDisruptionBudget", "etl-worker"), "minAvailable", 0),
    ),
    (
        "budgets_let_nodes_be_drained",
        "would let no node be drained",
        lambda c: put(spec(c, "PodDisruptionBudget", "segmenter"), "maxUnavailable", 0),
    ),
    ("pods_are_restricted", "may run as root", lambda c: pod(c)["securityContext"].pop("runAsNonRoot")),
    ("pods_are_restricted", "no seccompProfile", lambda c: pod(c)["securityContext"].pop("seccompProfile")),
    ("pods_are_restricted", "mounts a token", lambda c: pod(c).pop("automountServiceAccountToken")),
    ("pods_are_restricted", "shares a namespace of its host", lambda c: put(pod(c), "hostNetwork", value=True)),
    (
        "pods_are_restricted",
        "mounts a path of its host",
        lambda c: put(pod(c), "volumes.3", {"name": "scratch", "hostPath": {"path": "/srv"}}),
    ),
    (
        "containers_are_restricted",
        "may gain privileges",
        lambda c: container(c)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    (
        "containers_are_restricted",
        "keeps capabilities",
        lambda c: put(container(c), "securityContext.capabilities.drop", ["NET_RAW"]),
    ),
    (
        "containers_are_restricted",
        "may write to its root",
        lambda c: container(c)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    (
        "containers_are_restricted",
        "takes a port of its host",
        lambda c: put(container(c), "ports.0.hostPort", 9100),
    ),
    ("resources_are_set", "requests no processor", lambda c: container(c)["resources"]["requests"].pop("cpu")),
    ("resources_are_set", "has no limit of memory", lambda c: container(c)["resources"].pop("limits")),
    ("images_are_pinned", "is not pinned", lambda c: put(container(c), "image", "fluxforge/etl-worker:latest")),
    ("images_are_pinned", "is not pinned", lambda c: put(container(c), "image", "registry:5000/etl-worker")),
    (
        "services_are_probed",
        "StatefulSet segmenter: no startupProbe",
        lambda c: container(c, "StatefulSet", "segmenter").pop("startupProbe"),
    ),
    (
        "whoever_scales_decides_alone",
        "`replicas` beside a ScaledObject",
        lambda c: put(spec(c, "Deployment", "etl-worker"), "replicas", 2),
    ),
    (
        "whoever_scales_decides_alone",
        "there is no Deployment etl",
        lambda c: put(spec(c, "ScaledObject", "etl-worker"), "scaleTargetRef.name", "etl"),
    ),
    (
        "scaling_asks_for_the_consumer_there_is",
        "asks for",
        lambda c: put(spec(c, "ScaledObject", "etl-worker"), "triggers.0.metadata.consumer", "etl-worker"),
    ),
    (
        "every_object_is_in_the_namespace",
        "Service segmenter: is not in the namespace",
        lambda c: put(the(c, "Service", "segmenter"), "metadata.namespace", "default"),
    ),
    (
        "no_secret_is_written_down",
        "does not belong into manifests",
        lambda c: put(the(c, "Service", "segmenter"), "kind", "Secret"),
    ),
]


@pytest.mark.parametrize(("rule", "says", "plant"), PLANTED, ids=[f"{rule}-{says}" for rule, says, _ in PLANTED])
def test_a_planted_fault_is_found_by_its_rule(rule: str, says: str, plant: Plant) -> None:
    cluster = overlay("production")
    plant(cluster)
    assert any(says in fault for fault in getattr(k8s_lint, rule)(cluster))
    assert any(says in fault for fault in faults(cluster))


def test_every_rule_has_been_seen_to_find_something() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _, _ in PLANTED}


def test_a_pod_that_is_placed_beside_nobody_is_found() -> None:
    cluster = overlay("single-node")
    where = "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution.0.labelSelector.matchLabels"
    put(pod(cluster), where, {"app.kubernetes.io/component": "sealer"})
    assert "Deployment etl-worker (affinity): selects no pod" in faults(cluster)


def test_a_volume_nobody_made_is_found() -> None:
    cluster = overlay("single-node")
    forget(cluster, "PersistentVolumeClaim", "fluxforge-data")
    assert "Deployment compactor: there is no PersistentVolumeClaim fluxforge-data" in faults(cluster)


MISSPELT = [
    ("Deployment", "etl-worker", "template.spec.containers.0.livenessProbe.periodSecond", 5),
    ("StatefulSet", "segmenter", "podManagementPolicie", "Parallel"),
    ("NetworkPolicy", "dns", "egress.0.port", []),
    ("ScaledObject", "etl-worker", "maxReplicas", 8),
    ("ScaledObject", "etl-worker", "triggers.0.metadata.lagTreshold", "4"),
    ("ScaledObject", "etl-worker", "triggers.0.metadata.lagThreshold", 4),
    ("ScaledObject", "etl-worker", "triggers.0.metadata.natsServerMonitoringEndpoint", "http://nats:8222"),
    ("PodMonitor", "fluxforge", "podMetricsEndpoints.0.scrapeInterval", "15s"),
    ("PodMonitor", "fluxforge", "podMetricsEndpoints.0.interval", "15"),
    ("PrometheusRule", "fluxforge", "groups.0.rules.0.annotation", {}),
]


@pytest.mark.parametrize(("kind", "name", "path", "value"), MISSPELT, ids=[path for _, _, path, _ in MISSPELT])
def test_a_misspelt_field_is_refused(kind: str, name: str, path: str, value: object) -> None:
    one = the(overlay("production"), kind, name)
    assert refused(one) is None
    put(one["spec"], path, value)
    assert refused(one)

"""What a real cluster would refuse or never do, and a schema does not see. Each rule yields one sentence per fault."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fluxforge.adapters.jetstream import work_queue
from tests.deploy.cluster import Cluster, Manifest, Pod, named, selects, template_of

Faults = Iterator[str]
_CONTROLLERS = ("Deployment", "StatefulSet")


def controllers_select_their_template(cluster: Cluster) -> Faults:
    for one in cluster.of(*_CONTROLLERS):
        template = template_of(one)
        assert template
        if not selects(one["spec"]["selector"], template["metadata"]["labels"]):
            yield f"{named(one)}: its selector does not mean its own pods"


def controllers_select_nothing_else(cluster: Cluster) -> Faults:
    for one in cluster.of(*_CONTROLLERS):
        others = [pod.owner for pod in cluster.selected(one["spec"]["selector"]) if pod.owner != named(one)]
        if others:
            yield f"{named(one)}: its selector means pods of {', '.join(others)}, too"


def selectors(cluster: Cluster) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every selector of pods outside of controllers, with its place."""
    for one in cluster.of("Service"):
        yield named(one), {"matchLabels": one["spec"]["selector"]}
    for one in cluster.of("PodDisruptionBudget", "PodMonitor"):
        yield named(one), one["spec"]["selector"]
    for one in cluster.of("NetworkPolicy"):
        yield named(one), one["spec"]["podSelector"]
        rules = [*one["spec"].get("ingress", ()), *one["spec"].get("egress", ())]
        peers = [peer for rule in rules for peer in (*rule.get("from", ()), *rule.get("to", ()))]
        for peer in peers:
            if "podSelector" in peer and "namespaceSelector" not in peer:
                yield f"{named(one)} (peer)", peer["podSelector"]
    for pod in cluster.pods():
        for term in pod.spec.get("topologySpreadConstraints", ()):
            yield f"{pod.owner} (spread)", term["labelSelector"]
        affinity = pod.spec.get("affinity", {}).get("podAffinity", {})
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", ()):
            yield f"{pod.owner} (affinity)", term["labelSelector"]


def selectors_mean_a_pod(cluster: Cluster) -> Faults:
    for place, selector in selectors(cluster):
        if not cluster.selected(selector):
            yield f"{place}: selects no pod"


def named_ports_exist(cluster: Cluster) -> Faults:
    for one in cluster.of("Service"):
        wanted = {str(port["targetPort"]) for port in one["spec"]["ports"]}
        yield from _without_ports(named(one), cluster.selected({"matchLabels": one["spec"]["selector"]}), wanted)
    for one in cluster.of("PodMonitor"):
        wanted = {endpoint["port"] for endpoint in one["spec"]["podMetricsEndpoints"]}
        yield from _without_ports(named(one), cluster.selected(one["spec"]["selector"]), wanted)
    for one in cluster.of("NetworkPolicy"):
        ports = [port["port"] for rule in one["spec"].get("ingress", ()) for port in rule.get("ports", ())]
        pods = [pod for pod in cluster.selected(one["spec"]["podSelector"]) if pod.spec]
        for port in {port for port in ports if isinstance(port, str)}:
            if not any(port in pod.ports for pod in pods):
                yield f"{named(one)}: none of its pods has a port {port}"
    for pod in cluster.pods():
        for container in pod.containers:
            probes = [container[key]["httpGet"]["port"] for key in container if key.endswith("Probe")]
            yield from _without_ports(f"{pod.owner} (probe)", [pod], {str(port) for port in probes})


def _without_ports(place: str, pods: list[Pod], wanted: set[str]) -> Faults:
    for pod in pods:
        if pod.spec and (missing := wanted - pod.ports):
            yield f"{place}: {pod.owner} has no port {', '.join(sorted(missing))}"


def what_pods_refer_to_exists(cluster: Cluster) -> Faults:
    for pod in cluster.pods():
        account = pod.spec.get("serviceAccountName", "default")
        if account != "default" and not cluster.has("ServiceAccount", account):
            yield f"{pod.owner}: there is no ServiceAccount {account}"
        priority = pod.spec.get("priorityClassName")
        if priority and not cluster.has("PriorityClass", priority):
            yield f"{pod.owner}: there is no PriorityClass {priority}"
        for kind, name, keys, optional in _sources(pod):
            found = cluster.find(kind, name)
            if found is None:
                if not optional:
                    yield f"{pod.owner}: there is no {kind} {name}"
                continue
            if missing := keys - {*found.get("data", ()), *found.get("stringData", ())}:
                yield f"{pod.owner}: {kind} {name} has no {', '.join(sorted(missing))}"


def _sources(pod: Pod) -> Iterator[tuple[str, str, set[str], bool]]:
    """Yield what a pod takes values and volumes from: kind, name, keys, and whether it may be absent."""
    for volume in pod.spec.get("volumes", ()):
        for source, kind, name in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            if at := volume.get(source):
                yield kind, at[name], {item["key"] for item in at.get("items", ())}, at.get("optional", False)
    for container in pod.containers:
        yield from _variables(container)


def _variables(container: Mapping[str, Any]) -> Iterator[tuple[str, str, set[str], bool]]:
    for source, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
        for variable in container.get("env", ()):
            if at := variable.get("valueFrom", {}).get(f"{source}KeyRef"):
                yield kind, at["name"], {at["key"]}, at.get("optional", False)
        for group in container.get("envFrom", ()):
            if at := group.get(f"{source}Ref"):
                yield kind, at["name"], set(), at.get("optional", False)


def mounts_have_a_volume(cluster: Cluster) -> Faults:
    for one in cluster.objects:
        if not (template := template_of(one)):
            continue
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        volumes = claims | {volume["name"] for volume in template["spec"].get("volumes", ())}
        for container in template["spec"]["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
            if mounted - volumes:
                yield f"{named(one)}: mounts {', '.join(sorted(mounted - volumes))}, which is no volume of it"


def stateful_sets_have_their_service(cluster: Cluster) -> Faults:
    for one in cluster.of("StatefulSet"):
        service = cluster.find("Service", one["spec"]["serviceName"])
        if service is None or service["spec"].get("clusterIP") != "None":
            yield f"{named(one)}: there is no headless Service {one['spec']['serviceName']}"


def budgets_say_one_thing(cluster: Cluster) -> Faults:
    for one in cluster.of("PodDisruptionBudget"):
        if len({"minAvailable", "maxUnavailable"} & one["spec"].keys()) != 1:
            yield f"{named(one)}: exactly one of minAvailable and maxUnavailable"


def budgets_let_nodes_be_drained(cluster: Cluster) -> Faults:
    for one in cluster.of("PodDisruptionBudget"):
        if one["spec"].get("maxUnavailable") == 0 or "minAvailable" in one["spec"]:
            yield f"{named(one)}: of a single pod it would let no node be drained"


def pods_are_restricted(cluster: Cluster) -> Faults:
    for pod in cluster.pods():
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{pod.owner}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.owner}: no seccompProfile RuntimeDefault"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: mounts a token of the Kubernetes API"
        if any(pod.spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{pod.owner}: shares a namespace of its host"
        if any("hostPath" in volume for volume in pod.spec.get("volumes", ())):
            yield f"{pod.owner}: mounts a path of its host"


def containers_are_restricted(cluster: Cluster) -> Faults:
    for pod in cluster.pods():
        for container in pod.containers:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{pod.owner}: may gain privileges"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{pod.owner}: keeps capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{pod.owner}: may write to its root"
            if any("hostPort" in port for port in container.get("ports", ())):
                yield f"{pod.owner}: takes a port of its host"


def resources_are_set(cluster: Cluster) -> Faults:
    for pod in cluster.pods():
        for container in pod.containers:
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
                yield f"{pod.owner}: requests no processor or memory"
            if "memory" not in resources.get("limits", {}):
                yield f"{pod.owner}: has no limit of memory"


def images_are_pinned(cluster: Cluster) -> Faults:
    for pod in cluster.pods():
        for container in pod.containers:
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            if tag in ("", "latest", "dev"):
                yield f"{pod.owner}: image {container['image']} is not pinned"


def services_are_probed(cluster: Cluster) -> Faults:
    for one in cluster.of(*_CONTROLLERS):
        template = template_of(one)
        assert template
        for container in template["spec"]["containers"]:
            if missing := {"startupProbe", "readinessProbe", "livenessProbe"} - container.keys():
                yield f"{named(one)}: no {', '.join(sorted(missing))}"


def whoever_scales_decides_alone(cluster: Cluster) -> Faults:
    for one in cluster.of("ScaledObject"):
        target = cluster.find("Deployment", one["spec"]["scaleTargetRef"]["name"])
        if target is None:
            yield f"{named(one)}: there is no Deployment {one['spec']['scaleTargetRef']['name']}"
        elif "replicas" in target["spec"]:
            yield f"{named(target)}: `replicas` beside a ScaledObject"


def scaling_asks_for_the_consumer_there_is(cluster: Cluster) -> Faults:
    expected = {"stream": work_queue.STREAM, "consumer": work_queue.CONSUMER, "account": "$G"}
    for one in cluster.of("ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            found = {key: trigger["metadata"].get(key) for key in expected}
            if found != expected:
                yield f"{named(one)}: asks for {found}, not for {expected}"


def every_object_is_in_the_namespace(cluster: Cluster) -> Faults:
    for one in cluster.objects:
        outside = one["kind"] in ("Namespace", "PriorityClass")
        if not outside and one["metadata"].get("namespace") != "fluxforge":
            yield f"{named(one)}: is not in the namespace fluxforge"


def no_secret_is_written_down(cluster: Cluster) -> Faults:
    for one in cluster.of("Secret"):
        yield f"{named(one)}: a secret does not belong into manifests"


RULES: tuple[Callable[[Cluster], Faults], ...] = (
    controllers_select_their_template,
    controllers_select_nothing_else,
    selectors_mean_a_pod,
    named_ports_exist,
    what_pods_refer_to_exists,
    mounts_have_a_volume,
    stateful_sets_have_their_service,
    budgets_say_one_thing,
    budgets_let_nodes_be_drained,
    pods_are_restricted,
    containers_are_restricted,
    resources_are_set,
    images_are_pinned,
    services_are_probed,
    whoever_scales_decides_alone,
    scaling_asks_for_the_consumer_there_is,
    every_object_is_in_the_namespace,
    no_secret_is_written_down,
)


def faults(cluster: Cluster) -> list[str]:
    """Return every fault that any rule finds."""
    return [fault for rule in RULES for fault in rule(cluster)]


def the(cluster: Cluster, kind: str, name: str) -> Manifest:
    """Return the object of that name, which must be there."""
    found = cluster.find(kind, name)
    assert found, f"there is no {kind} {name}"
    return found

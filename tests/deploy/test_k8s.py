"""Kubernetes: both overlays are of valid form, whole, and carry the configuration and the rules of the product."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tools.prometheus_rule import RULES, TARGET, prometheus_rule

from fluxforge.adapters.jetstream import work_queue
from fluxforge.runtime import settings
from fluxforge.runtime.lifecycle import ON_SIGNAL
from fluxforge.runtime.settings.lanes import configured_lanes
from tests.deploy.cluster import HOME, OVERLAYS, ROOT, Cluster, needs_kustomize, overlay, rendered, secrets, template_of
from tests.deploy.k8s_lint import faults, the
from tests.deploy.k8s_schemas import refused

pytestmark = needs_kustomize
SERVICES = {"segmenter", "etl-worker", "compactor"}


@pytest.fixture(params=OVERLAYS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cluster(name: str) -> Cluster:
    return overlay(name)


def config_of(cluster: Cluster, directory: Path) -> settings.Settings:
    """Load what the services of an overlay find at /etc/fluxforge, as they do."""
    (mounted,) = (one for one in cluster.of("ConfigMap") if "config.yaml" in one["data"])
    path = directory / "config.yaml"
    path.write_text(mounted["data"]["config.yaml"])
    return settings.load(path)


def test_every_object_is_of_the_form_that_the_api_takes(cluster: Cluster) -> None:
    assert [why for one in cluster.objects if (why := refused(one))] == []


def test_nothing_is_amiss_that_a_schema_does_not_see(cluster: Cluster) -> None:
    assert faults(cluster) == []


def test_the_secrets_are_of_valid_form_and_differ_each_time() -> None:
    first, second = secrets(), secrets()
    assert [why for one in first if (why := refused(one))] == []
    assert [one["metadata"]["name"] for one in first] == ["fluxforge-nats", "fluxforge-nats-server"]
    assert not set(first[1]["stringData"].values()) & set(second[1]["stringData"].values())


def test_a_service_signs_in_with_the_password_that_the_server_knows() -> None:
    services, server = (one["stringData"] for one in secrets())
    for user, credentials in services.items():
        assert credentials == f"{user}:{server[f'FLUXFORGE_NATS_{user.upper()}_PASSWORD']}"


def test_the_product_takes_the_configuration(cluster: Cluster, tmp_path: Path) -> None:
    tree = config_of(cluster, tmp_path)
    assert (tree.telemetry.host, tree.telemetry.port) == ("0.0.0.0", 9100)
    assert str(tree.nats.credentials_file) == "/run/secrets/fluxforge/credentials"
    assert not tree.nats.unsafe_durability


def test_there_is_a_collector_for_every_configured_shard(cluster: Cluster, tmp_path: Path) -> None:
    wanted = {str(lane) for lane in configured_lanes(config_of(cluster, tmp_path))}
    labels = [pod.labels for pod in cluster.pods() if pod.labels["app.kubernetes.io/component"] == "collector"]
    found = ["-".join(each[f"fluxforge.io/{part}"] for part in ("source", "exchange", "shard")) for each in labels]
    assert sorted(found) == sorted(wanted)


def test_every_service_is_told_its_configuration_and_signs_in_as_itself(cluster: Cluster) -> None:
    for pod in cluster.pods():
        component = pod.labels["app.kubernetes.io/component"]
        if component == "nats":
            continue
        (container,) = pod.containers
        at = container["args"].index("--config")
        assert container["args"][at + 1] == "/etc/fluxforge/config.yaml"
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert volumes[mounts["/etc/fluxforge"]]["configMap"]["name"].startswith("fluxforge-config-"), "rolls on change"
        user = "operator" if component == "console" else component.replace("-", "_")
        signed = volumes[mounts["/run/secrets/fluxforge"]]["secret"]
        assert signed["items"] == [{"key": user, "path": "credentials"}]


def test_a_pod_is_not_killed_before_its_drain_has_ended(cluster: Cluster) -> None:
    for pod in cluster.pods():
        assert pod.spec["terminationGracePeriodSeconds"] >= 2 * ON_SIGNAL.hard_s


def test_the_streams_fit_on_the_disk_of_the_single_node(tmp_path: Path) -> None:
    cluster = overlay("single-node")
    tree = config_of(cluster, tmp_path)
    lanes = len(configured_lanes(tree))
    (conf,) = (one["data"]["nats.conf"] for one in cluster.of("ConfigMap") if "nats.conf" in one["data"])
    assert "max_file_store: 36GB" in conf
    assert "sync_interval: always" in conf
    # Two epochs of each lane may stand at a time, and 1 GB holds events and buckets.
    assert 2 * lanes * tree.nats.lane_max_bytes + 10**9 <= 36 * 10**9
    (claim,) = the(cluster, "StatefulSet", "nats")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "40Gi"


def test_on_one_node_all_who_hold_data_share_a_volume_and_are_placed_together(tmp_path: Path) -> None:
    cluster = overlay("single-node")
    storage = config_of(cluster, tmp_path).storage
    places = {
        storage.ingestion_storage.base_dir,
        storage.etl_storage_input.base_dir,
        storage.etl_storage_output.base_dir,
    }
    assert places == {Path("/data")}
    for kind, name in (("StatefulSet", "segmenter"), ("Deployment", "etl-worker"), ("Deployment", "compactor")):
        template = template_of(the(cluster, kind, name))
        assert template
        (container,) = template["spec"]["containers"]
        assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
        assert {"name": "data", "persistentVolumeClaim": {"claimName": "fluxforge-data"}} in template["spec"]["volumes"]
        assert ("affinity" in template["spec"]) == (name != "segmenter")


def test_in_production_nothing_is_kept_on_a_node(tmp_path: Path) -> None:
    cluster = overlay("production")
    tree = config_of(cluster, tmp_path)
    stores = (tree.storage.ingestion_storage, tree.storage.etl_storage_input, tree.storage.etl_storage_output)
    assert {store.backend for store in stores} == {settings.Backend.S3}
    assert stores[0] == stores[1], "the workers read what is sealed"
    assert tree.nats.stream_replicas == 3


def test_scaling_asks_where_every_server_can_be_asked_by_name() -> None:
    (scaled,) = overlay("production").of("ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["natsServerMonitoringEndpoint"] == "nats-headless.fluxforge.svc.cluster.local:8222"
    assert (trigger["metadata"]["stream"], trigger["metadata"]["consumer"]) == (work_queue.STREAM, work_queue.CONSUMER)


def test_prometheus_gets_the_jobs_that_rules_and_dashboards_name() -> None:
    cluster = overlay("production")
    (monitor,) = cluster.of("PodMonitor")
    label = monitor["spec"]["jobLabel"]
    assert {pod.labels[label] for pod in cluster.selected(monitor["spec"]["selector"])} == {"collector", *SERVICES}


def test_the_rules_are_those_that_promtool_has_tested() -> None:
    written = yaml.safe_load(TARGET.read_text())
    assert written == prometheus_rule(), "run: python -m tools.prometheus_rule"
    groups = {
        group["name"]: group for path in RULES.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]
    }
    (found,) = overlay("production").of("PrometheusRule")
    assert {group["name"]: group for group in found["spec"]["groups"]} == groups
    assert len(groups) == len(found["spec"]["groups"]) > 0


def test_nothing_may_be_reached_but_what_a_policy_names() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in overlay("production").of("NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    cluster = overlay("production")
    to_exchanges = cluster.selected(policies["collectors-to-exchanges"]["podSelector"])
    assert {pod.labels["app.kubernetes.io/component"] for pod in to_exchanges} == {"collector"}
    to_store = cluster.selected(policies["services-to-object-store"]["podSelector"])
    assert {pod.labels["app.kubernetes.io/component"] for pod in to_store} == {*SERVICES, "console"}


def test_a_component_can_be_built_alone_with_the_base(tmp_path: Path) -> None:
    """Whoever wants but one of the components gets it: none leans on another."""
    for component in ("keda", "monitoring", "network-policies"):
        directory = tmp_path / component
        directory.mkdir()
        base, at = (os.path.relpath(HOME / part, directory) for part in ("base", f"components/{component}"))
        (directory / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], "components": [at]}))
        assert rendered(directory)


def test_the_pages_and_scripts_name_what_there_is() -> None:
    script = HOME / "secrets.sh"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    assert (ROOT / "docs" / "kubernetes.md").exists()

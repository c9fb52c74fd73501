"""What the pods do, as far as it can be told without a cluster: whom they may talk to, and what they start."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.cluster import OVERLAYS, Cluster, Pod, native, needs_kustomize, overlay
from tests.deploy.commands import parsed
from tests.deploy.k8s_schemas import refused
from tests.deploy.k8s_traffic import End, passes

pytestmark = needs_kustomize
INTERNET = End(address="203.0.113.7")
INSIDE = End(address="10.0.0.7")
DNS = End(namespace="kube-system")
KEDA = End(namespace="keda")
PROMETHEUS = End(namespace="monitoring")
STRANGER = End(namespace="default")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return overlay("production")


def ends(cluster: Cluster, component: str) -> list[End]:
    found = [pod for pod in cluster.pods() if pod.labels["app.kubernetes.io/component"] == component]
    assert found
    return [End(pod) for pod in found]


@pytest.fixture(scope="module")
def bus(cluster: Cluster) -> End:
    return End(*cluster.foreign)


def test_every_service_reaches_the_bus_and_its_monitoring(cluster: Cluster, bus: End) -> None:
    for pod in cluster.pods():
        assert passes(cluster, End(pod), bus, 4222), pod.owner
        assert passes(cluster, End(pod), bus, 8222), pod.owner
        assert passes(cluster, End(pod), DNS, 53), pod.owner
    assert passes(cluster, bus, bus, 6222)
    assert passes(cluster, bus, DNS, 53)


def test_collectors_alone_reach_exchanges_and_nothing_inside(cluster: Cluster) -> None:
    for end in ends(cluster, "collector"):
        assert passes(cluster, end, INTERNET, 443)
        assert passes(cluster, end, INTERNET, 9443)
        assert not passes(cluster, end, INSIDE, 443)
        assert not passes(cluster, end, INTERNET, 22)
    for component in ("segmenter", "etl-worker", "compactor", "provision"):
        assert not passes(cluster, ends(cluster, component)[0], INTERNET, 9443)


def test_whoever_stores_reaches_the_store(cluster: Cluster, bus: End) -> None:
    for component in ("segmenter", "etl-worker", "compactor", "console"):
        assert passes(cluster, ends(cluster, component)[0], INTERNET, 443)
        assert passes(cluster, ends(cluster, component)[0], INSIDE, 443)
    assert not passes(cluster, ends(cluster, "provision")[0], INTERNET, 443)
    assert not passes(cluster, bus, INTERNET, 443)


def test_prometheus_and_keda_reach_what_they_ask(cluster: Cluster, bus: End) -> None:
    for component in ("collector", "segmenter", "etl-worker", "compactor"):
        for end in ends(cluster, component):
            assert passes(cluster, PROMETHEUS, end, 9100)
            assert not passes(cluster, STRANGER, end, 9100)
            assert not passes(cluster, ends(cluster, "provision")[0], end, 9100)
    assert passes(cluster, KEDA, bus, 8222)
    assert not passes(cluster, KEDA, bus, 4222)
    assert passes(cluster, PROMETHEUS, bus, 7777)
    assert not passes(cluster, STRANGER, bus, 4222)
    assert not passes(cluster, STRANGER, bus, 8222)


def test_a_policy_that_is_missing_is_missed(bus: End) -> None:
    cluster = overlay("production")
    kept = [one for one in cluster.objects if one["metadata"]["name"] != "services-to-bus"]
    assert not passes(Cluster(kept, foreign=cluster.foreign), End(cluster.pods()[0]), bus, 4222)
    kept = [one for one in cluster.objects if one["metadata"]["name"] != "default-deny"]
    assert passes(Cluster(kept, foreign=cluster.foreign), ends(cluster, "provision")[0], bus, 4222)


def variables(pod: Pod) -> Iterator[tuple[str, str]]:
    """Yield the variables of a pod that stand in its labels."""
    for variable in pod.containers[0].get("env", ()):
        if at := variable.get("valueFrom", {}).get("fieldRef"):
            yield variable["name"], pod.labels[at["fieldPath"].removeprefix("metadata.labels['").removesuffix("']")]


def words_of(pod: Pod) -> Iterator[str]:
    """Yield the command line of a pod's container as it is started; a variable nobody sets would stay as it is."""
    known = dict(variables(pod))
    for word in pod.containers[0]["command"] + pod.containers[0]["args"]:
        yield re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], word)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_starts_something_that_understands_its_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    for pod in overlay(name).pods():
        if pod.labels["app.kubernetes.io/component"] == "nats":
            continue
        arguments = parsed(list(words_of(pod)), monkeypatch)
        assert str(arguments["config"]) == "/etc/fluxforge/config.yaml"
        if "exchange" in arguments:
            assert (arguments["source"], arguments["exchange"], arguments["shard"]) == labels_of(pod)
            started.append(arguments["source"])
    assert set(started) == {"ccxt"}


def labels_of(pod: Pod) -> tuple[str, ...]:
    return tuple(pod.labels[f"fluxforge.io/{part}"] for part in ("source", "exchange", "shard"))


def test_a_source_without_ccxt_is_started_and_reaches_what_it_talks_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = native(tmp_path)
    assert [why for one in cluster.objects if (why := refused(one))] == []
    ibkr, databento = sorted(ends(cluster, "collector"), key=lambda end: labels_of(pod_of(end)), reverse=True)
    for end, source, exchange in ((ibkr, "ibkr", "ibkr"), (databento, "databento", "glbxmdp3")):
        arguments = parsed(list(words_of(pod_of(end))), monkeypatch)
        assert (arguments["source"], arguments["exchange"]) == (source, exchange)
        assert passes(cluster, end, INTERNET, 443)
    for port in (4001, 4002, 7496, 7497):
        assert passes(cluster, ibkr, INSIDE, port)
        assert not passes(cluster, databento, INTERNET, port)
    assert passes(cluster, databento, INTERNET, 13000)
    assert not passes(cluster, databento, INSIDE, 13000)
    assert not passes(cluster, ibkr, INTERNET, 13000)


def pod_of(end: End) -> Pod:
    assert end.pod
    return end.pod


@pytest.mark.parametrize(
    "words",
    [
        "python -m fluxforge_segmenter --configuration x",
        "python -m fluxforge_collector --config x",
        "fluxforge health --configuration x",
        "fluxforge helth --config x",
    ],
)
def test_arguments_nobody_knows_are_refused(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parsed(words.split(), monkeypatch)

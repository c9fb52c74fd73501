"""What `kubectl apply -k` would send: a rendered overlay, and the pods its objects would make."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "deploy" / "k8s"
OVERLAYS = ("single-node", "production")
NATIVE = ("exchanges/ibkr", "exchanges/glbxmdp3")

Manifest = dict[str, Any]


def _renderer() -> list[str] | None:
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    return [kustomize, "build"] if (kustomize := shutil.which("kustomize")) else None


needs_kustomize = pytest.mark.skipif(_renderer() is None, reason="neither kubectl nor kustomize is there")


@cache
def rendered(directory: Path) -> str:
    """Return what a kustomization makes, as text."""
    renderer = _renderer()
    assert renderer
    done = subprocess.run([*renderer, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def secrets() -> list[Manifest]:
    """Return the secrets that are made by hand: never part of an overlay."""
    printed = subprocess.run([HOME / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    return list(yaml.safe_load_all(printed))


@dataclass(frozen=True)
class Pod:
    """A pod that a workload would make, or one that comes from somewhere else (`spec` empty)."""

    owner: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        return [*self.spec.get("initContainers", ()), *self.spec.get("containers", ())]

    @property
    def ports(self) -> set[str]:
        return {port["name"] for container in self.containers for port in container.get("ports", ())}


NATS_OF_CHART = Pod("the chart's StatefulSet nats", {"app.kubernetes.io/name": "nats"}, {})


@dataclass(frozen=True)
class Cluster:
    """The objects of an overlay, with those that must be there before it."""

    objects: Sequence[Manifest]
    before: Sequence[Manifest] = ()
    foreign: Sequence[Pod] = ()

    def of(self, *kinds: str) -> Iterator[Manifest]:
        return (one for one in self.objects if one["kind"] in kinds)

    def has(self, kind: str, name: str) -> bool:
        return self.find(kind, name) is not None

    def find(self, kind: str, name: str) -> Manifest | None:
        every = (*self.objects, *self.before)
        return next((one for one in every if (one["kind"], one["metadata"]["name"]) == (kind, name)), None)

    def pods(self) -> list[Pod]:
        """Return the pods of our own workloads."""
        return [
            Pod(named(one), template["metadata"].get("labels", {}), template["spec"])
            for one in self.objects
            if (template := template_of(one))
        ]

    def selected(self, selector: Mapping[str, Any]) -> list[Pod]:
        """Return the pods that a label selector means, those from elsewhere too."""
        return [pod for pod in (*self.pods(), *self.foreign) if selects(selector, pod.labels)]


def named(one: Manifest) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def template_of(one: Manifest) -> Manifest | None:
    """Return the pod template of a workload, or None of anything else."""
    spec = one.get("spec", {})
    if one["kind"] == "CronJob":
        return spec["jobTemplate"]["spec"]["template"]
    return spec["template"] if one["kind"] in ("Deployment", "StatefulSet", "Job") else None


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector means something with these labels."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(_holds(term, labels) for term in selector.get("matchExpressions", ()))


def _holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert term["operator"] == "In", "no other operator is used"
    return labels.get(term["key"]) in term["values"]


def native(directory: Path) -> Cluster:
    """Return the collectors of sources without ccxt, which are in no overlay, under the network policies.

    `directory` is one of the test's own.
    """
    here = {"namespace": "fluxforge"}
    places = {
        name: os.path.relpath(HOME / name, directory.resolve()) for name in (*NATIVE, "components/network-policies")
    }
    *exchanges, policies = places.values()
    (directory / "kustomization.yaml").write_text(
        yaml.safe_dump({**here, "resources": exchanges, "components": [policies]})
    )
    return Cluster(list(yaml.safe_load_all(rendered(directory))), secrets(), (NATS_OF_CHART,))


def overlay(name: str) -> Cluster:
    """Return an overlay, freshly parsed."""
    objects = list(yaml.safe_load_all(rendered(HOME / "overlays" / name)))
    has_own_bus = any(named(one) == "StatefulSet nats" for one in objects)
    return Cluster(objects, secrets(), () if has_own_bus else (NATS_OF_CHART,))

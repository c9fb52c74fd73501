"""The compose file as text: what it promises about every container, its variables, its configurations, its images."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxforge.runtime.settings import load
from fluxforge.runtime.settings.lanes import configured_lanes

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "docker-compose.yml").read_text()
TREE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = TREE["services"]
EXAMPLE = (DEPLOY / ".env.example").read_text()
DOCKERFILES = sorted([*ROOT.glob("services/*/Dockerfile"), ROOT / "cli" / "Dockerfile"])
ONE_SHOT = {"provision", "cli"}
OURS = "fluxforge/"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_EXAMPLE = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)

each_service = pytest.mark.parametrize("name", SERVICES)
each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)


def defaults(text: str) -> dict[str, set[str]]:
    """Every variable of a compose file, with the defaults it is given there."""
    found: dict[str, set[str]] = {}
    for name, default in _VARIABLE.findall(text):
        found.setdefault(name, set()).add(default)
    return found


def test_every_variable_stands_in_the_example_with_the_default_it_has() -> None:
    used = defaults(TEXT)
    assert all(len(values) == 1 for values in used.values()), "one variable, one default"
    listed = dict(_EXAMPLE.findall(EXAMPLE))
    assert listed.pop("COMPOSE_PROFILES") == "demo"  # compose's own
    assert listed == {name: next(iter(values)) for name, values in used.items()}


def test_a_variable_without_a_default_would_be_seen() -> None:
    assert defaults("a: ${A:-1}\nb: ${B}\nc: ${A:-2}") == {"A": {"1", "2"}, "B": {""}}


def test_the_script_writes_a_password_of_its_own_for_every_one_of_the_example(tmp_path: Path) -> None:
    written = []
    for path in (tmp_path / "one", tmp_path / "two"):
        subprocess.run(["sh", DEPLOY / "env.sh", path], check=True)
        assert path.stat().st_mode & 0o777 == 0o600
        written.append(dict(_EXAMPLE.findall(path.read_text())))
    example = dict(_EXAMPLE.findall(EXAMPLE))
    secret = {name for name, value in example.items() if value.startswith("change-me")}
    assert secret == {name for name in example if name.endswith("_PASSWORD") or name == "AWS_SECRET_ACCESS_KEY"}
    for environment in written:
        assert {name for name, value in environment.items() if value != example[name]} == secret
    made = [environment[name] for environment in written for name in secret]
    assert len(set(made)) == 2 * len(secret)
    assert all(re.fullmatch("p[0-9a-f]{48}", password) for password in made)


def test_the_script_leaves_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    done = subprocess.run(["sh", DEPLOY / "env.sh", path], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert str(path) in done.stderr
    assert path.read_text() == "MINE=1\n"


@each_service
def test_a_container_is_kept_small(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service or name == "seaweedfs"
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["stop_grace_period"] in {"30s", "90s"}
    assert "container_name" not in service, "it could not be scaled"
    assert "privileged" not in service


@each_service
def test_an_image_is_pinned_and_a_port_is_on_loopback_alone(name: str) -> None:
    service = SERVICES[name]
    pinned = r"(?!fluxforge/)[a-z/]+:v?\d+\.\d+(\.\d+)?(-alpine)?|fluxforge/[a-z-]+:\$\{FLUXFORGE_VERSION:-dev\}"
    assert re.fullmatch(pinned, service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@each_service
def test_what_runs_on_is_asked_how_it_is_and_started_again(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        return
    assert service["restart"] == "unless-stopped"
    built = ROOT / service["build"]["dockerfile"] if "build" in service else None
    assert "healthcheck" in service or (built and "HEALTHCHECK" in built.read_text())


def test_volumes_are_named_and_none_is_left_unused() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service["volumes"]]
    mounted = {volume.partition(":")[0] for volume in volumes if isinstance(volume, str)}
    named = {volume for volume in mounted if re.fullmatch(r"\w+", volume)}
    assert named | {"data"} == set(TREE["volumes"])


def test_each_service_signs_in_as_itself() -> None:
    users = {
        name: service["environment"].get("FLUXFORGE__NATS__USER")
        for name, service in SERVICES.items()
        if "environment" in service
    }
    assert {name: user for name, user in users.items() if user} == {
        "provision": "provision",
        "segmenter": "segmenter",
        "etl-worker": "etl_worker",
        "compactor": "compactor",
        "collector-binanceus": "collector",
        "collector-kraken": "collector",
        "collector-demo": "collector",
        "cli": "operator",
    }


@pytest.mark.parametrize("name", ["demo", "live"])
def test_a_configuration_is_valid_and_every_exchange_of_it_has_its_collector(name: str) -> None:
    settings = load(DEPLOY / "config" / f"{name}.yaml")
    collected = {
        tuple(service["command"][-3::2])
        for service in SERVICES.values()
        if service.get("profiles") == [name] and "--config" in service.get("command", ())
    }
    assert collected == {(lane.source, lane.exchange) for lane in configured_lanes(settings)}
    assert settings.nats.servers == ("nats://nats:4222",)
    assert (settings.telemetry.host, settings.telemetry.port) == ("0.0.0.0", 9100)


def test_the_configurations_differ_only_in_what_is_collected_and_how_soon_it_is_seen() -> None:
    demo, live = (load(DEPLOY / "config" / f"{name}.yaml") for name in ("demo", "live"))
    assert demo.storage == live.storage
    assert demo.etl == live.etl
    assert demo.retention == live.retention


@each_dockerfile
def test_an_image_installs_from_the_lock_and_runs_without_root(path: Path) -> None:
    text = path.read_text()
    pinned = next(
        one
        for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
        if one.startswith("uv==")
    )
    assert pinned in text
    assert "uv sync --frozen --no-dev" in text
    assert "USER 10001:10001" in text
    assert "# syntax" not in text, "it would fetch an image"
    assert "HEALTHCHECK" not in text or "--start-period=" in text, "an exchange may be slow to list its markets"
    assert {line.split()[1] for line in text.splitlines() if line.startswith("FROM")} == {"python:3.11-slim-bookworm"}


def test_every_service_has_an_image_and_every_dockerfile_is_built() -> None:
    built = {service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service}
    assert built == {str(path.relative_to(ROOT)) for path in DOCKERFILES}

"""The engine and the images: what this machine has, what can be built, and what is missing for what reason."""

import http.client
import json
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from typing_extensions import override

ROOT: Final = Path(__file__).resolve().parents[2]
COMPOSE_FILE: Final = ROOT / "deploy" / "docker-compose.yml"
STAND_INS: Final = ROOT.parent / "shared" / "tools" / "make-base-images.sh"
"""Builds images of the upstream names from packages, where no registry can be reached."""
_PYTHON: Final = "python:3.11-slim-bookworm"
_PULL_S: Final = 600
_BUILD_S: Final = 1200


@dataclass(frozen=True, slots=True)
class Reading:
    """What a container has used of the processor, s, and holds in memory without file cache, bytes."""

    cpu_s: float
    memory_bytes: int


class MissingError(Exception):
    """Something without which nothing can be run here."""


def run(*command: str | Path, timeout_s: float = 120, check: bool = True, **more: str) -> str:
    """Run a command; return its stdout. AssertionError with all that it said where it failed."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "DOCKER_BUILDKIT": "1", **more},
    )
    assert done.returncode == 0 or not check, (
        f"{' '.join(map(str, command))}: {done.returncode}\n{done.stderr}{done.stdout}"
    )
    return done.stdout


def require_engine() -> None:
    """Return where an engine and compose v2 are at hand; MissingError else."""
    if shutil.which("docker") is None:
        raise MissingError("no docker on the PATH")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        raise MissingError("no Docker engine answers (docker info)")
    if not _has_compose() and STAND_INS.exists():
        run(STAND_INS, "plugins", timeout_s=_BUILD_S)
    if not _has_compose():
        raise MissingError("docker has no compose v2 plugin")


def require_images() -> frozenset[str]:
    """Build our images; return the upstream images that can be had neither from a registry nor as stand-ins."""
    base = {_PYTHON}
    named = set(run("docker", "compose", "-f", COMPOSE_FILE, "--profile", "*", "config", "--images").split())
    absent = {image for image in base | named if not image.startswith("fluxforge/") and not _obtain(image)}
    if absent & base:
        raise MissingError(f"{_PYTHON} can neither be pulled nor be built here")
    if any(image.startswith("nats:") for image in absent):
        raise MissingError("the image of nats can neither be pulled nor be built here")
    run("docker", "compose", "-f", COMPOSE_FILE, "--profile", "*", "build", "--quiet", timeout_s=_BUILD_S)
    return frozenset(absent)


def services_of(profiles: tuple[str, ...], absent: frozenset[str]) -> list[str]:
    """Return the services of these profiles whose images there are."""
    chosen = [part for profile in profiles for part in ("--profile", profile)]
    text = run("docker", "compose", "-f", COMPOSE_FILE, *chosen, "config", "--format", "json")
    return [name for name, service in json.loads(text)["services"].items() if service["image"] not in absent]


def _has_compose() -> bool:
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def _obtain(image: str) -> bool:
    def is_here() -> bool:
        return not subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode

    if is_here():
        return True
    subprocess.run(["docker", "pull", "--quiet", image], capture_output=True, check=False, timeout=_PULL_S)
    if not is_here() and STAND_INS.exists() and os.geteuid() == 0:
        run(STAND_INS, image, timeout_s=_BUILD_S, check=False)
    return is_here()


class _Daemon(http.client.HTTPConnection):
    """The engine's own interface, which tells more than its command does."""

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(_address())


@cache
def _address() -> str:
    url = run("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    return urlsplit(url.strip()).path


def read(container: str) -> Reading:
    """Return what a container takes now, as `docker stats` counts it."""
    daemon = _Daemon("engine")
    daemon.request("GET", f"/containers/{container}/stats?stream=false&one-shot=true")
    stats = json.loads(daemon.getresponse().read())
    daemon.close()
    usage = stats["memory_stats"]
    cache = usage["stats"].get("total_inactive_file", usage["stats"].get("inactive_file", 0))
    return Reading(stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, usage["usage"] - cache)

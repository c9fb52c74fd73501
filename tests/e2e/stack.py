"""A project of the shipped compose file with a name and ports of its own, and what a person would ask it."""

import json
import os
import secrets
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.engine import COMPOSE_FILE, run, services_of

PROFILES: Final = ("demo", "observability")
PIPELINE: Final = ("nats", "segmenter", "etl-worker", "compactor", "collector-demo")
UP_S: Final = 180.0
_POLL_S: Final = 0.5
_PORTS: Final = {f"FLUXFORGE_{name}_PORT": "0" for name in ("PROMETHEUS", "GRAFANA", "S3")}
"""Any free one: projects may run side by side."""


class Stack:
    """One project. `absent`: images that cannot be had; their services are left out."""

    def __init__(
        self,
        absent: frozenset[str],
        *,
        profiles: tuple[str, ...] = PROFILES,
        more: Path | None = None,
        **variables: str,
    ) -> None:
        """Name it. `more`: a compose file over the shipped one; `variables` as in .env."""
        self.project = f"ff-e2e-{secrets.token_hex(3)}"
        self.services = services_of(profiles, absent)
        self._files = [part for file in (COMPOSE_FILE, more) if file for part in ("-f", str(file))]
        self._profiles = [part for profile in (*profiles, "tools") for part in ("--profile", profile)]
        self._variables = _PORTS | variables

    @contextmanager
    def running(self, session: pytest.Session | None = None) -> Iterator["Stack"]:
        """Have it up and healthy meanwhile; its logs are printed where a test of the session failed."""
        try:
            self.up()
            yield self
        finally:
            if session and session.testsfailed:
                print(self.compose("logs", "--tail", "200", check=False))
            self.compose("down", "--volumes", "--timeout", "5", timeout_s=UP_S)

    def compose(self, *arguments: str, timeout_s: float = UP_S, check: bool = True) -> str:
        """Run `docker compose` on the project; return its stdout."""
        return run(*self.command(*arguments), timeout_s=timeout_s, check=check, **self._variables)

    def command(self, *arguments: str) -> list[str]:
        """Return the words of `docker compose` on the project."""
        return ["docker", "compose", "-p", self.project, *self._files, *self._profiles, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which they are run."""
        return {**os.environ, **self._variables}

    def up(self, *more: str) -> None:
        """Bring everything up and wait until it is healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(int(UP_S)), *more, *self.services)

    def cli(self, *arguments: str, check: bool = True) -> str:
        """Run the `fluxforge` command in the project."""
        return self.compose("run", "--rm", "--no-TTY", "--no-deps", "cli", *arguments, check=check)

    def audit(self, *arguments: str) -> dict[str, Any]:
        """Return what `fluxforge audit --json` says."""
        found: dict[str, Any] = json.loads(self.cli("audit", "--json", *arguments, check=False))
        return found

    def balanced(self, more_than: int = 0) -> dict[str, int] | None:
        """Return the totals of the audit where its books close with more records in Parquet than so many.

        Where they do not, as while parts are being placed, it is None, and what the audit found is printed.
        """
        found = self.audit()
        if not found["balanced"]:
            print(found["findings"])
        totals: dict[str, int] = found["totals"]
        return totals if found["balanced"] and totals["in_parquet"] > more_than else None

    def containers(self) -> list[dict[str, Any]]:
        """Return all containers of the project as the engine describes them."""
        ids = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split()
        found: list[dict[str, Any]] = json.loads(run("docker", "inspect", *ids)) if ids else []
        return [one for one in found if one["Config"]["Labels"]["com.docker.compose.oneoff"] == "False"]

    def of(self, service: str) -> list[dict[str, Any]]:
        """Return the containers of a service."""
        return [one for one in self.containers() if one["Config"]["Labels"]["com.docker.compose.service"] == service]

    def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Return what Prometheus says: labels and value of each series."""
        found = self.ask("query", query=expr)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def ask(self, what: str, **form: str) -> dict[str, Any]:
        """Return the data of an answer of Prometheus' API."""
        url = f"{self.prometheus}/api/v1/{what}?{urllib.parse.urlencode(form)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    @property
    def prometheus(self) -> str:
        """Where Prometheus answers."""
        return f"http://{self.compose('port', 'prometheus', '9090').strip()}"


def until(what: str, condition: Callable[[], Any], patience_s: float = 120.0) -> Any:
    """Poll until a condition holds; return what it returned. AssertionError with its last value where it never does."""
    deadline = time.monotonic() + patience_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:.0f} s, was {found!r}"
        time.sleep(_POLL_S)


def look_on(seconds: float, look: Callable[[], object]) -> None:
    """Look again and again for so long: for what must stay as it is, or is highest meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        look()
        time.sleep(_POLL_S)

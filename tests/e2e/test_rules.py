"""The rules and their tests, by the promtool of the Prometheus that the compose file names."""

from pathlib import Path

import pytest
import yaml

from tests.e2e.engine import COMPOSE_FILE, run

HOME = COMPOSE_FILE.parent / "prometheus"
IMAGE = yaml.safe_load(COMPOSE_FILE.read_text())["services"]["prometheus"]["image"]


@pytest.fixture
def image(absent: frozenset[str]) -> str:
    """Prometheus, where it can be had."""
    if IMAGE in absent:
        pytest.skip(f"{IMAGE} can neither be pulled nor be built here")
    return str(IMAGE)


def promtool(image: str, *arguments: str | Path) -> str:
    """Run promtool beside the rules."""
    mounted = ("--volume", f"{HOME}:/rules:ro", "--workdir", "/rules", "--entrypoint", "promtool")
    return run("docker", "run", "--rm", *mounted, image, *arguments)


def test_configuration_and_rules_are_accepted(image: str) -> None:
    assert "is valid prometheus config file syntax" in promtool(
        image, "check", "config", "--lint=all", "prometheus.yml"
    )


@pytest.mark.parametrize("path", sorted((HOME / "tests").glob("*_test.yml")), ids=lambda path: path.stem)
def test_every_alert_fires_and_is_quiet_when_it_should(image: str, path: Path) -> None:
    assert "SUCCESS" in promtool(image, "test", "rules", path.relative_to(HOME))

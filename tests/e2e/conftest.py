"""Fixtures of the proofs in a real engine: images once, and a running project for each module that asks for one.

Run by `make e2e`; `make test` passes them over, for they build images and take minutes.
"""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.engine import MissingError, require_engine, require_images
from tests.e2e.stack import Stack

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e", action="store_true", help="run the compose file in the Docker engine of this machine")
    parser.addoption("--pictures", metavar="DIR", type=Path, help="e2e: draw the dashboards into this directory")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--e2e", default=False):
        skip = pytest.mark.skip(reason="run by make e2e")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def absent(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Build what there is to build, one process of the run after the other; the images that cannot be had here."""
    try:
        with (tmp_path_factory.getbasetemp().parent / "images.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            require_engine()
            return require_images()
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def demo(absent: frozenset[str], request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A project of its own with the profiles demo and observability, up and healthy; removed afterwards."""
    with Stack(absent).running(request.session) as stack:
        yield stack

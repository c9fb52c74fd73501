"""A backup as docs/operations.md tells it, restored into an empty project."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.engine import run
from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(600)
KEPT = ("data", "nats", "spool")


@pytest.fixture
def alone(absent: frozenset[str], request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A project that nobody else looks at."""
    with Stack(absent).running(failed=lambda: request.session.testsfailed > 0) as stack:
        yield stack


def tar(stack: Stack, volume: str, folder: Path, *arguments: str) -> None:
    """Run tar as root on a volume of the project, beside a directory of this machine."""
    mounts = ("-v", f"{stack.project}_{volume}:/volume", "-v", f"{folder}:/backup")
    run("docker", "run", "--rm", "--user", "0", *mounts, "--entrypoint", "tar", "fluxforge/cli:dev", *arguments)


def test_what_was_backed_up_is_there_again_and_goes_on(alone: Stack, tmp_path: Path) -> None:
    until("records in Parquet", lambda: alone.audit()["totals"]["in_parquet"] > 0)
    alone.compose("stop")
    before = alone.audit()
    for volume in KEPT:
        tar(alone, volume, tmp_path, "-C", "/volume", "-cf", f"/backup/{volume}.tar", ".")
    alone.compose("down", "--volumes")

    for volume in KEPT:
        tar(alone, volume, tmp_path, "-C", "/volume", "-xpf", f"/backup/{volume}.tar")
    assert alone.audit()["totals"] == before["totals"]
    alone.up()
    more = until("balanced books with more records", lambda: more_than(alone, before["totals"]["captured"]))
    assert more["lanes"][0]["boots"], "the lane went on"


def more_than(stack: Stack, captured: int) -> dict[str, object] | None:
    """Return the audit where its books close and more is in Parquet than had been captured."""
    found = stack.audit()
    return found if found["balanced"] and found["totals"]["in_parquet"] > captured else None

"""The same on an object store: two variables of .env move everything there."""

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stored(absent: frozenset[str], request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A project that keeps its data on SeaweedFS."""
    stack = Stack(absent, profiles=("demo", "observability", "s3"), FLUXFORGE_STORAGE="s3")
    if "seaweedfs" not in stack.services:
        pytest.skip("the image of seaweedfs can neither be pulled nor be built here")
    with stack.running(request.session):
        yield stack


def test_segments_and_datasets_are_on_the_store_and_a_killed_store_loses_nothing(stored: Stack) -> None:
    before = until("balanced books", stored.balanced)["in_parquet"]
    assert not stored.compose("exec", "--no-TTY", "segmenter", "find", "/data", "-name", "*.parquet")
    stored.compose("kill", "--signal", "KILL", "seaweedfs")
    stored.up("--no-recreate")
    until("balanced books with new records", lambda: stored.balanced(before))
    until("metrics of the store", lambda: stored.query('up{job="seaweedfs"} == 1'))

"""Which of these tests run in a full run only."""

import pytest


@pytest.fixture
def full_run(*, is_full: bool) -> None:
    """Skip the test in a bounded run."""
    if not is_full:
        pytest.skip("takes long: --faults full runs it")

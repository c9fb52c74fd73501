"""What all fault tests have in common."""

import pytest

_HERE = "tests/faults/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the judged end of a fault be its result.

    nats-py leaves the socket of a connection attempt that was not answered to the garbage collector: Python says so.
    """
    for item in items:
        if item.nodeid.startswith(_HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))

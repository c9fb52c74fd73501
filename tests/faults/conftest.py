"""What all fault tests have in common."""

import pytest

_HERE = "tests/faults/"
_LONGEST = ("test_kills", "test_collector_kills", "call_of_a_commit", "test_terms", "test_succession", "test_mix")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the judged end of a fault be its result, and let a full run begin with what takes longest.

    nats-py leaves the socket of a connection attempt that was not answered to the garbage collector: Python says so,
    in whatever test of the process comes next.
    """
    is_full = config.getoption("--faults") == "full"
    for item in items:
        if is_full or item.nodeid.startswith(_HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
    if is_full:
        items.sort(key=lambda item: [mark not in item.nodeid for mark in _LONGEST])
        # Each process is dealt an equal share of the list to begin with, and takes from the others' later.
        processes = getattr(config, "workerinput", {}).get("workercount", 1)
        items[:] = [item for first in range(processes) for item in items[first::processes]]

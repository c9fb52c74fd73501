"""What becomes of the system when containers are killed, stopped and removed: everything is there afterwards."""

import pytest

from tests.e2e.stack import PIPELINE, Stack, until

pytestmark = pytest.mark.timeout(900)
RIGHT_AWAY_S = 60.0


def settled(stack: Stack, more_than: int = 0) -> int:
    """Wait until the books close with more records in Parquet than so many; return how many they are."""
    return int(until("balanced books", lambda: stack.balanced(more_than))["in_parquet"])


@pytest.mark.parametrize("service", [*PIPELINE, "simulator", "prometheus"])
def test_a_killed_container_comes_back_and_the_books_close(demo: Stack, service: str) -> None:
    before = settled(demo)
    demo.compose("kill", "--signal", "KILL", service)
    assert [one["State"]["ExitCode"] for one in demo.of(service)] == [137]
    demo.up("--no-recreate")
    settled(demo, more_than=before)


@pytest.mark.parametrize("service", ["nats", "collector-demo"])
def test_a_process_that_dies_is_started_again_by_the_engine(demo: Stack, service: str) -> None:
    before = settled(demo)
    restarts = demo.of(service)[0]["RestartCount"]
    demo.compose("exec", "--no-TTY", service, "sh", "-c", "kill -9 -1", check=False)
    until("a restart", lambda: demo.of(service)[0]["RestartCount"] > restarts, RIGHT_AWAY_S)
    until("health", lambda: demo.of(service)[0]["State"]["Health"]["Status"] == "healthy", RIGHT_AWAY_S)
    settled(demo, more_than=before)


def test_stopped_containers_end_in_order_and_nothing_is_lost_with_them(demo: Stack) -> None:
    before = settled(demo)
    demo.compose("stop")
    codes = {one["Name"]: one["State"]["ExitCode"] for one in demo.containers()}
    assert set(codes.values()) == {0}, codes
    demo.compose("down")
    assert not demo.containers()
    demo.up()
    settled(demo, more_than=before)

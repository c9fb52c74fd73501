"""Workers come and go under load; at the end every frame that the exchange sent stands in Parquet once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.timeout(900)
BUSY = Path(__file__).with_name("busy.yml")
BACKLOG = 40
WORKERS = 4


@pytest.fixture
def busy(absent: frozenset[str], request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A project whose exchange is lively, and which seals a segment every second."""
    with Stack(absent, more=BUSY).running(request.session) as stack:
        yield stack


def segments(stack: Stack) -> int:
    """How many segments were sealed."""
    return int(stack.audit()["totals"]["segments"])


def shares(stack: Stack) -> list[float]:
    """The segments that each worker of now has brought into Parquet."""
    return [
        value
        for _, value in stack.query("fluxforge_etl_worker_segments_total{job='etl-worker'} and on(instance) up == 1")
    ]


def scale(stack: Stack, workers: int) -> None:
    """Have so many workers, all healthy."""
    stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", f"etl-worker={workers}", "etl-worker")
    assert len([one for one in stack.of("etl-worker") if one["State"]["Running"]]) == workers


def is_in_parquet(stack: Stack) -> bool:
    """Whether nothing is on its way any more."""
    totals = stack.audit()["totals"]
    return not totals["in_flight"] and not totals["unprocessed"]


def test_four_workers_share_a_backlog_and_every_frame_is_there_once(busy: Stack) -> None:
    busy.compose("stop", "etl-worker")
    sealed = segments(busy)
    until(f"{BACKLOG} segments that wait", lambda: segments(busy) >= sealed + BACKLOG, 300.0)
    scale(busy, WORKERS)
    until("work of all four", lambda: len([one for one in shares(busy) if one >= BACKLOG / WORKERS / 4]) == WORKERS)
    scale(busy, 1)
    scale(busy, WORKERS)
    scale(busy, 1)

    # The exchange ends first: what it has sent reaches the collector, and that drains.
    busy.compose("stop", "simulator")
    busy.compose("stop", "collector-demo")
    until("everything in Parquet", lambda: is_in_parquet(busy), 300.0)
    found = busy.audit("--deep", "--ledger", "/ledger/ledger.ndjson")
    assert found["balanced"], found["findings"]
    assert found["totals"]["holes"] == 0
    assert found["totals"]["in_parquet"] == found["totals"]["captured"] > 0
    print({name: found["totals"][name] for name in ("segments", "parts", "captured", "in_parquet")})

from dataclasses import replace
from pathlib import Path

from fluxforge.adapters.memory.bus import MemoryBus
from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.control import Event, FeedKey
from fluxforge.domain.lane import Lane
from fluxforge.domain.lane_state import Sealing
from fluxforge_cli.account.audit.findings import FeedId
from fluxforge_cli.account.audit.flight import Seen, look_at_bus, look_at_spools
from fluxforge_collector.settings import SpoolSettings
from fluxforge_collector.spool import Spool
from tests.unit.fluxforge_cli.account.audit.world import LANE, Line, World, control

BOOK = FeedId("b1", "orderbook", "BTC-USDT")


def block(n: int, first: int, last: int, *lines: Line) -> Block:
    feeds = [FeedRange("orderbook", "BTC-USDT", first, last, last - first + 1)]
    feeds += [FeedRange("control", None, line.seq, line.seq, 1) for line in lines]
    payload = b"".join(World(Path())._line(LANE, line) for line in lines) or b"{}\n"
    return Block(BlockId("b1", n), BlockId("b1", n - 1) if n > 1 else None, n, n, tuple(feeds), payload)


def spool(root: Path, *blocks: Block, aside: str = "") -> None:
    Spool(SpoolSettings(root / str(LANE) / aside, 10**6)).append(blocks)


def test_what_stands_in_a_spool_is_in_flight_and_left_there(tmp_path: Path) -> None:
    spool(tmp_path, block(1, 1, 4), block(2, 5, 9))
    spool(tmp_path, block(3, 10, 12), aside="undecided-b1")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.spool")}
    seen: dict[Lane, Seen] = {}
    assert look_at_spools(tmp_path, seen)
    found = seen[LANE].result()
    assert found.seqs == {BOOK: ((1, 9),)}
    assert found.aside == {BOOK: ((10, 12),)}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.spool")} == files


def test_without_a_spool_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    assert not look_at_spools(tmp_path / "spool", {})


async def test_what_stands_on_the_bus_beyond_what_is_sealed_is_in_flight() -> None:
    bus = MemoryBus()
    await bus.states.create(LANE)
    await bus.streams.create(LANE, 1)
    dropped = control(
        2, Event.DROPPED, scope=FeedKey("orderbook", "BTC-USDT"), detail={"first_seq": 15, "last_seq": 19}
    )
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=8)
    for one in (block(1, 1, 4), block(2, 5, 9), block(3, 10, 20, dropped)):
        await publisher.publish(one)
    assert await publisher.settle(timeout_s=5)
    await publisher.close()
    state = await bus.states.get(LANE)
    assert state
    sealing = Sealing("segment_x", 1, 2, 3, 1, "00", 1)
    await bus.states.update(LANE, replace(state.state, epoch=1, sealed_seq=1, sealing=sealing), state.revision)

    seen: dict[Lane, Seen] = {}
    await look_at_bus(bus, seen)
    found = seen[LANE].result()
    assert found.seqs[BOOK] == ((5, 20),)
    assert [(one.event, one.lost) for one in found.said] == [("dropped", ((15, 19),))]
    assert (found.sealing, found.is_known) == ("segment_x", True)


async def test_a_stream_without_a_state_is_in_flight_whole() -> None:
    bus = MemoryBus()
    await bus.streams.create(LANE, 1)
    publisher = await bus.publisher(LANE, 1, after=None, window_blocks=8)
    await publisher.publish(block(1, 1, 4))
    assert await publisher.settle(timeout_s=5)
    await publisher.close()
    seen: dict[Lane, Seen] = {}
    await look_at_bus(bus, seen)
    assert seen[LANE].result().seqs == {BOOK: ((1, 4),)}
    assert not seen[LANE].is_known

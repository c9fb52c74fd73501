from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.ports.lanes import StoredBlock
from fluxforge_collector.lane_log import LaneLog, Logged, LostSeqs
from tests.unit.fluxforge_collector.made import BOOT

BOOK = ("orderbook", "BTC-USDT")
CONTROL = ("control", None)
JOINED = BlockId("0ld", 9)


def block(n: int, *feeds: FeedRange, boot: str = BOOT, payload: bytes = b"{}\n") -> Block:
    return Block(BlockId(boot, n), None, n * 100, n * 100 + 50, feeds, payload)


def book(first: int, last: int) -> FeedRange:
    return FeedRange(*BOOK, first, last, last - first + 1)


def control(first: int, last: int) -> FeedRange:
    return FeedRange(*CONTROL, first, last, last - first + 1)


def log_of(*blocks: Block, size_bytes_max: int = 10_000) -> LaneLog:
    log = LaneLog(BOOT, JOINED, 77, size_bytes_max=size_bytes_max)
    for each in blocks:
        log.add(Logged.of(each))
    return log


def stands(found: Block) -> StoredBlock:
    return StoredBlock(1, found)


def test_what_is_lost_is_named_from_where_the_feed_had_come_with_the_last_block_that_stands() -> None:
    blocks = [block(1, control(1, 1), book(1, 3)), block(2, control(2, 2)), block(3, book(6, 8)), block(4, book(9, 9))]
    loss = log_of(*blocks).loss_behind(stands(blocks[1]))
    assert loss is not None
    # 4 and 5 were dropped, and what named them may be lost as well: the range begins behind 3.
    assert loss.seqs == (LostSeqs(BOOK, 4, 9),)
    assert (loss.after, loss.last, loss.from_ns, loss.to_ns) == (blocks[1].id, blocks[3].id, 250, 450)
    assert loss.is_exact


def test_everything_is_lost_from_the_first_seq_on_where_the_lane_ends_as_it_was_joined() -> None:
    joined = Block(JOINED, None, 7, 77, (), b"{}\n")
    loss = log_of(block(1, control(1, 2), book(1, 3))).loss_behind(stands(joined))
    assert loss is not None
    assert set(loss.seqs) == {LostSeqs(CONTROL, 1, 2), LostSeqs(BOOK, 1, 3)}
    assert loss.is_exact


def test_a_lane_that_ends_with_somebody_elses_block_lost_nothing() -> None:
    log = log_of(block(1, book(1, 3)))
    assert log.loss_behind(stands(block(4, book(1, 1), boot="0ther"))) is None
    assert log.loss_behind(stands(block(2, book(4, 4)))) is None  # ours, and behind what was acknowledged


def test_a_seed_that_nobody_remembers_leaves_the_first_seq_open() -> None:
    seed = block(5, boot="0lder", payload=b"")
    loss = log_of(block(1, book(1, 3))).loss_behind(stands(seed))
    assert loss is not None
    assert loss.seqs == (LostSeqs(BOOK, None, 3),)
    assert not loss.is_exact


def test_what_was_forgotten_leaves_the_first_seq_open_and_what_is_remembered_does_not() -> None:
    blocks = [block(n, book(n, n)) for n in range(1, 21)]
    log = log_of(*blocks, size_bytes_max=2_000)  # five blocks
    forgotten = log.loss_behind(stands(blocks[3]))
    remembered = log.loss_behind(stands(blocks[16]))
    assert forgotten is not None
    assert remembered is not None
    assert forgotten.seqs == (LostSeqs(BOOK, None, 20),)
    assert remembered.seqs == (LostSeqs(BOOK, 18, 20),)
    everything = log.loss_behind(None)
    assert everything is not None
    assert (everything.after, everything.from_ns, everything.is_exact) == (None, 0, False)


def test_blocks_of_an_earlier_boot_are_lost_without_seqs() -> None:
    old = [block(n, book(n, n), boot="0ld") for n in (10, 11)]
    log = log_of(*old, block(1, book(1, 2)))
    loss = log.loss_behind(stands(old[0]))
    assert loss is not None
    assert (loss.seqs, loss.is_exact) == ((LostSeqs(BOOK, 1, 2),), False)


def test_a_loss_of_what_named_a_loss_names_both() -> None:
    blocks = [block(1, book(1, 3)), block(2, control(1, 1), book(4, 6))]
    log = log_of(*blocks)
    loss = log.loss_behind(stands(blocks[0]))
    assert loss is not None
    log.cut(stands(blocks[0]))
    assert (log.last, log.last_ns) == (blocks[0].id, 150)
    named = block(2, control(9, 10))
    log.add(Logged.in_place_of(loss, named))
    log.add(Logged.of(block(3, control(2, 2), book(7, 7))))
    again = log.loss_behind(stands(blocks[0]))
    assert again is not None
    assert set(again.seqs) == {LostSeqs(BOOK, 4, 7), LostSeqs(CONTROL, 1, 2), LostSeqs(CONTROL, 9, 10)}
    later = log.loss_behind(stands(named))
    assert later is not None
    assert set(later.seqs) == {LostSeqs(BOOK, 7, 7), LostSeqs(CONTROL, 2, 2)}
    log.add(Logged.of(block(4, control(11, 12))))
    beyond = log.loss_behind(stands(named))
    assert beyond is not None  # 9 and 10 stand
    assert set(beyond.seqs) == {LostSeqs(BOOK, 7, 7), LostSeqs(CONTROL, 2, 8), LostSeqs(CONTROL, 11, 12)}


def test_control_records_that_named_a_loss_are_not_lost_where_their_block_stands_and_is_forgotten() -> None:
    blocks = [block(1, book(1, 3)), block(2, control(1, 1), book(4, 6))]
    log = log_of(*blocks, size_bytes_max=1_200)  # three blocks of one feed
    loss = log.loss_behind(stands(blocks[0]))
    assert loss is not None
    log.cut(stands(blocks[0]))
    log.add(Logged.in_place_of(loss, block(2, control(9, 10))))
    later = [block(n, book(n, n)) for n in range(7, 10)]
    for each in (*later, block(10, control(11, 12))):
        log.add(Logged.of(each))
    beyond = log.loss_behind(stands(later[1]))
    assert beyond is not None
    assert set(beyond.seqs) == {LostSeqs(BOOK, 9, 9), LostSeqs(CONTROL, 2, 8), LostSeqs(CONTROL, 11, 12)}

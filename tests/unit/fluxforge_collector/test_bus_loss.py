"""What is said of blocks that the bus lost."""

from fluxforge.domain.block import BlockId
from fluxforge.domain.control import Control, Event, FeedKey
from fluxforge_collector.bus_loss import controls_of
from fluxforge_collector.lane_log import Loss, LostSeqs

TRADES = FeedKey("trades", "BTC-USDT")
LOSS = Loss(
    after=BlockId("9f3c21ab", 1),
    from_ns=10,
    last=BlockId("9f3c21ab", 4),
    to_ns=20,
    seqs=(LostSeqs(("trades", "BTC-USDT"), 5, 9), LostSeqs(("control", None), 3, 3)),
    last_seqs={},
    is_exact=True,
)


def dropped(first_seq: int, last_seq: int) -> Control:
    return Control(Event.DROPPED, scope=TRADES, detail={"first_seq": first_seq, "last_seq": last_seq})


def test_a_drop_that_was_named_behind_the_last_lost_record_is_named_again() -> None:
    told = controls_of(LOSS, [TRADES], "9f3c21ab:2", [(3, dropped(10, 12))])
    assert [control.detail for control in told] == [
        {"first_seq": 5, "last_seq": 9},
        {"channel": "control", "first_seq": 3, "last_seq": 3},
        {"first_seq": 10, "last_seq": 12},
    ]


def test_a_drop_among_the_lost_records_is_named_with_them() -> None:
    assert len(controls_of(LOSS, [TRADES], "9f3c21ab:2", [(3, dropped(6, 7))])) == 2


def test_a_drop_whose_record_stands_is_not_named_twice() -> None:
    assert len(controls_of(LOSS, [TRADES], "9f3c21ab:2", [(2, dropped(10, 12))])) == 2

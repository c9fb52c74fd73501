import pytest

from fluxforge.domain.block import Block, BlockId, FeedRange
from fluxforge.domain.errors import RecordError

BLOCK = Block(
    id=BlockId("9f3c21ab", 17),
    after=BlockId("9f3c21ab", 16),
    first_capture_ns=10,
    last_capture_ns=20,
    feeds=(
        FeedRange("orderbook", "BTC-USDT", 5, 9, 5),
        FeedRange("trades", "A.B>C,D:E", 1, 4, 2),
        FeedRange("control", None, 3, 3, 1),
    ),
    payload=b"{}\n",
)


def test_a_block_comes_back_from_its_headers() -> None:
    assert Block.from_message(BLOCK.headers(), BLOCK.payload) == BLOCK
    assert BLOCK.records == 8


def test_the_headers_are_the_bytes_the_format_shows() -> None:
    assert BLOCK.headers() == {
        "Nats-Msg-Id": "9f3c21ab:17",
        "Ff-After": "9f3c21ab:16",
        "Ff-Capture": "10-20",
        "Ff-Feeds": "orderbook:BTC-USDT:5:9:5,trades:A%2EB%3EC%2CD%3AE:1:4:2,control::3:3:1",
    }


def test_the_first_block_of_a_lane_and_an_empty_seed_come_back_too() -> None:
    seed = Block(BlockId("b", 1), None, 5, 5, (), b"")
    assert Block.from_message(seed.headers(), b"") == seed
    assert seed.records == 0


@pytest.mark.parametrize(
    "headers",
    [{}, {**BLOCK.headers(), "Ff-Feeds": "x"}, {**BLOCK.headers(), "Ff-Capture": "a-b"}, {"Nats-Msg-Id": "x"}],
)
def test_a_message_that_is_no_block_is_told_apart(headers: dict[str, str]) -> None:
    with pytest.raises(RecordError):
        Block.from_message(headers, b"")

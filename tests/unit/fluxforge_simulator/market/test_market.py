from itertools import pairwise

import pytest

from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Market, Step
from fluxforge_simulator.venues.catalog import VENUES

BTC = Instrument("BTC", "USDT", 65_000.0, 2, 5)
LISTED = [(venue.exchange, entry) for venue in VENUES.values() for entry in venue.instruments]


def book_of(market: Market) -> dict[Side, dict[int, int]]:
    return {side: dict(ladder.levels()) for side, ladder in market.ladders.items()}


def apply(book: dict[Side, dict[int, int]], step: Step) -> None:
    for side, price, quantity in step.changes:
        if quantity:
            book[side][price] = quantity
        else:
            book[side].pop(price, None)


def test_one_seed_gives_one_sequence_and_another_seed_another() -> None:
    first, again, other = Market(BTC, seed="a"), Market(BTC, seed="a"), Market(BTC, seed="b")
    steps = [(first.step()[1:], again.step()[1:], other.step()[1:]) for _ in range(200)]
    assert all(one == two for one, two, _ in steps)
    assert any(one != three for one, _, three in steps)


def test_whoever_applies_the_changes_to_the_first_book_has_the_market_s_book() -> None:
    market = Market(BTC, seed="a")
    book = book_of(market)
    for _ in range(300):
        apply(book, market.step())
        assert book == book_of(market)


def test_update_ids_are_contiguous_over_steps_and_churns() -> None:
    market = Market(BTC, seed="a")
    last = market.update_id
    for index in range(200):
        step = market.churn(20) if index % 3 == 0 else market.step()
        assert step.first_update_id == last + 1
        assert step.last_update_id - step.first_update_id + 1 >= len(step.changes) > 0
        last = step.last_update_id


def test_each_trade_prints_at_the_touch_that_the_step_before_left_and_is_never_larger() -> None:
    market = Market(BTC, seed="a", trade_share=1.0)
    last_id = market.trade_id
    for _ in range(300):
        bid, bid_lots, ask, ask_lots = market.touch
        trades = market.step().trades
        assert trades
        for trade in trades:
            assert trade.price == (ask if trade.taker is Side.BID else bid)
            assert trade.trade_id == last_id + 1
            last_id = trade.trade_id
        assert sum(trade.quantity for trade in trades) <= (ask_lots if trades[0].taker is Side.BID else bid_lots)


@pytest.mark.parametrize(("exchange", "instrument"), LISTED, ids=[f"{e}-{i.symbol}" for e, i in LISTED])
def test_every_listed_market_keeps_a_full_and_uncrossed_book(exchange: str, instrument: Instrument) -> None:
    market = Market(instrument, seed=f"1/{exchange}/{instrument.symbol}")
    for _ in range(200):
        market.step()
        bid, bid_lots, ask, ask_lots = market.touch
        assert 0 < bid < ask <= bid + 2
        assert bid_lots > 0
        assert ask_lots > 0
    assert [len(ladder) for ladder in market.ladders.values()] == [1000, 1000]
    assert market.ladders[Side.BID].worst > 0


@pytest.mark.parametrize("base", ["BTC", "DOGE"])
def test_prices_move_as_prices_do(base: str) -> None:
    """A minute's move is some basis points, whether a tick is a thousandth of one or most of one."""
    instrument = next(entry for entry in VENUES["binance"].instruments if entry.base == base)
    market = Market(instrument, seed="a")
    prices = []
    for _ in range(20 * 600):
        market.step()
        prices.append(market.touch[0])
    minutes = prices[::600]
    moves_bps = [abs(after / before - 1) * 10_000 for before, after in pairwise(minutes)]
    assert 1 < sum(moves_bps) / len(moves_bps) < 15
    assert max(prices) / min(prices) < 1.02


@pytest.mark.parametrize("width", [20, 100])
def test_a_churn_changes_as_many_levels_as_asked_and_keeps_the_book_uncrossed(width: int) -> None:
    market = Market(BTC, seed="a")
    book, touches = book_of(market), [market.touch[0]]
    for _ in range(3000):
        step = market.churn(width)
        assert len(step.changes) == width
        assert not step.trades
        apply(book, step)
        touches.append(market.touch[0])
        assert market.touch[0] < market.touch[2]
    assert book == book_of(market)
    assert sum(before != after for before, after in pairwise(touches)) > 50
    assert all(len(ladder) > 500 for ladder in market.ladders.values())

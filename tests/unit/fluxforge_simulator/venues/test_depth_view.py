import pytest

from fluxforge_simulator.market.instrument import Instrument
from fluxforge_simulator.market.ladder import Side
from fluxforge_simulator.market.market import Market
from fluxforge_simulator.venues.depth_view import DepthView


def made() -> Market:
    return Market(Instrument("A", "B", 100.0, 2, 3), seed="view", levels=60)


@pytest.mark.parametrize("depth", [5, 50])
def test_a_client_that_applies_what_it_is_told_has_the_market_to_the_depth(depth: int) -> None:
    market = made()
    view = DepthView(market, depth)
    held = {side: dict(levels) for side, levels in view.show().items()}
    for _ in range(300):
        market.step()
        for side, levels in (view.changes() or {}).items():
            held[side].update(levels)
            held[side] = {price: lots for price, lots in held[side].items() if lots}
        assert held == {side: dict(ladder.levels(depth)) for side, ladder in market.ladders.items()}


def test_a_client_that_cuts_is_not_told_what_was_pushed_out() -> None:
    market = made()
    told, cut = DepthView(market, 5), DepthView(market, 5, is_cut_by_client=True)
    for view in (told, cut):
        view.show()
    bid = market.ladders[Side.BID]
    outermost = bid.price_at(4)
    bid.put(bid.best + 1, 7)
    assert told.changes() == {Side.BID: [(outermost, 0), (bid.best, 7)], Side.ASK: []}
    assert cut.changes() == {Side.BID: [(bid.best, 7)], Side.ASK: []}


def test_what_happens_below_the_depth_is_no_change() -> None:
    market = made()
    view = DepthView(market, 5)
    view.show()
    market.ladders[Side.ASK].put(market.ladders[Side.ASK].worst, 1)
    assert view.changes() is None

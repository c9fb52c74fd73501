import orjson

from fluxforge_simulator.market.market import Market
from fluxforge_simulator.venues import usdm_messages
from fluxforge_simulator.venues.binance import BINANCEUSDM

NOW_NS = 1_763_830_000_123_456_789


def made() -> Market:
    return Market(BINANCEUSDM.instruments[0], seed="futures")


def test_an_update_joins_the_book_by_pu_and_ids_are_left_out_between() -> None:
    market = made()
    before = orjson.loads(usdm_messages.depth_snapshot(market, 5, NOW_NS))["lastUpdateId"]
    assert (before,) == usdm_messages.snapshot_key(market)
    for _ in range(20):
        step = market.step()
        tail = usdm_messages.depth_tail(market, list(step.changes), step.first_update_id, step.last_update_id)
        update = orjson.loads(usdm_messages.depth_update(tail, NOW_NS))
        assert update["pu"] == before < update["U"] - 1
        assert (update["U"], update["u"], update["pu"]) == usdm_messages.depth_key(*step[3:5])
        assert update["E"] == update["T"] == NOW_NS // 1_000_000
        assert len(update["b"]) + len(update["a"]) == len(step.changes)
        before = update["u"]


def test_a_contract_is_listed_under_its_unified_symbol_and_the_venue_s_name() -> None:
    entry = BINANCEUSDM.instruments[0]
    info = usdm_messages.exchange_info(entry)
    assert entry.symbol == "BTC/USDT:USDT"
    assert (info["symbol"], info["contractType"], info["marginAsset"]) == ("BTCUSDT", "PERPETUAL", "USDT")

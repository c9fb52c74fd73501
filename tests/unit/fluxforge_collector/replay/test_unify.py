import orjson
import pytest

from fluxforge.domain.control import Control, Event
from fluxforge_collector.replay.errors import ReplayDivergedError
from fluxforge_collector.replay.tape import steps
from fluxforge_collector.replay.unify import unify
from fluxforge_collector.wire_records import Answer, Frame, Resolved, Setup, WireItem
from tests.unit.fluxforge_collector.replay.lane import Lane

PAIR = {
    "altname": "XBTUSD",
    "wsname": "XBT/USD",
    "base": "XXBT",
    "quote": "ZUSD",
    "pair_decimals": 1,
    "lot_decimals": 8,
    "ordermin": "0.0001",
    "status": "online",
    "fees": [],
    "fees_maker": [],
    "leverage_buy": [],
    "leverage_sell": [],
}
LISTING = orjson.dumps({"error": [], "result": {"XXBTZUSD": PAIR}}).decode()
MARKETS = Answer("GET", "https://api.kraken.com/0/public/AssetPairs", None, 200, LISTING)
SETUP = Setup("4.5.90", "kraken", 50, None, {}, {"watchTrades": ("BTC/USD",)}, "1m")


def test_a_capture_of_nothing_gives_nothing() -> None:
    assert unify(steps(Lane().wire(SETUP, MARKETS).records), print) == 0


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (
            [Answer("GET", "https://api.kraken.com/0/public/Other", None, 200, "{}")],
            r"the recording has GET https://api\.kraken\.com/0/public/Other, which the replay does not ask for",
        ),
        ([MARKETS, Frame("{}")], "connection 1 of the recording was not made in the replay"),
        (
            [MARKETS, Resolved("orderbook:BTC/USD")],
            "the recording has an update orderbook:BTC/USD outside of any frame, the replay has none",
        ),
    ],
)
def test_what_the_client_does_not_follow_is_named(items: list[WireItem], reason: str) -> None:
    with pytest.raises(ReplayDivergedError, match=reason):
        unify(steps(Lane().wire(SETUP, *items).records), print)


def test_a_connection_that_nobody_dials_is_named() -> None:
    lane = Lane().wire(SETUP, MARKETS).control(Control(Event.CONNECTED, reason="wss://elsewhere.kraken.com/v2"))
    with pytest.raises(ReplayDivergedError, match=r"a connection to wss://elsewhere\.kraken\.com/v2, which the replay"):
        unify(steps(lane.records), print)

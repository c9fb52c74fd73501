from fluxforge.domain.status import CollectorStatus, EtlStatus, FeedStatus, SegmenterStatus
from fluxforge.runtime.settings import Settings
from fluxforge_cli.health import findings

SETTINGS = Settings(ccxt={"exchanges": {"binance": {"channels": {"watchTrades": ["BTC/USDT"]}}}})
SEGMENTER = SegmenterStatus(at_ns=1, ready=True, lanes=())
WORKER = EtlStatus(at_ns=1, ready=True, backlog=4, segments=0, records=0, quarantined=0, rows={})


def collector(*, ready: bool = True, sound: bool = True, spooled: int = 0) -> CollectorStatus:
    return CollectorStatus(
        lane="ccxt-binance-0of1",
        at_ns=1,
        ready=ready,
        captured=1,
        stored=1,
        waiting=0,
        spooled=spooled,
        dropped=0,
        connections=1,
        feeds=(FeedStatus("trades", "BTC-USDT", 1, None, None, sound=sound),),
    )


def test_all_that_is_configured_is_there_and_ready() -> None:
    found = findings(SETTINGS, {"a": collector(), "b": SEGMENTER, "c": WORKER})
    assert [(one.name, one.healthy) for one in found] == [
        ("collector ccxt-binance-0of1", True),
        ("segmenter", True),
        ("etl-worker", True),
    ]


def test_who_is_not_heard_is_not_healthy() -> None:
    found = findings(SETTINGS, {})
    assert [(one.healthy, one.says) for one in found] == [(False, "not heard within 3 s")] * 3


def test_a_feed_that_is_not_sound_is_named() -> None:
    found = findings(SETTINGS, {"a": collector(sound=False, spooled=5), "b": SEGMENTER, "c": WORKER})
    assert not found[0].healthy
    assert found[0].says == "ready, 0 of 1 feeds sound (not: BTC-USDT trades), 5 records spooled"


def test_a_collector_that_is_not_configured_here_is_shown_too() -> None:
    other = Settings(ccxt={"exchanges": {"kraken": {"channels": {"watchTrades": ["BTC/USD"]}}}})
    found = findings(other, {"a": collector(), "b": SEGMENTER, "c": WORKER})
    assert [one.name for one in found][:2] == ["collector ccxt-kraken-0of1", "collector ccxt-binance-0of1"]

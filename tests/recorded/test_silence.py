"""Real exchanges' recordings raise no alarm: nothing in them is a stall."""

from collections import Counter

import pytest

from fluxforge.domain.control import FeedKey
from fluxforge_collector.silence.judge import Judge
from fluxforge_collector.silence.limits import NS_PER_S, Finding, Link, SilenceLimits
from tests.recorded.arrivals import Arrival, arrivals

_TICK_NS = NS_PER_S // 4
RECORDINGS = (
    ("binance/spot_btcusdt_20240808.gz", "binance/spot_btcusdt_20240809.gz"),
    ("binance/usdm_ethusdt_20240808.gz",),
    ("binance/cm_btcusd_perp_20240808.gz", "binance/cm_btcusd_perp_20240809.gz"),
    ("binance/cm_ethusd_perp_20240808.gz", "binance/cm_ethusd_perp_20240809.gz"),
    ("binance/csv/trades_coinm_trxusd_perp_20250304.csv.gz",),
    ("binance/csv/trades_spot_trxusdt_20250304.csv.gz",),
    ("binance/BINANCE_20210405_2min.jsonl.zst",),
    ("binance/BINANCE_20211012.jsonl.zst",),
    ("binance/BINANCE_FUTURES_20210722.jsonl.zst",),
    ("bitfinex/BITFINEX_20210405_2min.jsonl.zst",),
    ("bitfinex/BITFINEX_20210417.jsonl.zst",),
    ("bitget/BITGET_v1_20220407.jsonl.zst",),
    ("bybit/BYBIT_20250613_l1.jsonl.zst",),
    ("coinbase/COINBASE_20260809_first10s.jsonl.zst",),
    ("deribit/DERIBIT_20210722.jsonl.zst",),
    ("gate/GATEIO_spot_20210422.jsonl.zst",),
    ("gemini/GEMINI_20260809.jsonl.zst",),
    ("htx/HUOBI_20210417.jsonl.zst",),
    ("kraken/KRAKEN_v1_20210417.jsonl.zst",),
    ("kucoin/KUCOIN_20210425.jsonl.zst",),
    ("okx/OKX_20220513.jsonl.zst",),
    ("upbit/UPBIT_20210417.jsonl.zst",),
)


def played(found: list[Arrival], step_ns: int) -> tuple[list[Finding], int]:
    """Tell a judge of a recording in steps, as a collector does; return its findings and how many feeds it judges."""
    judge = Judge(SilenceLimits())
    feeds: dict[str, dict[FeedKey, None]] = {}
    for arrival in found:
        feeds.setdefault(arrival.conn, {})[arrival.feed] = None
    links = [Link(conn, 1, tuple(carried)) for conn, carried in feeds.items()]
    findings: list[Finding] = []
    coming = iter(found)
    each: Arrival | None = next(coming)
    at_ns = found[0].at_ns
    while each is not None:
        at_ns = max(at_ns + step_ns, each.at_ns if step_ns == 1 else 0)
        heard: Counter[FeedKey] = Counter()
        if step_ns == 1:
            findings += judge.findings(links, at_ns - 1)
        while each is not None and each.at_ns <= at_ns:
            heard[each.feed] += 1
            each = next(coming, None)
        for feed, count in heard.items():
            judge.heard(feed, at_ns, count)
        if each is not None:
            findings += judge.findings(links, at_ns)
    every = {feed for carried in feeds.values() for feed in carried}
    return findings, sum(judge.limit_ns(feed) is not None for feed in every)


@pytest.mark.parametrize("step_ns", [1, _TICK_NS], ids=["frame by frame", "as a collector looks"])
@pytest.mark.parametrize("names", RECORDINGS, ids=lambda names: names[0].partition(".")[0])
def test_no_feed_of_a_recording_is_taken_for_stalled(names: tuple[str, ...], step_ns: int) -> None:
    found = arrivals(*names)
    assert len(found) > 100
    findings, judged = played(found, step_ns)
    assert not findings
    long_enough = found[-1].at_ns - found[0].at_ns > 60 * NS_PER_S
    assert judged > 0 or not long_enough

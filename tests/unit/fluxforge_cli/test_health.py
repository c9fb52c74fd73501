from dataclasses import replace

import pytest

from fluxforge.domain.status import CollectorStatus, CompactorStatus, EtlStatus, FeedStatus, SegmenterStatus, Status
from fluxforge.runtime.settings import Settings
from fluxforge_cli.findings import Finding, State, worst
from fluxforge_cli.health import findings

SETTINGS = Settings(ccxt={"exchanges": {"binance": {"channels": {"watchTrades": ["BTC/USDT"]}}}})
AT_NS = 1_800_000_000_000_000_000
MINUTE_NS = 60_000_000_000
SEGMENTER = SegmenterStatus(at_ns=1, ready=True, lanes=())
WORKER = EtlStatus(at_ns=AT_NS, ready=True, backlog=4, segments=0, records=0, quarantined=0, rows={})
COMPACTOR = CompactorStatus(at_ns=1, ready=True, partitions=1, merges=2, files=4, failed=0)


def collector(*, ready: bool = True, sound: bool = True, spooled: int = 0, quiet_ns: int = 1) -> CollectorStatus:
    return CollectorStatus(
        lane="ccxt-binance-0of1",
        at_ns=AT_NS,
        ready=ready,
        captured=1,
        stored=1,
        waiting=0,
        spooled=spooled,
        dropped=0,
        connections=1,
        feeds=(FeedStatus("trades", "BTC-USDT", 1, None, None, sound=sound, last_ns=AT_NS - quiet_ns),),
    )


def found_beside(status: Status, **options: int) -> Finding:
    """Return what is found of one service beside others that are well."""
    others = [other for other in (collector(), SEGMENTER, WORKER) if not isinstance(other, type(status))]
    found = findings(SETTINGS, {str(n): one for n, one in enumerate([status, *others])}, **options)
    odd = [one for one in found if not one.healthy]
    assert len(odd) <= 1
    return odd[0] if odd else found[0 if isinstance(status, CollectorStatus) else -1]


def test_all_that_is_configured_is_there_and_ready() -> None:
    found = findings(SETTINGS, {"a": collector(), "b": SEGMENTER, "c": WORKER})
    assert [(one.name, one.healthy) for one in found] == [
        ("collector ccxt-binance-0of1", True),
        ("segmenter", True),
        ("etl-worker", True),
    ]
    assert worst(found) == 0


def test_who_is_not_heard_is_critical() -> None:
    found = findings(SETTINGS, {})
    assert [(one.state, one.says) for one in found] == [(State.CRITICAL, "not heard within 3 s")] * 3
    assert all(one.remedy for one in found)
    assert worst(found) == 2


@pytest.mark.parametrize(
    "status",
    [
        collector(ready=False),
        collector(sound=False),
        collector(spooled=1),
        replace(SEGMENTER, ready=False),
        replace(WORKER, ready=False),
        replace(WORKER, oldest_ns=AT_NS - 16 * MINUTE_NS),
        replace(COMPACTOR, failing=1),
        replace(COMPACTOR, ready=False),
    ],
)
def test_who_is_there_and_not_well_is_degraded(status: Status) -> None:
    found = found_beside(status)
    assert (found.state, bool(found.remedy)) == (State.DEGRADED, True)


def test_a_feed_that_is_not_sound_is_named() -> None:
    found = found_beside(collector(sound=False, spooled=5))
    assert found.says == "ready, 0 of 1 feeds sound (not: BTC-USDT trades), 5 records spooled"


def test_a_quiet_feed_is_named_and_no_fault() -> None:
    found = found_beside(collector(quiet_ns=2 * MINUTE_NS))
    assert (found.state, found.says) == (
        State.OK,
        "ready, 1 of 1 feeds sound, no record for 60 s of BTC-USDT trades",
    )


def test_how_long_a_segment_may_wait_is_the_callers_choice() -> None:
    waiting = replace(WORKER, oldest_ns=AT_NS - 16 * MINUTE_NS)
    assert found_beside(waiting).says == "ready, backlog 4 segments, the oldest waits for 16 minutes"
    assert found_beside(waiting, backlog_minutes=16).healthy


def test_a_collector_that_is_not_configured_here_is_shown_too() -> None:
    other = Settings(ccxt={"exchanges": {"kraken": {"channels": {"watchTrades": ["BTC/USD"]}}}})
    found = findings(other, {"a": collector(), "b": SEGMENTER, "c": WORKER})
    assert [one.name for one in found][:2] == ["collector ccxt-kraken-0of1", "collector ccxt-binance-0of1"]

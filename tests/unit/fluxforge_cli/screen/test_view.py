from fluxforge.domain.status import CollectorStatus, EtlStatus, FeedStatus, LaneStatus, SegmenterStatus
from fluxforge_cli.screen.view import History

S = 1_000_000_000
READY = True
SUBJECT = "status.collector.ccxt-binance-0of1"


def collector(at_s: float, records: int, *, boot: str = "b1") -> CollectorStatus:
    feeds = (FeedStatus("trades", "BTC-USDT", records, 64_000.5, 3, sound=True),)
    return CollectorStatus("ccxt-binance-0of1", round(at_s * S), READY, records + 1, records, 0, 0, 0, 1, feeds, boot)


def segmenter(at_s: float, records: int) -> SegmenterStatus:
    return SegmenterStatus(at_s * S, READY, (LaneStatus("ccxt-binance-0of1", 1, 9, 7, 2, records, 100, 50),))


def etl(rows: dict[str, int], backlog: int = 0) -> EtlStatus:
    return EtlStatus(S, READY, backlog, 2, 10, 1, rows)


def test_a_rate_is_of_the_last_seconds() -> None:
    history = History()
    for at_s, records in ((1, 0), (2, 100), (3, 100), (4, 100), (5, 130), (6, 160)):
        history.hear({SUBJECT: collector(at_s, records)})
    (row,) = history.view(6 * S).feeds
    assert row.rate_hz == 20.0  # from 100 at 3 s to 160 at 6 s
    assert (row.exchange, row.symbol, row.records, row.last_price, row.lag_ms) == (
        "binance",
        "BTC-USDT",
        160,
        64_000.5,
        3,
    )


def test_the_first_status_has_no_rate_and_a_new_boot_begins_anew() -> None:
    history = History()
    history.hear({SUBJECT: collector(1, 50)})
    assert history.view(S).feeds[0].rate_hz is None
    history.hear({SUBJECT: collector(2, 5, boot="b2")})
    assert history.view(2 * S).feeds[0].rate_hz is None
    assert history.view(2 * S).captured == 51 + 6


def test_workers_are_added_up() -> None:
    history = History()
    history.hear(
        {"status.etl-worker.1": etl({"trades": 3}, backlog=4), "status.etl-worker.2": etl({"trades": 2, "hf": 1})}
    )
    found = history.view(S).etl
    assert found is not None
    assert (found.backlog, found.segments, found.records, found.quarantined) == (4, 4, 20, 2)
    assert found.rows == {"trades": 5, "hf": 1}


def test_who_was_not_heard_for_five_seconds_is_named() -> None:
    history = History()
    history.hear({SUBJECT: collector(1, 0), "status.segmenter.0": segmenter(5, 0)})
    assert history.view(7 * S).silent == (SUBJECT,)


def test_the_last_words_take_the_place_of_all_that_was_heard_of_a_kind() -> None:
    history = History()
    history.hear({SUBJECT: collector(1, 10), "status.segmenter.0": segmenter(1, 5)})
    history.end(CollectorStatus, [collector(2, 12), collector(1, 3, boot="b0")])
    view = history.view(60 * S)
    assert view.captured == 13 + 4
    assert view.feeds == ()
    assert view.silent == ("status.segmenter.0",)
    assert view.lanes[0].records == 5


def test_what_is_heard_after_the_last_words_was_said_before_them() -> None:
    history = History()
    history.end(SegmenterStatus, [segmenter(3, 9)])
    history.hear({"status.segmenter.0": segmenter(2, 5)})
    assert [lane.records for lane in history.view(3 * S).lanes] == [9]

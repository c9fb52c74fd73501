"""The receiver: stamps, and the reads that books are told at the end of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from ib_async.contract import Contract

from fluxforge.domain.record import Feed
from fluxforge.runtime.settings.ibkr import IbkrChannel
from fluxforge_collector.ibkr_source.contracts import Subscription
from fluxforge_collector.ibkr_source.receiver import Receiver, Request
from tests.unit.fluxforge_collector.made import BEGIN_NS, Desk, Line

AAPL = Contract("STK", 265598, "AAPL", exchange="SMART", currency="USD", localSymbol="AAPL")
BOOK = Feed("ibkr", "ibkr", "orderbook", "AAPL/USD:SMART")
TICKER = Feed("ibkr", "ibkr", "ticker", "AAPL/USD:SMART")


@dataclass
class Notes:
    """A director that writes down what it is told."""

    answered_: list[Request] = field(default_factory=list)
    broken_: list[str] = field(default_factory=list)
    told_: list[tuple[bool, int, str]] = field(default_factory=list)
    torn_: list[tuple[list[str], str]] = field(default_factory=list)
    failed_: list[Exception] = field(default_factory=list)

    def told(self, request: Request | None, code: int, text: str) -> None:
        self.told_.append((request is not None, code, text))

    def broken(self, _request: Request, reason: str) -> None:
        self.broken_.append(reason)

    def answered(self, request: Request) -> None:
        self.answered_.append(request)

    def torn(self, requests: Sequence[Request], reason: str) -> None:
        self.torn_.append(([request.feed.key.channel for request in requests], reason))

    def failed(self, error: Exception) -> None:
        self.failed_.append(error)


class Stage:
    """A receiver before a lane on a manual clock, with a book as request 1 and a ticker as request 2."""

    def __init__(self) -> None:
        self.desk = Desk(feeds=(BOOK, TICKER))
        self.notes = Notes()
        self.receiver = Receiver(self.desk.writer, self.notes)
        for number, feed in enumerate((BOOK, TICKER), start=1):
            subscription = Subscription(IbkrChannel(feed.channel), AAPL, feed)
            self.receiver.requests[number] = Request(subscription, self.desk.writer.feed(feed), rows_max=5)

    def begin(self, at_ns: int) -> None:
        """Let a read come in, and what is decoded of it take its time."""
        self.desk.clock.advance(at_ns)
        self.receiver.tcpDataArrived()
        self.desk.clock.advance(5_000_000)

    def records(self, channel: str) -> list[Line]:
        return [line for line in self.desk.lines() if line.channel == channel]


def test_what_came_in_one_read_bears_its_stamp_however_long_decoding_takes() -> None:
    stage = Stage()
    stage.begin(1_000)
    stage.receiver.priceSizeTick(2, 1, 10.0, 1.0)
    stage.receiver.tickSize(2, 0, 2.0)
    stage.begin(1_000)
    stage.receiver.tickSize(2, 0, 3.0)
    assert [line.capture_ns - BEGIN_NS for line in stage.records("ticker")] == [1_000, 1_001, 5_002_000]
    assert stage.receiver.reads == 2
    assert len(stage.notes.answered_) == 1


def test_a_book_is_told_once_at_the_end_of_a_read_with_the_stamp_of_its_begin() -> None:
    stage = Stage()
    stage.begin(1_000)
    stage.receiver.updateMktDepth(1, 0, 0, 1, 10.0, 1.0)
    stage.receiver.updateMktDepth(1, 0, 0, 0, 11.0, 1.0)
    stage.receiver.updateMktDepth(1, 0, 1, 0, 12.0, 1.0)
    assert stage.records("orderbook") == []
    stage.receiver.tcpDataProcessed()
    stage.receiver.tcpDataProcessed()
    (book,) = stage.records("orderbook")
    assert (book.data["bids"], book.data["asks"], book.capture_ns) == ([[10.0, 1.0]], [[12.0, 1.0]], BEGIN_NS + 1_000)


def test_a_book_that_broke_is_not_told_at_the_end_of_its_read() -> None:
    stage = Stage()
    stage.begin(1_000)
    stage.receiver.updateMktDepth(1, 0, 0, 1, 10.0, 1.0)
    stage.receiver.updateMktDepth(1, 0, 0, 0, 11.0, 1.0)
    stage.receiver.updateMktDepth(1, 4, 0, 0, 15.0, 1.0)
    stage.receiver.tcpDataProcessed()
    assert stage.records("orderbook") == []
    assert stage.notes.broken_ == ["operation 0 at row 4 of 1"]


def test_a_contract_whose_data_is_that_of_another_is_a_refusal_that_names_it() -> None:
    stage = Stage()
    stage.receiver.rerouteMktDataReq(2, 8314, "NYSE")
    assert stage.notes.told_ == [(True, 0, "its market data is that of con_id 8314 on NYSE; configure that one")]


def test_a_message_that_cannot_be_read_is_named_and_told_of_the_one_it_was_of() -> None:
    stage = Stage()
    stage.receiver.undecoded(ValueError("torn"), ["12", "1", "1", "x"])
    (noted,) = stage.desk.lines()
    assert (noted.event, noted.data["scope"]) == ("rejected", {"channel": "orderbook", "symbol": "AAPL-USD_SMART"})
    assert noted.data["detail"]["text"] == "12\0001\0001\0x"
    assert stage.notes.torn_ == [(["orderbook"], "a message could not be read: ValueError: torn")]


def test_an_error_of_the_lane_is_ours_and_no_message_is_rejected_for_it() -> None:
    def fails(*_: object) -> None:
        raise KeyError("ours")

    stage = Stage()
    stage.desk.buffer.append = fails  # type: ignore[method-assign]
    with pytest.raises(KeyError) as raised:
        stage.receiver.tickSize(2, 0, 2.0)
    stage.receiver.undecoded(raised.value, ["2", "6", "2", "0", "2.0"])
    assert stage.notes.failed_ == [raised.value]
    assert stage.notes.torn_ == []


def test_what_comes_for_a_request_that_was_called_off_is_nobodys() -> None:
    stage = Stage()
    stage.begin(1_000)
    stage.receiver.requests.clear()
    stage.receiver.priceSizeTick(2, 1, 10.0, 1.0)
    stage.receiver.updateMktDepth(1, 0, 0, 1, 10.0, 1.0)
    stage.receiver.tcpDataProcessed()
    stage.receiver.error(2, 354, "late", "")
    assert stage.desk.lines() == []
    assert stage.notes.told_ == [(False, 354, "late")]

"""A lane made by hand, record by record."""

from fluxforge.domain.control import Control
from fluxforge.domain.record import CONTROL_CHANNEL, Feed, RecordWriter, read_data, read_envelope
from fluxforge_collector.replay.segments import Recorded
from fluxforge_collector.wire_records import WireItem, data_of, wire_feed


class Lane:
    """Records as they stand in segments."""

    def __init__(self, boot: str = "b", at_ns: int = 10**18) -> None:
        self.records: list[Recorded] = []
        self._boot = boot
        self._at_ns = at_ns
        self._seqs = {"wire": 0, CONTROL_CHANNEL: 0, "trades": 0}

    def put(self, feed: Feed, data: bytes) -> None:
        self._seqs[feed.channel] += 1
        self._at_ns += 1
        text = RecordWriter(feed, self._boot).line(
            conn=1, seq=self._seqs[feed.channel], capture_ns=self._at_ns, exchange_ms=None, data=data
        )
        self.records.append(Recorded(read_envelope(text), read_data(text), f"x:{len(self.records) + 1}"))

    def wire(self, *items: WireItem) -> "Lane":
        for data in (data for item in items for data in data_of(item)):
            self.put(wire_feed("ccxt", "kraken"), data)
        return self

    def control(self, control: Control) -> "Lane":
        self.put(Feed("ccxt", "kraken", CONTROL_CHANNEL, None), control.to_json())
        return self

    def trades(self) -> "Lane":
        self.put(Feed("ccxt", "kraken", "trades", "BTC/USD"), b"[]")
        return self

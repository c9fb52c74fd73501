"""Sealed segments to measure with: 50-level books of three symbols with their trades, as the collector writes them."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson

from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge.domain.segment import FeedLast, FeedSeqs, Manifest, PreviousSegment, hour_of

LANE = Lane("ccxt", "binance", "0of1")
BOOT = "9f3c21ab"
LEVELS = 50
BOOKS_PER_TRADES = 5
T0 = 1_765_288_800_000_000_000
MARKETS = (("BTC/USDT", 65_000.0, 2), ("ETH/USDT", 3_200.0, 2), ("SOL/USDT", 150.0, 3))


class Market:
    """One symbol whose price drifts; every level of its book is new in each update."""

    def __init__(self, name: str, mid: float, digits: int, chance: np.random.Generator) -> None:
        self.name = name
        self._mid = mid
        self._digits = digits
        self._chance = chance
        self._trade_id = 3_735_691_683
        self.writers = {
            channel: RecordWriter(Feed(LANE.source, LANE.exchange, channel, name), BOOT)
            for channel in ("orderbook", "trades")
        }
        self.seqs = dict.fromkeys(self.writers, 0)

    def line(self, channel: str, at: int, data: object) -> bytes:
        self.seqs[channel] += 1
        return self.writers[channel].line(
            conn=1, seq=self.seqs[channel], capture_ns=at, exchange_ms=at // 1_000_000, data=orjson.dumps(data)
        )

    def book(self, at: int) -> bytes:
        chance, digits = self._chance, self._digits
        self._mid *= 1 + chance.normal() * 1e-5
        steps = np.cumsum(chance.integers(1, 8, (2, LEVELS)), axis=1) * 10.0**-digits
        sizes = np.round(chance.exponential(1.0, (2, LEVELS)) + 1e-5, 5)
        bids, asks = np.round(self._mid - steps[0], digits), np.round(self._mid + steps[1], digits)
        data = {
            "symbol": self.name,
            "bids": list(zip(bids.tolist(), sizes[0].tolist(), strict=True)),
            "asks": list(zip(asks.tolist(), sizes[1].tolist(), strict=True)),
            "timestamp": at // 1_000_000,
            "datetime": time_text(at),
            "nonce": self.seqs["orderbook"] + 1,
        }
        return self.line("orderbook", at, data)

    def trades(self, at: int) -> bytes:
        return self.line("trades", at, [self._trade(at) for _ in range(int(self._chance.integers(1, 4)))])

    def _trade(self, at: int) -> dict[str, object]:
        self._trade_id += 1
        price, amount = round(self._mid, self._digits), round(float(self._chance.exponential(0.1)) + 1e-5, 5)
        return {
            "timestamp": at // 1_000_000,
            "datetime": time_text(at),
            "symbol": self.name,
            "id": str(self._trade_id),
            "order": None,
            "type": None,
            "side": "buy" if self._chance.random() < 0.5 else "sell",
            "takerOrMaker": None,
            "price": price,
            "amount": amount,
            "cost": price * amount,
            "fee": {"cost": None, "currency": None},
            "fees": [],
        }


def time_text(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000_000 / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Recording:
    """One lane that goes on from segment to segment."""

    def __init__(self) -> None:
        self._chance = np.random.default_rng(7)
        self._markets = [Market(*market, self._chance) for market in MARKETS]
        self._at = T0
        self._previous: PreviousSegment | None = None
        self._stream_seq = 0

    def seal(self, folder: Path, size_mb: int) -> Path:
        """Write the next segment of at least this size, with its manifest; return the data file."""
        folder.mkdir(parents=True, exist_ok=True)
        counter = 1 if self._previous is None else int(self._previous.name[-5:]) + 1
        name = f"segment_{hour_of(T0)}_{counter:05d}"
        path = folder / f"{name}.ndjson"
        before = [dict(market.seqs) for market in self._markets]
        first_ns, records, checksum = 0, 0, hashlib.sha256()
        with path.open("wb") as file:
            for line in self._lines(size_mb * 1_000_000):
                first_ns = first_ns or self._at
                checksum.update(line)
                file.write(line)
                records += 1
        manifest = Manifest(
            name=name,
            file=path.name,
            source=LANE.source,
            exchange=LANE.exchange,
            shard=LANE.shard,
            epoch=1,
            first=self._stream_seq + 1,
            last=self._stream_seq + records,
            records=records,
            size_bytes=path.stat().st_size,
            sha256=checksum.hexdigest(),
            first_capture_ns=first_ns,
            last_capture_ns=self._at,
            feeds=tuple(self._feeds(before)),
            last_seqs=tuple(FeedLast(feed.channel, feed.symbol, BOOT, feed.ranges[-1][1]) for feed in self._feeds()),
            holes=(),
            last_block=f"{BOOT}:{self._stream_seq + records}",
            previous=self._previous,
            final=False,
            created_ns=self._at,
            software="benchmark",
        )
        (folder / f"{name}.manifest.json").write_bytes(manifest.to_json())
        self._stream_seq += records
        self._previous = PreviousSegment(name, 1, self._at)
        return path

    def _lines(self, size_bytes: int) -> Iterator[bytes]:
        chance, written = self._chance, 0
        while written < size_bytes:
            market = self._markets[int(chance.integers(len(self._markets)))]
            self._at += int(chance.integers(1_000_000, 20_000_000))
            is_book = chance.integers(BOOKS_PER_TRADES + 1) > 0
            line = market.book(self._at) if is_book else market.trades(self._at)
            written += len(line)
            yield line

    def _feeds(self, before: list[dict[str, int]] | None = None) -> Iterator[FeedSeqs]:
        for i, market in enumerate(self._markets):
            for channel, last in market.seqs.items():
                first = before[i][channel] + 1 if before else 1
                symbol = market.name.replace("/", "-")
                yield FeedSeqs(channel, symbol, BOOT, ((first, last),), last - first + 1)

"""Recorded lanes: recordings of several exchanges, captured by true collectors at once and sealed by a true segmenter.

The collectors' clocks run as much faster as the recordings are played, so that the lanes have the recordings' own pace.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson

from fluxforge.adapters.local_store import LocalStore
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import Manifest
from tests.recorded.recordings import recording
from tests.system import running_system, simulator

DEPTH = 50


@dataclass(frozen=True)
class Venue:
    """What is played of an exchange, and what is captured of it. `begin_ns`: about when it was recorded."""

    exchange: str
    file: str
    channels: dict[str, list[str]]
    begin_ns: int
    speed: int
    markets: str | None = None

    @property
    def lane(self) -> Lane:
        return Lane("ccxt", self.exchange, "0of1")

    @property
    def play(self) -> Sequence[object]:
        feeds = sum(map(len, self.channels.values()))
        listed = ["--markets", recording(self.markets)] if self.markets else []
        played = ["--recording", recording(self.file), "--exchange", self.exchange, "--speed", self.speed]
        return [*played, *listed, "--wait-for", feeds, "--once"]


def _channels(*markets: str, ticker: bool = False) -> dict[str, list[str]]:
    names = ["watchOrderBook", "watchTrades", *(["watchTicker"] if ticker else [])]
    return {name: list(markets) for name in names}


_AUGUST_8_NS = 1_723_161_250_000_000_000
VENUES = (
    Venue(
        "binance",
        "binance/spot_btcusdt_20240808.gz",
        _channels("BTC/USDT"),
        _AUGUST_8_NS,
        40,
        "binance/exchangeInfo_spot_20250807.json",
    ),
    Venue(
        "binanceusdm",
        "binance/usdm_ethusdt_20240808.gz",
        _channels("ETH/USDT:USDT"),
        _AUGUST_8_NS,
        40,
        "binance/exchangeInfo_usdm_20250807.json",
    ),
    Venue(
        "binancecoinm",
        "binance/cm_btcusd_perp_20240808.gz",
        _channels("BTC/USD:BTC"),
        _AUGUST_8_NS,
        40,
        "binance/exchangeInfo_coinm_20250807.json",
    ),
    Venue(
        "okx",
        "okx/OKX_20220513.jsonl.zst",
        _channels("BTC/USDT", "UNI/USD:UNI", "BTC/USD:BTC-220527", ticker=True),
        1_652_459_225_000_000_000,
        4,
    ),
    Venue(
        "coinbase",
        "coinbase/COINBASE_20260809_first10s.jsonl.zst",
        _channels("BTC/USD", "ETH/USD", ticker=True),
        1_786_309_548_000_000_000,
        4,
    ),
    Venue("gemini", "gemini/GEMINI_20260809.jsonl.zst", _channels("BTC/USD"), 1_786_313_193_000_000_000, 4),
)


@dataclass(frozen=True)
class RecordedLane:
    """A lane as it was sealed: its manifests in order and where its segments stand."""

    base: Path
    manifests: tuple[Manifest, ...]

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.base, sync=False)

    @property
    def lane(self) -> Lane:
        return self.manifests[0].lane

    def first(self, records_max: int) -> "RecordedLane":
        """Return the lane's first segments, as many as hold so many records."""
        until = list(accumulate(manifest.records for manifest in self.manifests))
        kept = [m for m, records in zip(self.manifests, until, strict=True) if records <= records_max]
        return RecordedLane(self.base, tuple(kept))

    @property
    def lines(self) -> list[bytes]:
        return list(self._lines())

    @property
    def records(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self._lines()]

    def _lines(self) -> Iterator[bytes]:
        for manifest in self.manifests:
            path = self.base / "raw" / "ready" / manifest.lane.folder / manifest.file
            yield from path.read_bytes().splitlines(keepends=True)


def recorded_lanes(base: Path) -> dict[str, RecordedLane]:
    """Capture every venue; return the lanes by exchange."""
    return asyncio.run(_capture(base))


async def _capture(base: Path) -> dict[str, RecordedLane]:
    async with AsyncExitStack() as stack:
        plays = await asyncio.gather(*(stack.enter_async_context(simulator(*venue.play)) for venue in VENUES))
        exchanges = {
            venue.exchange: {"via": f"127.0.0.1:{port}", "max_orderbook_depth": DEPTH, "channels": venue.channels}
            for venue, (port, _) in zip(VENUES, plays, strict=True)
        }
        ingestion = {"segment_max_mb": 2, "segment_max_age_seconds": 5}
        system = await stack.enter_async_context(running_system(base, exchanges, ingestion=ingestion))
        segmenter = await system.start("segmenter")
        collectors = [
            await system.start("clock_collector", venue.exchange, str(venue.begin_ns), str(venue.speed))
            for venue in VENUES
        ]
        async with asyncio.timeout(180):
            for _, playing in plays:
                await playing.wait()
        for status in await asyncio.gather(*map(system.drain_collector, collectors)):
            assert status.dropped == 0
            assert status.captured == status.stored
        await system.drain(segmenter)
        found = system.manifests()
        return {venue.exchange: RecordedLane(base, tuple(m for m in found if m.lane == venue.lane)) for venue in VENUES}

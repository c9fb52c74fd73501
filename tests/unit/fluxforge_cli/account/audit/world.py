"""Books made by hand: segments of a lane with true manifests, processed by the real ETL into a directory."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fluxforge.domain.control import After, Control, Event
from fluxforge.domain.lane import Lane
from fluxforge.domain.record import Feed, RecordWriter
from fluxforge.domain.segment import FeedLast, FeedSeqs, Manifest, PreviousSegment
from fluxforge.runtime.settings import Settings, StoreLocation
from fluxforge_cli.account.audit.close import Audit, close
from fluxforge_cli.account.audit.findings import Finding, Kind
from fluxforge_cli.account.audit.take import take
from fluxforge_etl_worker.folder import run_folder

LANE = Lane("ccxt", "binance", "0of1")
BEGIN_NS = 1_795_000_000_000_000_000
_STEP_NS = 100_000_000
_DATA = {
    "orderbook": b'{"bids":[[10.0,1.0]],"asks":[[11.0,2.0]],"timestamp":1,"nonce":null}',
    "ticker": b'{"last":1.5,"bid":1.0,"ask":2.0}',
}
MARKET = "BTC/USDT"
SYMBOL = "BTC-USDT"


@dataclass(frozen=True)
class Line:
    """One record to be: `data` None: the usual one of its channel."""

    channel: str
    seq: int
    boot: str = "b1"
    data: bytes | None = None
    market: str = MARKET


def books(first: int, last: int, boot: str = "b1", market: str = MARKET) -> list[Line]:
    return [Line("orderbook", seq, boot, market=market) for seq in range(first, last + 1)]


def tickers(first: int, last: int, boot: str = "b1") -> list[Line]:
    return [Line("ticker", seq, boot) for seq in range(first, last + 1)]


def trades(first: int, last: int, boot: str = "b1", *, each: int = 2) -> list[Line]:
    def data(seq: int) -> bytes:
        one = b'{"id":"%d-%d","side":"buy","price":1.0,"amount":2.0,"timestamp":3}'
        return b"[" + b",".join(one % (seq, n) for n in range(each)) + b"]"

    return [Line("trades", seq, boot, data(seq)) for seq in range(first, last + 1)]


def control(seq: int, event: Event, boot: str = "b1", **fields: object) -> Line:
    return Line("control", seq, boot, Control(event, **fields).to_json())  # type: ignore[arg-type] # of Control


def started(boot: str = "b1", *, seq: int = 1, after: After | None = None) -> Line:
    return control(seq, Event.STARTED, boot, after=after)


def stopped(seq: int, boot: str = "b1") -> Line:
    return control(seq, Event.STOPPED, boot)


@dataclass
class World:
    """A directory with the segments, commits and parts of lanes."""

    base: Path
    etl: dict[str, object] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)
    now_ns: int = BEGIN_NS

    @property
    def settings(self) -> Settings:
        settings = Settings(etl={"delete_after_processing": False, **self.etl})  # type: ignore[arg-type] # validated
        here = StoreLocation(base_dir=self.base)
        stores = {"ingestion_storage": here, "etl_storage_input": here, "etl_storage_output": here}
        storage = settings.storage.model_copy(update={"scratch_dir": self.base, **stores})
        return settings.model_copy(update={"storage": storage})

    def seal(
        self,
        *parts: Line | Iterable[Line],
        lane: Lane = LANE,
        epoch: int = 1,
        count: int = 2,
        holes: tuple[tuple[int, int], ...] = (),
    ) -> Manifest:
        """Enter a segment of these records, `count` messages of the stream."""
        lines = [line for part in parts for line in ([part] if isinstance(part, Line) else part)]
        previous = next((one for one in reversed(self.manifests) if one.lane == lane), None)
        goes_on = previous is not None and previous.epoch == epoch
        first = previous.last + 1 if previous and goes_on else epoch
        first_ns = self.now_ns + _STEP_NS
        body = b"".join(self._line(lane, line) for line in lines)
        number = 1 + sum(one.lane == lane for one in self.manifests)
        name = f"segment_20261118T12_{number:05d}"
        manifest = Manifest(
            name=name,
            file=f"{name}.ndjson",
            source=lane.source,
            exchange=lane.exchange,
            shard=lane.shard,
            epoch=epoch,
            first=first,
            last=first + count - 1,
            records=len(lines),
            size_bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            first_capture_ns=first_ns,
            last_capture_ns=self.now_ns,
            feeds=_feeds(lines),
            last_seqs=_last_seqs(previous, lines),
            holes=holes,
            last_block="b1:1",
            previous=PreviousSegment(previous.name, previous.epoch, previous.last_capture_ns) if previous else None,
            final=False,
            created_ns=self.now_ns,
            software="test",
        )
        folder = self.base / "raw/ready" / lane.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / manifest.file).write_bytes(body)
        self.write_manifest(manifest)
        self.manifests.append(manifest)
        return manifest

    def write_manifest(self, manifest: Manifest, **changed: object) -> None:
        """Put a manifest in its place, with some fields changed."""
        text = replace(manifest, **changed).to_json()  # type: ignore[arg-type] # fields of a manifest
        self.manifest_path(manifest).write_bytes(text)

    def manifest_path(self, manifest: Manifest) -> Path:
        return self.data_path(manifest).with_name(f"{manifest.name}.manifest.json")

    def data_path(self, manifest: Manifest) -> Path:
        return self.base / "raw/ready" / manifest.lane.folder / manifest.file

    def commit_path(self, manifest: Manifest) -> Path:
        return self.base / "commits" / str(manifest.lane) / f"{manifest.name}.json"

    def part(self, dataset: str, manifest: Manifest) -> Path:
        (found,) = (self.base / "processed/ccxt" / dataset).rglob(f"part_{manifest.lane}_{manifest.name}.parquet")
        return found

    def forge(self) -> None:
        """Process everything that stands, with the real ETL."""
        summary = run_folder(self.settings)
        assert not summary.dead, summary

    def audit(self, *lanes: Lane, deep: bool = False) -> Audit:
        return close(take(self.settings, lanes=lanes, deep=deep))

    def findings(self, *, deep: bool = False) -> list[str]:
        """Return the findings, short: kind, boot, feed, seqs."""
        return [short(one) for one in self.audit(deep=deep).findings]

    def kinds(self, *, deep: bool = False) -> set[Kind]:
        return {one.kind for one in self.audit(deep=deep).findings}

    def _line(self, lane: Lane, line: Line) -> bytes:
        self.now_ns += _STEP_NS
        market = None if line.channel == "control" else line.market
        writer = RecordWriter(Feed(lane.source, lane.exchange, line.channel, market), line.boot)
        data = _DATA[line.channel] if line.data is None else line.data
        return writer.line(conn=1, seq=line.seq, capture_ns=self.now_ns, exchange_ms=1, data=data)


def short(finding: Finding) -> str:
    feed = f" {finding.boot} {finding.channel} {finding.symbol}" if finding.boot else ""
    seqs = "" if finding.first is None else f" {finding.first}-{finding.last}"
    return f"{finding.kind}{feed}{seqs}"


def _feeds(lines: Iterable[Line]) -> tuple[FeedSeqs, ...]:
    seqs: dict[tuple[str, str | None, str], list[int]] = {}
    for line in lines:
        seqs.setdefault(_feed(line), []).append(line.seq)
    return tuple(FeedSeqs(*feed, _ranges(of), len(of)) for feed, of in seqs.items())


def _feed(line: Line) -> tuple[str, str | None, str]:
    symbol = None if line.channel == "control" else line.market.replace("/", "-")
    return line.channel, symbol, line.boot


def _ranges(seqs: list[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] + 1 == seq:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)


def _last_seqs(previous: Manifest | None, lines: Iterable[Line]) -> tuple[FeedLast, ...]:
    last = {(one.channel, one.symbol): one for one in previous.last_seqs} if previous else {}
    for line in lines:
        channel, symbol, boot = _feed(line)
        last[channel, symbol] = FeedLast(channel, symbol, boot, line.seq)
    return tuple(last.values())

"""The tail of a segment: what its successors must know of it, and its bytes, the sidecar `<segment>.tail.arrow`. Pure.

A tail is a function of the segment's raw bytes and manifest alone, so whoever needs one that is not there builds it.
It holds the segment's own records within the lookback of its end; a segment shorter than that is chained with the ones
before it. One Arrow record batch of one row: each column a list of structs, what speaks of the whole in the metadata.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

import orjson
import pyarrow as pa

from fluxforge.domain.errors import SegmentCorruptError
from fluxforge.domain.segment import Manifest, PreviousSegment
from fluxforge_etl_worker.columns import Instrument
from fluxforge_etl_worker.features.streams import Updates
from fluxforge_etl_worker.history import CONTROL_REACH_NS, History, Lookback, Past, PastTrades
from fluxforge_etl_worker.holes import Hole, closed, holes_of
from fluxforge_etl_worker.resent import SeenTrades
from fluxforge_etl_worker.settings import EtlOptions
from fluxforge_etl_worker.tail_columns import batch_of, history_from

TAIL_VERSION: Final = 1
_METADATA: Final = b"fluxforge.tail"


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of one segment. `history` holds its own records only; `until_ns` of it is the segment's watermark."""

    lane: str
    segment: str
    previous: PreviousSegment | None
    first_capture_ns: int
    lookback: Lookback
    history: History

    @property
    def last_capture_ns(self) -> int:
        """The segment's watermark."""
        assert self.history.until_ns is not None
        return self.history.until_ns

    def to_bytes(self) -> bytes:
        """Return the sidecar."""
        about = {
            "v": TAIL_VERSION,
            "lane": self.lane,
            "segment": self.segment,
            "previous": asdict(self.previous) if self.previous else None,
            "first_capture_ns": self.first_capture_ns,
            "last_capture_ns": self.last_capture_ns,
            "lookback": asdict(self.lookback),
            "holes": [[hole.from_ns, hole.to_ns] for hole in self.history.holes],
            "trades_since": dict(sorted(self.history.trades_since.items())),
        }
        batch = batch_of(self.history)
        batch = batch.replace_schema_metadata({_METADATA: orjson.dumps(about)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_batch(batch)
        body: bytes = sink.getvalue().to_pybytes()
        return body

    @classmethod
    def from_bytes(cls, body: bytes, *, what: str) -> Self:
        """Return the tail of a sidecar; `what` names the object.

        Raises:
            SegmentCorruptError: Not a sidecar, or of another version.
        """
        try:
            with pa.ipc.open_file(pa.BufferReader(body)) as reader:
                batch = reader.get_batch(0)
            about = orjson.loads(batch.schema.metadata[_METADATA])
            if about["v"] != TAIL_VERSION:
                raise SegmentCorruptError(what, f"version {TAIL_VERSION}", str(about["v"]))
            previous = about["previous"]
            history = history_from(batch, until_ns=about["last_capture_ns"], trades_since=about["trades_since"])
            holes = tuple(Hole(from_ns, to_ns) for from_ns, to_ns in about.get("holes", ()))  # older ones know of none
            return cls(
                lane=about["lane"],
                segment=about["segment"],
                previous=PreviousSegment(**previous) if previous else None,
                first_capture_ns=about["first_capture_ns"],
                lookback=Lookback(**about["lookback"]),
                history=replace(history, holes=holes),
            )
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise SegmentCorruptError(what, "a tail sidecar", str(error)) from error


def tail_at_end(manifest: Manifest, history: History, options: EtlOptions) -> Tail:
    """Return the tail of a segment from the history after it, of which its own records are taken."""
    own_ns = manifest.after_ns
    own_reach_ns = manifest.last_capture_ns - options.lookback.reach_ns
    end = replace(history, until_ns=manifest.last_capture_ns).pruned(options.lookback)
    pasts = {key: past.after(own_ns, own_ns) for key, past in end.instruments.items()}
    own = History(
        until_ns=manifest.last_capture_ns,
        instruments={key: past for key, past in pasts.items() if past.last or len(past.trades.capture_ns)},
        controls=tuple(row for row in end.controls if row.capture_ns > own_ns),
        trades_since={} if "trades" in options.disabled else _trades_since(manifest, pasts),
        holes=tuple(hole for hole in holes_of(manifest) if hole.ends_after(own_reach_ns)),
    )
    return Tail(
        lane=str(manifest.lane),
        segment=manifest.name,
        previous=manifest.previous,
        first_capture_ns=manifest.first_capture_ns,
        lookback=options.lookback,
        history=own,
    )


def history_of(tails: Sequence[Tail], previous: PreviousSegment, options: EtlOptions) -> History:
    """Return the history before a segment from the tails before it, oldest first; `previous` is its manifest's.

    What the tails do not reach, because one is lost or was written for a shorter lookback, counts as not known.
    """
    begin_ns = previous.last_capture_ns - options.lookback.books_ns
    known = _contiguous(tails)
    blind_ns = lane_first_ns = None
    if not known:
        blind_ns = previous.last_capture_ns + CONTROL_REACH_NS
    elif _begin(known[0]) > begin_ns:
        if known[0].previous is None and not _is_cut(known[0]):
            lane_first_ns = known[0].first_capture_ns
        else:
            blind_ns = _begin(known[0]) + CONTROL_REACH_NS
    since: dict[str, int] = {}
    for tail in tails:
        for symbol, first_ns in tail.history.trades_since.items():
            since.setdefault(symbol, first_ns)  # to later ones it came before they begin
    joined = History(
        until_ns=previous.last_capture_ns,
        lane_first_ns=lane_first_ns,
        blind_ns=blind_ns,
        instruments=_joined_pasts([tail.history.instruments for tail in known], options),
        controls=tuple(row for tail in known for row in tail.history.controls),
        trades_since=since,
        holes=_joined_holes(tails),
    )
    return joined.pruned(options.lookback)


def _joined_holes(tails: Iterable[Tail]) -> tuple[Hole, ...]:
    """Return the holes of all tails: one may end with a record so late that nothing else before it is asked for."""
    holes: tuple[Hole, ...] = ()
    for tail in tails:
        has_records = tail.last_capture_ns > _before(tail)
        holes = (closed(holes, tail.first_capture_ns) if has_records else holes) + tail.history.holes
    return holes


def _contiguous(tails: Sequence[Tail]) -> list[Tail]:
    """Return the newest tails that leave no gap between them."""
    known: list[Tail] = []
    for tail in reversed(tails):
        known.append(tail)
        if _is_cut(tail):
            break
    return known[::-1]


def _before(tail: Tail) -> int:
    return tail.previous.last_capture_ns if tail.previous else tail.first_capture_ns - 1


def _is_cut(tail: Tail) -> bool:
    """Return whether the tail leaves out the beginning of its segment."""
    return tail.last_capture_ns - tail.lookback.books_ns > _before(tail)


def _begin(tail: Tail) -> int:
    """Return the time after which everything of the lane is in the tail, up to its end."""
    return max(_before(tail), tail.last_capture_ns - tail.lookback.books_ns)


def _joined_pasts(parts: Iterable[Mapping[Instrument, Past]], options: EtlOptions) -> dict[Instrument, Past]:
    found: dict[Instrument, list[Past]] = {}
    for part in parts:
        for instrument, past in part.items():
            found.setdefault(instrument, []).append(past)
    return {
        instrument: Past(
            instrument,
            Updates.joined([past.updates for past in pasts]),
            _counted(PastTrades.joined([past.trades for past in pasts]), options),
            next((past.last for past in reversed(pasts) if past.last), None),
        )
        for instrument, pasts in found.items()
    }


def _counted(trades: PastTrades, options: EtlOptions) -> PastTrades:
    """Return the trades marked: which of them were resent shows only beside those of the segments before."""
    resent = SeenTrades(options.lookback.books_ns).repeated(trades.trade_id.tolist(), trades.capture_ns.tolist())
    return replace(trades, counts=trades.live & ~resent)


def _trades_since(manifest: Manifest, pasts: Mapping[Instrument, Past]) -> dict[str, int]:
    """Return for each trades feed of the lane when its first record came; 0: before the tail begins."""
    captured: dict[str, int] = {
        last.symbol: 0 for last in manifest.last_seqs if _is_trades(last.channel) and last.symbol
    }
    for feed in manifest.feeds:
        if _is_trades(feed.channel) and feed.symbol:
            captured[feed.symbol] = captured.get(feed.symbol, 0) + feed.count
    since = dict.fromkeys(captured, 0)
    for instrument, past in pasts.items():
        times = past.trades.capture_ns
        if len(times):
            records = 1 + int((times[1:] != times[:-1]).sum())
            is_first = captured.get(instrument.symbol, records) in (0, records)
            since[instrument.symbol] = int(times[0]) if is_first else 0
    return since


def _is_trades(channel: str) -> bool:
    return channel == "trades"

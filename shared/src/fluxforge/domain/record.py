"""Records: one captured message each, one NDJSON line each.

A record is written and read as bytes; `data` is carried as it stands and parsed only in the ETL. `data` is always the
last key: the first `,"data":` of a line ends the envelope, since inside a JSON string the quote would be escaped.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from fluxforge.domain.errors import RecordError
from fluxforge.domain.instrument import symbol_id

RECORD_VERSION: Final = 1
CONTROL_CHANNEL: Final = "control"
FILE_BOOT: Final = "file"
"""The boot of records that another recorder wrote: they have none, and each file numbers them by itself."""
_DATA: Final = b',"data":'
_LINE_BYTES_MIN: Final = 20


@dataclass(frozen=True, slots=True)
class Feed:
    """One stream of updates: (exchange, channel, symbol), with the venue's own market name."""

    source: str
    exchange: str
    channel: str
    market: str | None

    @property
    def symbol(self) -> str | None:
        """The id used in paths, subjects and columns; None for control records."""
        return None if self.market is None else symbol_id(self.market)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands in a record before `data`. Times: `capture_ns` ns UTC, `exchange_ms` ms UTC or None."""

    v: int
    source: str
    exchange: str
    channel: str
    symbol: str | None
    market: str | None
    boot: str
    conn: int
    seq: int
    capture_ns: int
    exchange_ms: int | None
    source_kind: str | None = None
    snapshot: bool = False


class RecordWriter:
    """Writes the records of one feed of one boot; the unchanging part of the line is rendered once."""

    __slots__ = ("_head",)

    def __init__(self, feed: Feed, boot: str) -> None:
        head = orjson.dumps(
            {
                "v": RECORD_VERSION,
                "source": feed.source,
                "exchange": feed.exchange,
                "channel": feed.channel,
                "symbol": feed.symbol,
                "market": feed.market,
                "boot": boot,
            }
        )
        self._head = (
            head[:-1].replace(b"%", b"%%") + b',"conn":%d,"seq":%d,"capture_ns":%d,"exchange_ms":%b%b,"data":%b}\n'
        )

    def line(
        self,
        *,
        conn: int,
        seq: int,
        capture_ns: int,
        exchange_ms: int | None,
        data: bytes,
        snapshot: bool = False,
        backfill: bool = False,
    ) -> bytes:
        """Return one NDJSON line; `data` is JSON text and is put in as it is."""
        extra = (b',"source_kind":"backfill"' if backfill else b"") + (b',"snapshot":true' if snapshot else b"")
        ms = b"null" if exchange_ms is None else b"%d" % exchange_ms
        return self._head % (conn, seq, capture_ns, ms, extra, data)


def read_envelope(line: bytes) -> Envelope:
    """Return what stands before `data` in a record line.

    Raises:
        RecordError: The line is no record of version 1; `reason` says why.
    """
    end = line.find(_DATA)
    if end < _LINE_BYTES_MIN:
        raise RecordError("no envelope before data")
    try:
        raw = orjson.loads(line[:end] + b"}")
    except orjson.JSONDecodeError as error:
        raise RecordError(f"envelope is not JSON: {error}") from error
    if raw.get("v") != RECORD_VERSION:
        raise RecordError(f"unknown record version {raw.get('v')!r}")
    try:
        return Envelope(
            v=raw["v"],
            source=raw["source"],
            exchange=raw["exchange"],
            channel=raw["channel"],
            symbol=raw["symbol"],
            market=raw["market"],
            boot=raw["boot"],
            conn=raw["conn"],
            seq=raw["seq"],
            capture_ns=raw["capture_ns"],
            exchange_ms=raw["exchange_ms"],
            source_kind=raw.get("source_kind"),
            snapshot=bool(raw.get("snapshot", False)),
        )
    except KeyError as error:
        raise RecordError(f"envelope lacks {error.args[0]!r}") from error


def read_data(line: bytes) -> bytes:
    """Return the JSON text of `data` of a record line, without parsing it.

    Raises:
        RecordError: The line has no `data` or is torn.
    """
    end = line.find(_DATA)
    body = line[end + len(_DATA) :].rstrip(b"\n") if end > 0 else b""
    if not body.endswith(b"}"):
        raise RecordError("torn line")
    return body[:-1]

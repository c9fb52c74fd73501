"""Heads: what is the same in every record of one feed and boot, read once and found again by its bytes.

A record line of ours is `<head>,"conn":..,"seq":..,"capture_ns":..,"exchange_ms":..[,more],"data":<payload>}`. Any
other line that holds the same fields is read in full; one without `v` is a record of another recorder (version 0).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import orjson

from fluxforge.domain.errors import NameRefusedError, RecordError
from fluxforge.domain.instrument import encode_component, symbol_id
from fluxforge.domain.lane import Lane
from fluxforge.domain.partition import Dataset
from fluxforge.domain.record import CONTROL_CHANNEL, FILE_BOOT, RECORD_VERSION

_CHANNEL: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_USUAL_STAMP: Final = re.compile(
    rb',"conn":(?:0|[1-9]\d*),"seq":([1-9]\d{0,17}),"capture_ns":([1-8]\d{18})'
    rb',"exchange_ms":(?:null|([1-9]\d{0,17})),"data":'
).match
_STAMP_KEYS: Final = frozenset({"conn", "seq", "capture_ns", "exchange_ms", "source_kind", "snapshot"})
_INT64: Final = 2**63
_HEAD_KEYS: Final = ("source", "exchange", "channel", "symbol", "market", "boot")


class Kind(Enum):
    """How the payload of a channel is read."""

    BOOK = "orderbook"
    TRADES = "trades"
    TICKER = "ticker"
    CONTROL = "control"
    GENERIC = "generic"


_KINDS: Final = {kind.value: kind for kind in Kind if kind is not Kind.GENERIC}


@dataclass(slots=True, eq=False)
class Head:
    """A feed and boot; `seqs` are those of its records in the slice at hand."""

    kind: Kind
    channel: str
    symbol: str | None
    market: str | None
    boot: str
    seqs: list[int] = field(default_factory=list)


Stamp = tuple[int, int, int | None, str | None, bool]
"""What differs from record to record, before `data`: seq, capture_ns, exchange_ms, source_kind, snapshot.

A plain tuple, since one is made for every record.
"""


def head_of(raw: Mapping[str, Any], lane: Lane) -> Head:
    """Return the head of a record's fields, all but `v`.

    Raises:
        RecordError: A field lacks, has a wrong type, or speaks of another lane.
    """
    missing = [key for key in _HEAD_KEYS if key not in raw]
    if missing:
        raise RecordError(f"record lacks {missing[0]!r}")
    if raw["source"] != lane.source or raw["exchange"] != lane.exchange:
        raise RecordError(f"record of another lane: {raw['source']!r:.40}, {raw['exchange']!r:.40}")
    channel, boot = raw["channel"], raw["boot"]
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel) or channel == Dataset.COVERAGE:
        raise RecordError(f"channel: expected a lower-case name, was {channel!r:.40}")
    if not isinstance(boot, str) or not boot:
        raise RecordError(f"boot: expected an id, was {boot!r:.40}")
    symbol, market = raw["symbol"], raw["market"]
    if channel == CONTROL_CHANNEL:
        return Head(Kind.CONTROL, channel, None, None, boot)
    _check_symbol(symbol, market)
    return Head(_KINDS.get(channel, Kind.GENERIC), channel, symbol, market, boot)


def usual_stamp(line: bytes, begin: int) -> tuple[Stamp, int] | None:
    """Return the stamp that stands there, from `,"conn"` up to `"data":`, and where it ends; None: read it as JSON.

    Nearly all stamps are alike but for their digits: 0.6 us by one match, 1.0 us by a JSON parser and its checks.
    """
    found = _USUAL_STAMP(line, begin)
    if found is None:
        return None
    seq, capture_ns, exchange_ms = found.groups()
    return (int(seq), int(capture_ns), None if exchange_ms is None else int(exchange_ms), None, False), found.end()


def stamp_of(raw: Mapping[str, Any]) -> Stamp:
    """Return the stamp of a record's fields.

    Raises:
        RecordError: A field lacks, is unknown or has a wrong type.
    """
    if not raw.keys() <= _STAMP_KEYS:
        raise RecordError(f"unknown field {min(raw.keys() - _STAMP_KEYS)!r:.40}")
    try:
        seq, capture_ns, exchange_ms = raw["seq"], raw["capture_ns"], raw["exchange_ms"]
    except KeyError as error:
        raise RecordError(f"record lacks {error.args[0]!r}") from None
    if type(seq) is not int or not 0 < seq < _INT64:
        raise RecordError(f"seq: expected a whole number from 1, was {seq!r:.40}")
    if type(capture_ns) is not int or not 0 < capture_ns < _INT64:
        raise RecordError(f"capture_ns: expected ns since the epoch, was {capture_ns!r:.40}")
    if exchange_ms is not None and (type(exchange_ms) is not int or not -_INT64 < exchange_ms < _INT64):
        raise RecordError(f"exchange_ms: expected ms since the epoch or null, was {exchange_ms!r:.40}")
    source_kind = raw.get("source_kind")
    if source_kind is not None and not isinstance(source_kind, str):
        raise RecordError(f"source_kind: expected a name, was {source_kind!r:.40}")
    snapshot = raw.get("snapshot", False)
    if snapshot is not False and snapshot is not True:
        raise RecordError(f"snapshot: expected true, was {snapshot!r:.40}")
    return seq, capture_ns, exchange_ms, source_kind, snapshot


def whole_record(line: bytes, lane: Lane) -> tuple[dict[str, Any], dict[str, Any], bytes, bool]:
    """Read a line of an unusual form: head fields, stamp fields, text of `data`, whether it is version 0.

    A version 0 record lacks `v`, may lack all but channel, capture_ns, data and market or symbol, and gets its seq from
    the caller.

    Raises:
        RecordError: Not an object, or of a version unknown here.
    """
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error}") from None
    if not isinstance(raw, dict) or "data" not in raw:
        raise RecordError("not a record: expected an object with data")
    try:
        data = orjson.dumps(raw.pop("data"))
    except TypeError as error:  # it nests deeper than can be written again
        raise RecordError(f"data: {error}") from None
    foreign = "v" not in raw
    if foreign:
        raw = _foreign(raw, lane)
    elif raw.pop("v") != RECORD_VERSION:
        raise RecordError("unknown record version")
    head = {key: raw.pop(key) for key in _HEAD_KEYS if key in raw}
    return head, raw, data, foreign


def _foreign(raw: dict[str, Any], lane: Lane) -> dict[str, Any]:
    market = raw.get("market", raw.get("symbol"))
    if isinstance(market, str):
        raw.setdefault("market", market)
        raw["symbol"] = symbol_id(raw.get("symbol") or market) if isinstance(raw.get("symbol", ""), str) else None
    wanted = {"source": lane.source, "exchange": lane.exchange, "exchange_ms": None, **raw, "boot": FILE_BOOT, "seq": 1}
    return {key: value for key, value in wanted.items() if key in _HEAD_KEYS or key in _STAMP_KEYS}


def _check_symbol(symbol: object, market: object) -> None:
    if not isinstance(symbol, str) or not isinstance(market, str) or not market:
        raise RecordError(f"symbol and market: expected names, were {symbol!r:.40}, {market!r:.40}")
    try:
        encode_component(symbol)
    except NameRefusedError as error:
        raise RecordError(str(error)) from None

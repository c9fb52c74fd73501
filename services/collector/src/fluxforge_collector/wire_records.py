"""Wire records: what went over the wire as record data, and back. Pure.

Text is cut into pieces of bounded size, one record each, since JSON may escape one character as six bytes: every piece
but the last bears `"more":true`, and only the first says what it is a piece of.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fluxforge.domain.errors import RecordError
from fluxforge.domain.record import Feed

WIRE_CHANNEL: Final = "wire"
WIRE_MARKET: Final = "*"
"""A wire record is of every market: one connection carries many."""
PIECE_CHARS: Final = 131_072


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was received, or sent by us."""

    payload: str | bytes
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A REST request and what came of it: status and body, or the `error` (ccxt's name of it) in place of both."""

    method: str
    url: str
    body: str | None
    status: int | None
    text: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """An update was resolved outside of any frame, under this message hash; the record's time is the update's."""

    message_hash: str


@dataclass(frozen=True, slots=True)
class Setup:
    """How the client was set up. `channels`: the markets by method; `timeframe`: of candles."""

    ccxt: str
    exchange: str
    depth: int
    via: str | None
    options: dict[str, Any]
    channels: dict[str, tuple[str, ...]]
    timeframe: str


WireItem = Frame | Answer | Resolved | Setup


def wire_feed(source: str, exchange: str) -> Feed:
    """Return the feed of an exchange's wire, which a lane has one of."""
    return Feed(source, exchange, WIRE_CHANNEL, WIRE_MARKET)


def received(payload: str | bytes) -> Iterator[bytes]:
    """Yield the data of the records of a received frame."""
    if isinstance(payload, str) and len(payload) <= PIECE_CHARS:
        yield b'{"text":%b}' % orjson.dumps(payload)
    else:
        yield from data_of(Frame(payload))


def data_of(item: WireItem) -> Iterator[bytes]:
    """Yield the data of the records of an item, in order."""
    head, key, text = _parts(item)
    last = max(0, len(text) - 1) // PIECE_CHARS
    for number in range(last + 1):
        piece = {**head, key: text[number * PIECE_CHARS : (number + 1) * PIECE_CHARS]}
        yield orjson.dumps(piece if number == last else {**piece, "more": True})
        head = {}


def item_of(pieces: Sequence[dict[str, Any]]) -> WireItem:
    """Return the item whose records hold this data.

    Raises:
        RecordError: It is no wire record.
    """
    head = pieces[0]
    try:
        if "b64" in head:
            return Frame(b64decode("".join(piece["b64"] for piece in pieces), validate=True), "sent" in head)
        text = "".join(piece["text"] for piece in pieces)
        if "url" in head:
            error = head.get("error")
            return Answer(head["method"], head["url"], head.get("body"), head.get("status"), text, error)
        if "resolved" in head:
            return Resolved(text)
        return _setup(orjson.loads(text)) if "setup" in head else Frame(text, "sent" in head)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise RecordError(f"no wire record: {type(error).__name__} {error}") from error


def _parts(item: WireItem) -> tuple[dict[str, Any], str, str]:
    """Return what the first piece says of the item, and the key and text that are cut."""
    match item:
        case Frame(payload, sent):
            head = {"sent": True} if sent else {}
            return (head, "text", payload) if isinstance(payload, str) else (head, "b64", b64encode(payload).decode())
        case Answer(method, url, body, status, text, error):
            said = {"method": method, "url": url, "body": body, "status": status, "error": error}
            return {key: value for key, value in said.items() if value is not None}, "text", text
        case Resolved(message_hash):
            return {"resolved": True}, "text", message_hash
        case Setup():
            return {"setup": True}, "text", orjson.dumps(item, option=orjson.OPT_NON_STR_KEYS).decode()


def _setup(raw: dict[str, Any]) -> Setup:
    return Setup(**{**raw, "channels": {method: tuple(markets) for method, markets in raw["channels"].items()}})

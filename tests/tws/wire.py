"""The TWS protocol as a server speaks it: length-prefixed messages of NUL-terminated fields, of server version 176."""

import struct
from dataclasses import dataclass

SERVER_VERSION = 176
_LENGTH = struct.Struct(">I")


def frame(*fields: object) -> bytes:
    text = "".join(f"{_text(field)}\0" for field in fields).encode()
    return _LENGTH.pack(len(text)) + text


def fields_of(data: bytes) -> list[str]:
    return data.decode().split("\0")[:-1]


def length_of(prefix: bytes) -> int:
    return _LENGTH.unpack(prefix)[0]


def _text(field: object) -> str:
    return str(int(field)) if isinstance(field, bool) else str(field)


@dataclass(frozen=True)
class Listing:
    """A contract that the stand-in knows."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    currency: str = "USD"
    local_symbol: str = ""
    expiry: str = ""
    multiplier: str = ""
    primary: str = ""

    def is_meant(self, asked: list[str]) -> bool:
        """Return whether the twelve fields of a contract in a request describe this one."""
        con_id, symbol, kind, expiry, _, _, _, exchange, primary, currency, local, _ = asked
        return (
            kind == self.sec_type
            and exchange == self.exchange
            and con_id in {"0", str(self.con_id)}
            and all(
                wanted in {"", has}
                for wanted, has in (
                    (symbol, self.symbol),
                    (currency, self.currency),
                    (local, self.local_symbol),
                    (primary, self.primary),
                )
            )
            and self.expiry.startswith(expiry)
        )


def contract_details(number: int, listing: Listing) -> bytes:
    head = (listing.symbol, listing.sec_type, listing.expiry, "0", "", listing.exchange, listing.currency)
    named = (listing.local_symbol, listing.symbol, listing.symbol, listing.con_id, "0.01", listing.multiplier)
    venues = ("ACTIVETIM,LMT,MKT", listing.exchange, 1, 0, f"{listing.symbol} as a test knows it", listing.primary)
    times = ("", "", "", "", "US/Eastern", "", "", "", "")
    rest = (0, 1, "", "", "26", "", "COMMON", "0.0001", "0.0001", "100")
    return frame(10, number, *head, *named, *venues, *times, *rest)


def contract_details_end(number: int) -> bytes:
    return frame(52, 1, number)


def error(number: int, code: int, text: str) -> bytes:
    return frame(4, 2, number, code, text, "")


def price(number: int, tick_type: int, value: float, size: float) -> bytes:
    return frame(1, 6, number, tick_type, value, size, 1)


def size(number: int, tick_type: int, value: float) -> bytes:
    return frame(2, 6, number, tick_type, value)


def text(number: int, tick_type: int, value: str) -> bytes:
    return frame(46, 6, number, tick_type, value)


def generic(number: int, tick_type: int, value: float) -> bytes:
    return frame(45, 6, number, tick_type, value)


def market_data_type(number: int, kind: int) -> bytes:
    return frame(58, 1, number, kind)


def row(number: int, position: int, operation: int, value: float, amount: float, *, is_bid: bool) -> bytes:
    return frame(12, 1, number, position, operation, is_bid, value, amount)


def maker_row(
    number: int, position: int, operation: int, value: float, amount: float, maker: str, *, is_bid: bool
) -> bytes:
    return frame(13, 1, number, position, maker, operation, is_bid, value, amount, 1)


def trade(
    number: int, at_s: int, value: float, amount: float, mask: int = 0, exchange: str = "", codes: str = ""
) -> bytes:
    return frame(99, number, 2, at_s, value, amount, mask, exchange, codes)


def touch(number: int, at_s: int, bid: float, ask: float, bid_size: float, ask_size: float) -> bytes:
    return frame(99, number, 3, at_s, bid, ask, bid_size, ask_size, 0)


def bar(number: int, start_s: int, prices: tuple[float, ...], volume: float, vwap: float, count: int) -> bytes:
    return frame(50, 3, number, start_s, *prices, volume, vwap, count)

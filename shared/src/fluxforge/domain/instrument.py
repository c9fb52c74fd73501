"""Instrument names: market as the venue writes it, symbol id, and the form that may stand in paths and subjects.

One reversible encoder serves subject tokens, file names and Hive values: nothing that comes from outside can
escape its place. `market` is never changed; it is kept in a column of its own.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from fluxforge.domain.errors import ConfigurationError, NameRefusedError

_SAFE = re.compile(r"[A-Za-z0-9_-]+")
_VENUE = re.compile(r"[a-z0-9]+")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
COMPONENT_BYTES_MAX = 120  # a partition's path is encoded once more where it names a file, which may have 255


_TOO_LONG = (
    f"longer than {COMPONENT_BYTES_MAX} bytes when percent-encoded; "
    "letters, digits, - and _ count one byte, each byte of any other character three"
)


def symbol_id(market: str) -> str:
    """Return the id of a market in columns: `BTC/USDT:USDT` -> `BTC-USDT_USDT`."""
    return market.replace("/", "-").replace(":", "_")


def encode_component(text: str) -> str:
    """Percent-encode every byte outside `[A-Za-z0-9_-]`, for one subject token or path component.

    Raises:
        NameRefusedError: Empty, no text, reads as Hive's null, or longer than 120 bytes when encoded.
    """
    try:
        # quote() leaves "." and "~" alone; a dot would split a subject and may walk a path.
        encoded = text if _SAFE.fullmatch(text) else quote(text, safe="").replace(".", "%2E").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise NameRefusedError("component", text[:40], "half a surrogate pair is no text") from error
    if not encoded:
        raise NameRefusedError("component", text, "empty")
    if encoded == _HIVE_NULL:
        raise NameRefusedError("component", text, "Hive reads this value as null")
    if len(encoded) > COMPONENT_BYTES_MAX:
        raise NameRefusedError("component", text[:40], _TOO_LONG)
    return encoded


def decode_component(component: str) -> str:
    """Return the text that `encode_component` encoded."""
    return unquote(component, errors="strict")


def check_venue(what: str, name: str) -> str:
    """Return a source or exchange name, which stand in stream names and keys.

    Raises:
        NameRefusedError: The name is not `[a-z0-9]+`.
    """
    if not _VENUE.fullmatch(name):
        raise NameRefusedError(what, name, "lower-case letters and digits only")
    return name


def check_distinct_symbols(exchange: str, markets: Iterable[str]) -> None:
    """Refuse two markets of one exchange that share one symbol id.

    Raises:
        ConfigurationError: Names both markets.
    """
    seen: dict[str, str] = {}
    for market in markets:
        other = seen.setdefault(symbol_id(market), market)
        if other != market:
            raise ConfigurationError(
                f"{exchange}: markets {other!r} and {market!r} share the symbol id {symbol_id(market)!r}; configure one"
            )

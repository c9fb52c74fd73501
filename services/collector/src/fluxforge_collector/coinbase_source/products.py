"""Products: what Coinbase lists, under the names that ccxt gives its markets. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fluxforge.domain.errors import TransientError

_CODES: Final = {"XBT": "BTC", "BCHSV": "BSV", "CGLD": "CELO"}
"""Currencies that ccxt calls otherwise than the venue does."""


class ProductsUnavailableError(TransientError):
    """The list of products was not to be had; `retry_after_s` is what the venue asked for, 0.0 where it did not."""

    def __init__(self, reason: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(f"coinbase: no list of products: {reason}")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Product:
    """One spot market. `alias` is the id of the product whose data this one's channels bring, where it is another's."""

    id: str
    market: str
    quote: str
    alias: str | None
    is_active: bool


def products_of(reply: bytes) -> Mapping[str, Product]:
    """Return the spot products of a reply of `GET /api/v3/brokerage/market/products`, by market.

    Raises:
        ProductsUnavailableError: The reply is no such list.
    """
    try:
        listed = [_product(entry) for entry in orjson.loads(reply)["products"] if entry["product_type"] == "SPOT"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        text = reply[:80].decode(errors="replace")
        raise ProductsUnavailableError(f"expected an object with products, was {text!r}") from error
    return {product.market: product for product in listed}


def _product(entry: Mapping[str, Any]) -> Product:
    base, quote = (_code(entry[f"{side}_currency_id"]) for side in ("base", "quote"))
    return Product(
        id=entry["product_id"],
        market=f"{base}/{quote}",
        quote=quote,
        alias=entry.get("alias") or None,
        is_active=entry.get("trading_disabled") is not True,
    )


def _code(currency: str) -> str:
    code = currency.upper()
    return _CODES.get(code, code)

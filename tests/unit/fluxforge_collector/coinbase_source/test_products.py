import orjson
import pytest

from fluxforge_collector.coinbase_source.products import Product, ProductsUnavailableError, products_of


def entry(product: str, **more: object) -> dict[str, object]:
    base, quote = product.split("-")
    return {
        "product_id": product,
        "product_type": "SPOT",
        "base_currency_id": base,
        "quote_currency_id": quote,
        "trading_disabled": False,
        "alias": "",
        **more,
    }


def test_spot_products_are_known_by_ccxt_s_names() -> None:
    reply = orjson.dumps(
        {
            "products": [
                entry("BTC-USD"),
                entry("BTC-USDC", alias="BTC-USD"),
                entry("CGLD-USD", trading_disabled=True),
                entry("BIT-CDE", product_type="FUTURE"),
            ]
        }
    )
    assert products_of(reply) == {
        "BTC/USD": Product("BTC-USD", "BTC/USD", "USD", None, is_active=True),
        "BTC/USDC": Product("BTC-USDC", "BTC/USDC", "USDC", "BTC-USD", is_active=True),
        "CELO/USD": Product("CGLD-USD", "CELO/USD", "USD", None, is_active=False),
    }


@pytest.mark.parametrize("reply", [b"<html>", b"{}", b"[1]", b'{"products":[{}]}', b'{"products":null}'])
def test_what_is_no_list_of_products_is_asked_for_again(reply: bytes) -> None:
    with pytest.raises(ProductsUnavailableError, match="expected an object with products, was"):
        products_of(reply)

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.errors import ConfigurationError, NameRefusedError
from fluxforge.domain.instrument import (
    check_distinct_symbols,
    check_venue,
    decode_component,
    encode_component,
    symbol_id,
)

HOSTILE = ["../../x", "a.b", "*", ">", "a\r\nb", "市场", " ", "..", ".", "~", "%2e", "a b", "\x00", "=", "a/b\\c"]


@pytest.mark.parametrize(
    ("market", "symbol"), [("BTC/USDT", "BTC-USDT"), ("BTC/USDT:USDT", "BTC-USDT_USDT"), ("BTC-PERP", "BTC-PERP")]
)
def test_a_market_has_one_symbol_id(market: str, symbol: str) -> None:
    assert symbol_id(market) == symbol


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_cannot_leave_its_place(text: str) -> None:
    encoded = encode_component(text)
    assert re.fullmatch(r"[A-Za-z0-9_%-]+", encoded)
    assert decode_component(encoded) == text


@given(st.text(min_size=1, max_size=20))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    try:
        encoded = encode_component(text)
    except (NameRefusedError, UnicodeEncodeError):
        return
    assert decode_component(encoded) == text
    assert not set(encoded) & set("./\\*> \n\r\t=")


@pytest.mark.parametrize("text", ["", "__HIVE_DEFAULT_PARTITION__", "x" * 300])
def test_what_cannot_be_a_component_is_refused(text: str) -> None:
    with pytest.raises(NameRefusedError, match="refused"):
        encode_component(text)


@pytest.mark.parametrize("name", ["Binance", "a b", "", "a-b", "x.y", "ä"])
def test_a_venue_name_is_lower_case_letters_and_digits(name: str) -> None:
    with pytest.raises(NameRefusedError, match="exchange"):
        check_venue("exchange", name)


def test_two_markets_with_one_symbol_id_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"'A/B' and 'A-B' share the symbol id 'A-B'"):
        check_distinct_symbols("binance", ["A/B", "C/D", "A-B"])
    check_distinct_symbols("binance", ["A/B", "A/B", "C/D"])

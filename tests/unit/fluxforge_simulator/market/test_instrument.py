import pytest

from fluxforge_simulator.market.instrument import Instrument, fixed, plain


@pytest.mark.parametrize(
    ("units", "decimals", "text"), [(0, 2, "0.00"), (5, 3, "0.005"), (123456, 2, "1234.56"), (7, 0, "7")]
)
def test_units_are_written_with_all_decimals(units: int, decimals: int, text: str) -> None:
    assert fixed(units, decimals) == text


def test_an_instrument_writes_ticks_and_lots() -> None:
    instrument = Instrument("BTC", "USDT", 65_000.0, 2, 5)
    assert instrument.symbol == "BTC/USDT"
    assert instrument.price(6_500_001) == "65000.01"
    assert instrument.quantity(12) == "0.00012"


@pytest.mark.parametrize(("text", "short"), [("0.500", "0.5"), ("10.00", "10"), ("100", "100"), ("0.00", "0")])
def test_zeros_behind_the_point_are_left_out(text: str, short: str) -> None:
    assert plain(text) == short


def test_a_contract_s_symbol_says_what_it_is_settled_in() -> None:
    assert Instrument("BTC", "USDT", 1.0, 1, 3).symbol == "BTC/USDT"
    assert Instrument("BTC", "USDT", 1.0, 1, 3, settle="USDT").symbol == "BTC/USDT:USDT"

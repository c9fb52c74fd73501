import pytest

from fluxforge_collector.ibkr_source.quote import Quote


def test_ticks_add_up_to_a_quote_in_ccxts_names() -> None:
    quote = Quote()
    assert quote.price(1, 10.0, 5.0)
    assert quote.price(2, 11.0, 6.0)
    assert quote.size(0, 7.0)
    assert quote.price(9, 9.5, 0.0)
    assert quote.size(8, 1000.0)
    assert quote.fields == {
        "bid": 10.0,
        "bidVolume": 7.0,
        "ask": 11.0,
        "askVolume": 6.0,
        "previousClose": 9.5,
        "baseVolume": 1000.0,
    }


def test_delayed_ticks_mean_the_same_and_say_that_they_are() -> None:
    quote = Quote()
    quote.market_data_type(3)
    assert quote.price(66, 10.0, 5.0)
    assert quote.size(74, 1000.0)
    assert quote.fields == {"delayed": True, "bid": 10.0, "bidVolume": 5.0, "baseVolume": 1000.0}
    quote.market_data_type(1)
    assert "delayed" not in quote.fields


@pytest.mark.parametrize("price", [-1.0, 0.0, 10.0])
def test_a_side_without_a_size_is_none(price: float) -> None:
    quote = Quote()
    assert quote.price(1, 10.0, 5.0)
    assert quote.price(1, price, 0.0)
    assert quote.fields == {"bid": None, "bidVolume": None}


def test_a_size_that_falls_to_nothing_takes_its_price_along() -> None:
    quote = Quote()
    assert quote.price(2, 10.0, 5.0)
    assert quote.size(3, 0.0)
    assert quote.fields == {"ask": None, "askVolume": None}


def test_a_negative_price_with_a_size_is_a_price_and_an_index_has_a_last_without_one() -> None:
    quote = Quote()
    assert quote.price(1, -1.0, 5.0)
    assert quote.price(4, 5460.48, 0.0)
    assert (quote.fields["bid"], quote.fields["last"]) == (-1.0, 5460.48)
    assert quote.price(4, -1.0, 0.0)
    assert quote.fields["last"] is None


def test_other_kinds_of_ticks_are_passed_over() -> None:
    quote = Quote()
    assert not quote.price(15, 1.0, 0.0)
    assert not quote.size(21, 1.0)
    assert quote.fields == {}

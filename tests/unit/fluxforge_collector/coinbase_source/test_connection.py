import pytest

from fluxforge_collector.coinbase_source.connection import retry_after_s


@pytest.mark.parametrize(
    ("headers", "asked_s"),
    [
        (None, 0.0),
        ({}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "86400"}, 300.0),
        ({"Retry-After": "9" * 400}, 300.0),
        ({"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}, 0.0),
        ({"Retry-After": "-1"}, 0.0),
        ({"Retry-After": "\N{SUPERSCRIPT TWO}"}, 0.0),
    ],
)
def test_a_venue_is_given_the_time_it_asks_for_within_bounds(headers: dict[str, str] | None, asked_s: float) -> None:
    assert retry_after_s(headers) == asked_s

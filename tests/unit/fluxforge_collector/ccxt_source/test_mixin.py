from typing import Any

import ccxt.pro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_collector.ccxt_source.mixin import TapMixin

TAPPED = type("binance", (TapMixin, ccxt.pro.binance), {})()
PLAIN = ccxt.pro.binance()


@given(st.lists(st.integers(-(10**6), 10**13) | st.integers(1_795_000_000_000, 1_795_000_003_000), min_size=1))
def test_times_are_written_as_ccxt_writes_them(times_ms: list[int]) -> None:
    for time_ms in times_ms:
        assert TAPPED.iso8601(time_ms) == PLAIN.iso8601(time_ms)


@pytest.mark.parametrize("odd", [None, "1795000000000", 1795000000000.5, True, 10**18, -1, 0])
def test_what_is_no_time_is_answered_as_ccxt_answers_it(odd: Any) -> None:
    assert TAPPED.iso8601(odd) == PLAIN.iso8601(odd)

from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.backoff import Backoff


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(base_s=1.0, cap_s=10.0)
    assert [backoff.delay_s(n, lambda: 1.0) for n in (1, 2, 3, 4, 5, 100_000)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(failures=st.integers(0, 10**6), chance=st.floats(0, 1), retry_after_s=st.floats(0, 1000))
def test_a_delay_keeps_to_its_bounds(failures: int, chance: float, retry_after_s: float) -> None:
    delay_s = Backoff(0.5, 60.0).delay_s(failures, lambda: chance, retry_after_s=retry_after_s)
    assert retry_after_s <= delay_s <= max(60.0, retry_after_s)

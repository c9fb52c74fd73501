from hypothesis import given
from hypothesis import strategies as st

from fluxforge_simulator.market.ladder import Ladder, Side


@given(st.sampled_from(Side), st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3))))
def test_a_ladder_is_a_sorted_dict_without_zeros(side: Side, puts: list[tuple[int, int]]) -> None:
    ladder, expected = Ladder(side), dict[int, int]()
    for price, quantity in puts:
        ladder.put(price, quantity)
        expected[price] = quantity
    levels = sorted(((p, q) for p, q in expected.items() if q), reverse=side is Side.BID)
    assert ladder.levels() == levels
    assert ladder.levels(2) == levels[:2]
    assert len(ladder) == len(levels)
    assert all((price in ladder) == (quantity > 0) for price, quantity in expected.items())
    if levels:
        assert (ladder.best, ladder.worst) == (levels[0][0], levels[-1][0])
        assert ladder.price_at(0) == levels[0][0]


def test_the_opposite_of_the_opposite_is_the_side() -> None:
    assert [side.opposite.opposite for side in Side] == list(Side)
    assert Side.BID.opposite is Side.ASK

import numpy as np

from fluxforge.domain.control import FeedKey
from fluxforge_etl_worker.soundness import BlindSpot, BookState, soundness_of

BOOK = FeedKey("orderbook", "BTC-USDT")


def test_a_feed_is_not_trusted_where_one_blind_spot_ends_inside_another():
    spots = [BlindSpot(2, 10), BlindSpot(5, 20)]
    states = soundness_of(BOOK, [], spots).states_at(np.array([1, 2, 9, 10, 19, 20]))
    assert states.tolist() == [BookState.SYNCED, *[BookState.SUSPECT] * 4, BookState.SYNCED]


def test_a_feed_is_trusted_between_blind_spots():
    states = soundness_of(BOOK, [], [BlindSpot(2, 5), BlindSpot(10, 20)]).states_at(np.array([4, 5, 9, 10]))
    assert states.tolist() == [BookState.SUSPECT, BookState.SYNCED, BookState.SYNCED, BookState.SUSPECT]

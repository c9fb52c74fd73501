import pytest

from fluxforge_collector.ibkr_source.codes import Meaning, farm_of, meaning


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1100, Meaning.LINK_LOST),
        (2110, Meaning.LINK_LOST),
        (1101, Meaning.LINK_EMPTY),
        (1102, Meaning.LINK_KEPT),
        (2103, Meaning.FARM_BROKEN),
        (2104, Meaning.FARM_BACK),
        (2105, Meaning.BARS_FARM_BROKEN),
        (2106, Meaning.NOTICE),
        (2108, Meaning.NOTICE),
        (2158, Meaning.NOTICE),
    ],
)
def test_what_concerns_the_session_means_the_same_whatever_it_is_said_of(code: int, said: Meaning) -> None:
    assert meaning(code, of_request=False) is said
    assert meaning(code, of_request=True) is said


@pytest.mark.parametrize("code", [0, 101, 200, 309, 322, 354, 420, 10089, 10186, 10189, 10190, 10197])
def test_an_error_of_a_request_is_a_refusal_and_of_nothing_of_ours_a_notice(code: int) -> None:
    assert meaning(code, of_request=True) is Meaning.REFUSED
    assert meaning(code, of_request=False) is Meaning.NOTICE


@pytest.mark.parametrize("code", [300, 310, 10090, 10167, 2152])
def test_a_request_that_goes_on_is_not_refused(code: int) -> None:
    assert meaning(code, of_request=True) is Meaning.NOTICE


def test_a_reset_book_and_an_ended_subscription_are_told_apart_from_refusals() -> None:
    assert meaning(317, of_request=True) is Meaning.BOOK_RESET
    assert meaning(10225, of_request=True) is Meaning.ENDED
    assert meaning(317, of_request=False) is Meaning.NOTICE


def test_a_farm_is_named_last() -> None:
    assert farm_of("2103: Market data farm connection is broken:usfarm.nj") == "usfarm.nj"

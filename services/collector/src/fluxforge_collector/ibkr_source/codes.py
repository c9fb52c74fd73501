"""Codes: what TWS means by the numbers it sends as errors, most of which are none. Pure.

Source: Interactive Brokers, TWS API, "Message Codes".
"""

from enum import Enum
from typing import Final


class Meaning(Enum):
    """What a code says."""

    LINK_LOST = "TWS lost Interactive Brokers; nothing comes until it has them back"
    LINK_EMPTY = "they are back, and every subscription is gone"
    LINK_KEPT = "they are back, and the subscriptions stand"
    FARM_BROKEN = "a farm that market data comes from is gone"
    FARM_BACK = "it is back"
    BARS_FARM_BROKEN = "a farm that bars come from is gone"
    BOOK_RESET = "the rows of a book are void; those that follow are a new one"
    ENDED = "a subscription that stood is over and may be made anew at once"
    REFUSED = "a subscription is not granted"
    NOTICE = "nothing to do"


_MEANINGS: Final = {
    1100: Meaning.LINK_LOST,
    2110: Meaning.LINK_LOST,
    1101: Meaning.LINK_EMPTY,
    1102: Meaning.LINK_KEPT,
    2103: Meaning.FARM_BROKEN,
    2104: Meaning.FARM_BACK,
    2105: Meaning.BARS_FARM_BROKEN,
}
_OF_REQUESTS: Final = {
    317: Meaning.BOOK_RESET,
    10225: Meaning.ENDED,
}
_NOTICES: Final = frozenset({300, 310, 366, 10090, 10167})
"""Said of a request that goes on: an end asked for twice, part of the ticks not subscribed, delayed ones instead."""
_WARNINGS: Final = range(2100, 2200)
CLIENT_ID_TAKEN: Final = 326
NO_CONTRACT: Final = 200
NO_DESCRIPTION: Final = 321
"""What was given does not describe a contract at all."""


def meaning(code: int, *, of_request: bool) -> Meaning:
    """Return what a code says; `of_request`: of one of our subscriptions, not of the session."""
    if code in _MEANINGS:
        return _MEANINGS[code]
    if not of_request or code in _NOTICES or code in _WARNINGS:
        return Meaning.NOTICE
    return _OF_REQUESTS.get(code, Meaning.REFUSED)


def farm_of(text: str) -> str:
    """Return the farm that a message names: `Market data farm connection is broken:usfarm`."""
    return text.rpartition(":")[2].strip()

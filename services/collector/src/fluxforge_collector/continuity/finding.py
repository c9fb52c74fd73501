"""Findings: what one frame says of the feeds it concerns, by the venue's own counters and checksums. Pure.

A verdict is of the frame, `is_sound` of the feed after it. Where a venue offers nothing to go by there is no finding:
what cannot be verified is never called sound.
"""

from enum import StrEnum
from typing import Final, NamedTuple, Protocol

BOOK: Final = "orderbook"
TRADES: Final = "trades"


class Verdict(StrEnum):
    """How a frame stands to the ones before it."""

    SOUND = "sound"
    """It continues a feed that is whole."""
    SUSPECT = "suspect"
    """It continues a feed that has had no whole book yet, or none since it broke."""
    GAP = "gap"
    """Frames are missing before it, or it cannot be placed at all."""
    RESYNCED = "resynced"
    """It is, or completes, a whole book, or a new beginning: from here on the feed is sound."""
    DUPLICATE = "duplicate"
    """It came before."""
    OUT_OF_ORDER = "out_of_order"
    """It belongs before one that came earlier."""


class Step(NamedTuple):
    """A verdict with its bounds, in the venue's own numbers.

    `expected` and `got` are ids, of checksums the one of our book and the one sent; None where there is none.
    `missing` counts the ids left out, which are frames only where a frame takes one id; None where nobody can tell.
    """

    verdict: Verdict
    is_sound: bool
    expected: int | None = None
    got: int | None = None
    missing: int | None = None
    reason: str | None = None


class Finding(NamedTuple):
    """A step of one feed: our word for the channel, the venue's own for the symbol. Both None: of all feeds."""

    channel: str | None
    symbol: str | None
    step: Step


class Detector(Protocol):
    """Follows one connection of a venue, from its first frame on."""

    def take(self, frame: str | bytes) -> tuple[Finding, ...]:
        """Return what a frame says, as it came; nothing for what is no JSON object or has no place in a sequence."""

    def take_rest(self, symbol: str, reply: str | bytes) -> tuple[Finding, ...]:
        """Return what a book fetched by REST says; nothing for venues that send theirs on the connection."""

"""Limits: the bounds within which silences are judged, and what a judgement says. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from fluxforge.domain.control import FeedKey

NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    """How long silence may last, ns. `fixed_ns`: for every feed; None: learned, within `floor_ns` and `ceiling_ns`.

    A feed whose own limit would be above the ceiling is quiet by nature.
    """

    fixed_ns: int | None = None
    floor_ns: int = 5 * NS_PER_S
    ceiling_ns: int = 900 * NS_PER_S


class Verdict(StrEnum):
    """What a feed's silence means. `quiet`: nothing by itself, be it too rare or too little known."""

    HEALTHY = "healthy"
    QUIET = "quiet"
    FEED_STALLED = "feed stalled"
    CONNECTION_STALLED = "connection stalled"


class Remedy(StrEnum):
    """What is restarted."""

    RESUBSCRIBE = "resubscribe"
    RECONNECT = "reconnect"


class Link(NamedTuple):
    """A connection that stands: `name` outlives it, `number` does not; the feeds it carries."""

    name: str
    number: int
    feeds: tuple[FeedKey, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A stall to do something about.

    `feeds` are those concerned, `news` those of them that have spoken of themselves since they were last found
    stalled. `silent_ns` is how long there was nothing of them, `limit_ns` what was allowed, `around` how many records
    the symbol's other channels brought meanwhile.
    """

    verdict: Verdict
    remedy: Remedy
    link: Link
    feeds: tuple[FeedKey, ...]
    news: tuple[FeedKey, ...]
    silent_ns: int
    limit_ns: int
    around: int

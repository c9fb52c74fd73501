"""Drops: what a lane had no room for, by feed and episode, until it is told. Pure."""

from dataclasses import dataclass
from typing import Final

from fluxforge.domain.control import Control, Event
from fluxforge_collector.lane_feed import LaneFeed

REASON: Final = "memory and spool were full"


@dataclass(slots=True)
class Drop:
    """What one feed lost in one episode: seqs inclusive, stamps ns UTC."""

    first_seq: int
    last_seq: int
    from_ns: int

    def control(self, feed: LaneFeed, hole: str) -> Control:
        """Return the record that names it."""
        return Control(
            Event.DROPPED,
            hole=hole,
            scope=feed.key,
            reason=REASON,
            from_ns=self.from_ns,
            count=self.last_seq - self.first_seq + 1,
            detail={"first_seq": self.first_seq, "last_seq": self.last_seq},
        )


class Drops(dict[LaneFeed, Drop]):
    """The episodes that are not told yet, by feed."""

    def note(self, feed: LaneFeed, at_ns: int) -> None:
        """Count the update that was just given the feed's seq as dropped."""
        feed.dropped += 1
        lost = self.get(feed)
        if lost is None:
            self[feed] = Drop(feed.seq, feed.seq, at_ns)
        else:
            lost.last_seq = feed.seq

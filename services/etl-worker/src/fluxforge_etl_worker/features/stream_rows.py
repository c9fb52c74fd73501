"""Stream rows: the times that streaming features are asked for, and all that may be known of them then."""

from collections.abc import Callable
from dataclasses import dataclass

from fluxforge_etl_worker.columns import I64, Bools
from fluxforge_etl_worker.features.streams import TradeFlow, Updates
from fluxforge_etl_worker.features.windows import Windows
from fluxforge_etl_worker.soundness import FeedSoundness


@dataclass(frozen=True, slots=True)
class StreamRows:
    """m rows of one instrument at strictly rising times, each at or after an update; times in ns UTC.

    `known`: of each update, whether the one before it is known (near enough, no hole between). `book`, `trades_feed`:
    when the two feeds were unsound. `trades`: None where they are not captured. `trades_known` tells at which times the
    trades feed was known. Updates and trades may reach beyond the last row: no row sees what came after it.
    """

    at_ns: I64
    updates: Updates
    known: Bools
    book: FeedSoundness
    trades: TradeFlow | None
    trades_feed: FeedSoundness
    trades_known: Callable[[I64], Bools]
    tolerance_ns: int

    def is_observed(self, windows: Windows) -> Bools:
        """Return whether the book was observed throughout each window of the updates.

        There is an update in `(start - tolerance, start]`, and the feed is nowhere unsound in the window.
        """
        before = self.updates.capture_ns[windows.first - 1]
        stood = (windows.first > 0) & (before > windows.start_ns - self.tolerance_ns)
        return stood & ~self.book.is_unsound_between(windows.start_ns, windows.end_ns)

    def are_trades_observed(self, windows: Windows) -> Bools:
        """Return whether the trades feed was known before each window and sound throughout it."""
        is_unsound = self.trades_feed.is_unsound_between(windows.start_ns, windows.end_ns)
        return self.trades_known(windows.start_ns) & ~is_unsound

"""What is told and seen of feeds, made by hand; times in seconds."""

from fluxforge.dataset.holes import FeedName, Told, Word
from fluxforge_cli.account.coverage.feeds import FeedCoverage, Seen, accounts

S = 1_000_000_000
BOOK = FeedName("ccxt", "kraken", "orderbook", "BTC-USD")
TRADES = FeedName("ccxt", "kraken", "trades", "BTC-USD")


def word(event: str, from_s: float, to_s: float | None = None, hole: str = "", boot: str = "a") -> Word:
    to_ns = None if to_s is None else int(to_s * S)
    return Word(boot, hole or f"{event}{from_s}", event, int(from_s * S), to_ns)


def told(*words: Word) -> Told:
    return Told(words)


def seen(first_s: float, last_s: float, rows: int = 2, resent: int = 0, lags_ms: dict[int, int] | None = None) -> Seen:
    return Seen(rows, int(first_s * S), int(last_s * S), resent, lags_ms or {})


def only(
    words: Told | None, rows: Seen | None = None, *, start_s: float | None = None, end_s: float | None = None
) -> FeedCoverage:
    """Return the coverage of a book of which this is told, and seen in boot `a`."""
    (found,) = accounts(
        {BOOK: words} if words else {},
        {BOOK: {"a": rows}} if rows else {},
        lambda _, channel: channel == "orderbook",
        start_ns=None if start_s is None else int(start_s * S),
        end_ns=None if end_s is None else int(end_s * S),
    )
    return found

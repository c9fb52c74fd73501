"""Markets wanted: those of one channel, as the configuration names them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class MarketsWanted:
    """Markets by name; or every active one (`every`), of one quote or type where `quote` or `type` is given."""

    names: tuple[str, ...] = ()
    every: bool = False
    quote: str | None = None
    type: str | None = None


def markets_wanted(markets: Any) -> MarketsWanted:
    """Return what the settings say of a channel's markets, as plain values."""
    if not isinstance(markets, tuple):
        return MarketsWanted(every=True, quote=markets.quote, type=markets.type and markets.type.value)
    return MarketsWanted(every=True) if markets == ("*",) else MarketsWanted(names=markets)

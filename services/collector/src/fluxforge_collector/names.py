"""Names that a person wrote: why one cannot be stored, and which known ones are nearest to it. Pure."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from fluxforge.domain.errors import NameRefusedError
from fluxforge.domain.instrument import encode_component, symbol_id

_NAMES_SHOWN: Final = 8


def unstorable(market: str) -> str:
    """Return why a market cannot stand in paths and subjects; empty where it can."""
    try:
        encode_component(symbol_id(market))
    except NameRefusedError as error:
        return error.reason
    return ""


def nearest(name: str, known: Collection[str]) -> str:
    """Return the end of a message: the known names nearest to one that is not known, or else some of them."""
    by_lower = {other.lower(): other for other in known}
    near = [by_lower[lower] for lower in get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)]
    if near:
        return f"; nearest: {', '.join(near)}"
    shown = sorted(known)[:_NAMES_SHOWN]
    return f"; known: {', '.join(shown)}{', ...' if len(known) > len(shown) else ''}" if shown else ""

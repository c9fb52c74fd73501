"""Upkeep: what was done around the parts of a segment, counted."""

from dataclasses import dataclass


@dataclass(slots=True)
class Upkeep:
    """Counts of one piece of work. `resent`: trades that the venue had sent before; `contexts_built`: from raw data."""

    resent_trades: int = 0
    contexts_built: int = 0
    tails_written: int = 0
    tails_dead: int = 0
    tails_swept: int = 0
    raw_deleted: int = 0

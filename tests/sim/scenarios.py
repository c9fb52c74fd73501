"""The scenarios: which faults a run meets. Sizes and rhythm vary with the seed, so that no rhythm hides a defect."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tests.sim.world import Scenario

SCENARIOS: Final[Mapping[str, Mapping[str, Any]]] = {
    "processes are killed at any moment": {"kills": 0.5, "outages": 0.15},
    "hosts lose power at any moment": {"power_cuts": 0.3, "outages": 0.3, "duration_s": 12.0},
    "the bus goes away and comes back": {"outages": 0.3, "breaks": 0.2},
    "messages and answers are lost, late and out of order": {
        "lost": 0.02,
        "late": 0.01,
        "breaks": 0.2,
        "outages": 0.1,
        "reorder": True,
    },
    "the stream is full and the spool small": {
        "lane_max_bytes": 6000,
        "segment_bytes": 1500,
        "segment_age_s": 1.0,
        "grace_s": 0.0,
        "outages": 0.2,
        "kills": 0.2,
        "spool_bytes": 8000,
    },
    "two segmenters, one of them a zombie at times": {"segmenters": 2, "stops": 0.15, "kills": 0.1},
    "clocks step and consumers vanish": {"clock_steps": 0.3, "consumer_losses": 0.2, "kills": 0.1},
    "two workers, one of them a zombie at times": {"workers": 2, "kills": 0.4, "stops": 0.15, "power_cuts": 0.1},
    "the bus forgets what it acknowledged": {
        "tail_losses": 0.15,
        "stream_losses": 0.05,
        "state_losses": 0.03,
        "kills": 0.1,
        "outages": 0.1,
    },
    "everything at once": {
        "kills": 0.2,
        "power_cuts": 0.1,
        "outages": 0.1,
        "breaks": 0.1,
        "stops": 0.05,
        "clock_steps": 0.1,
        "consumer_losses": 0.1,
        "lost": 0.005,
        "late": 0.005,
        "segmenters": 2,
        "workers": 1,
        "spool_bytes": 30_000,
    },
}


def scenario(name: str, seed: int) -> Scenario:
    """Return a scenario as the seed makes it."""
    chance = random.Random(f"{name} {seed}")
    common = {
        "duration_s": chance.choice((4.0, 8.0, 16.0)),
        "records_per_s": chance.choice((1.0, 3.0, 6.0)),
        "segment_bytes": chance.choice((600, 2000, 8000)),
        "segment_age_s": chance.choice((0.5, 2.0, 10.0)),
        "grace_s": chance.choice((0.0, 2.0, 600.0)),
        "window_blocks": chance.choice((1, 2, 8)),
        "waiting_records": chance.choice((10, 40)),
        "is_shuffled": chance.random() < 0.5,
        "is_interleaved": chance.random() < 0.5,
    }
    return replace(Scenario(), **{**common, **SCENARIOS[name]})

"""The clock port over its adapters: what each promises of its two clocks."""

import time

import pytest

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.adapters.system_clock import SystemClock


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = (time.time_ns(), time.monotonic_ns())
    now = (clock.wall_ns(), clock.monotonic_ns())
    after = (time.time_ns(), time.monotonic_ns())
    assert before[1] <= now[1] <= after[1]
    assert abs(now[0] - before[0]) < 60_000_000_000


def test_a_manual_clock_stands_until_time_passes_for_both_clocks() -> None:
    clock = ManualClock(wall_ns=100, monotonic_ns=7)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (100, 7)
    clock.advance(5)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (105, 12)


def test_stepping_the_wall_clock_leaves_monotonic_time_alone() -> None:
    clock = ManualClock(wall_ns=100)
    clock.step_wall(-60)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (40, 0)


def test_time_never_passes_backwards() -> None:
    with pytest.raises(ValueError, match="forward"):
        ManualClock().advance(-1)

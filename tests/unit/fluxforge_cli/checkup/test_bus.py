from dataclasses import replace

import pytest

from fluxforge.adapters.jetstream.inspection import ClockReading, Difference, Fill, Inspection
from fluxforge_cli.checkup.bus import judge_bus
from fluxforge_cli.findings import Finding, State, worst

MS = 1_000_000
FIT = Inspection(
    server="127.0.0.1:4222",
    version="2.15.1",
    syncs_always=True,
    clock=ClockReading(offset_ns=3 * MS, error_ns=1 * MS),
    missing=(),
    differences=(),
    lossy=(),
    lanes=(Fill("MD_ccxt_binance_0of1_1", 10, 100), Fill("MD_ccxt_kraken_0of1_1", 80, 100)),
)


def odd(found: Inspection, *, is_unsafe_accepted: bool = False) -> Finding:
    """Return the one finding that is not well."""
    (one,) = [one for one in judge_bus(found, is_unsafe_accepted=is_unsafe_accepted) if not one.healthy]
    assert one.remedy
    return one


def test_a_bus_that_is_fit_needs_nothing() -> None:
    found = judge_bus(FIT, is_unsafe_accepted=False)
    assert worst(found) is State.OK
    assert [one.name for one in found] == [
        *("bus", "bus version", "bus durability", "bus streams", "lane streams", "clock"),
    ]


def test_a_bus_that_does_not_sync_is_critical_unless_that_is_accepted() -> None:
    unsafe = replace(FIT, syncs_always=False)
    assert odd(unsafe).state is State.CRITICAL
    assert odd(unsafe, is_unsafe_accepted=True).state is State.DEGRADED
    assert odd(replace(FIT, syncs_always=None)).state is State.DEGRADED


@pytest.mark.parametrize(
    ("version", "is_well"), [("2.10.29", False), ("2.11.0", True), ("3.0.0-RC.1", True), ("", False)]
)
def test_an_old_server_is_to_be_upgraded(version: str, is_well: bool) -> None:  # noqa: FBT001
    found = next(
        one for one in judge_bus(replace(FIT, version=version), is_unsafe_accepted=False) if "vers" in one.name
    )
    assert found.healthy is is_well


def test_what_was_not_provisioned_is_critical_and_what_differs_is_named() -> None:
    missing = odd(replace(FIT, missing=("stream DEAD",)))
    assert (missing.state, missing.name, "fluxforge provision" in missing.remedy) == (
        State.CRITICAL,
        "stream DEAD",
        True,
    )
    differs = odd(replace(FIT, differences=(Difference("stream PARTS", "max_bytes", 5, 6),)))
    assert (differs.state, differs.says) == (State.DEGRADED, "max_bytes is 6, expected 5")


def test_a_lane_that_forgets_is_critical_and_one_that_is_full_is_named() -> None:
    lossy = odd(replace(FIT, lossy=(Difference("stream MD_a_b_0of1_1", "discard", "new", "old"),)))
    assert lossy.state is State.CRITICAL
    full = odd(replace(FIT, lanes=(Fill("MD_a_b_0of1_1", 81_000_000, 100_000_000),)))
    assert (full.state, full.says) == (State.DEGRADED, "81 of 100 MB")


@pytest.mark.parametrize(
    ("offset_ms", "error_ms", "state"),
    [
        (500, 0, State.OK),
        (-900, 500, State.OK),  # it may well be right
        (-501, 0, State.DEGRADED),
        (10_000, 0, State.DEGRADED),
        (10_001, 0, State.CRITICAL),
    ],
)
def test_a_clock_is_judged_by_what_is_certain(offset_ms: int, error_ms: int, state: State) -> None:
    reading = ClockReading(offset_ms * MS, error_ms * MS)
    assert judge_bus(replace(FIT, clock=reading), is_unsafe_accepted=False)[-1].state is state


def test_a_clock_that_cannot_be_compared_is_not_said_to_be_right() -> None:
    assert odd(replace(FIT, clock=None)).name == "clock"

from prometheus_client import CollectorRegistry

from fluxforge.adapters.memory.clock import ManualClock
from fluxforge.domain.lane import Lane
from fluxforge.domain.status import LaneStatus
from fluxforge_segmenter.lane_levels import LaneLevels

NOW_NS = 1_800_000_000_000_000_000
OURS, AWAITED = Lane("ccxt", "binance", "0of1"), Lane("ccxt", "kraken", "0of1")


def level(name: str, lane: Lane, *, unsealed_ns: int = 0) -> float | None:
    registry = CollectorRegistry()
    status = LaneStatus(str(OURS), 1, 9, 7, 2, 60, 100, 50, unsealed_ns, 3_000, 4_000)
    registry.register(LaneLevels(lambda: {OURS: status, AWAITED: None}, ManualClock(NOW_NS)))
    return registry.get_sample_value(f"fluxforge_segmenter_{name}", {"lane": str(lane)})


def test_a_lane_tells_how_full_its_stream_and_its_open_segment_are() -> None:
    assert level("stream_bytes", OURS) == 3_000
    assert level("stream_bytes_max", OURS) == 4_000
    assert level("open_bytes", OURS) == 50


def test_what_is_not_sealed_grows_old_and_what_is_not_there_does_not() -> None:
    assert level("oldest_unsealed_seconds", OURS, unsealed_ns=NOW_NS - 7_000_000_000) == 7
    assert level("oldest_unsealed_seconds", OURS, unsealed_ns=NOW_NS + 1) == 0
    assert level("oldest_unsealed_seconds", OURS) == 0


def test_of_a_lane_that_is_awaited_only_that_is_told() -> None:
    assert (level("lane_held", OURS), level("lane_held", AWAITED)) == (1, 0)
    assert level("open_bytes", AWAITED) is None

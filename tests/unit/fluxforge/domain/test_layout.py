import pytest

from fluxforge.domain.lane import Lane
from fluxforge.domain.layout import Layout, segment_of_file

LANE = Lane("ccxt", "binance", "0of1")
SEGMENT = "segment_20261122T16_00001"


def test_every_key_of_a_segment_stands_where_the_format_says() -> None:
    layout = Layout()
    assert layout.segment_key(LANE, SEGMENT + ".ndjson") == f"raw/ready/ccxt/binance-0of1/{SEGMENT}.ndjson"
    assert layout.manifest_key(LANE, SEGMENT) == f"raw/ready/ccxt/binance-0of1/{SEGMENT}.manifest.json"
    assert layout.active_prefix(LANE) == "raw/active/ccxt/binance-0of1"
    assert layout.commit_key(LANE, SEGMENT) == f"commits/ccxt-binance-0of1/{SEGMENT}.json"
    assert layout.commit_key(LANE, SEGMENT, 2) == f"commits/ccxt-binance-0of1/{SEGMENT}.r2.json"
    assert layout.placed_key(LANE, SEGMENT) == f"commits/ccxt-binance-0of1/{SEGMENT}.placed"
    assert layout.quarantine_key(LANE, SEGMENT) == f"quarantine/ccxt-binance-0of1/{SEGMENT}.ndjson"
    assert layout.dead_key(LANE, SEGMENT) == f"dead/ccxt-binance-0of1/{SEGMENT}.json"
    assert layout.tail_key(LANE, SEGMENT) == f"tails/ccxt-binance-0of1/{SEGMENT}.tail.arrow"
    assert layout.tail_dead_key(LANE, SEGMENT) == f"tails/ccxt-binance-0of1/{SEGMENT}.tail.dead"
    assert layout.attempt_prefix(LANE, SEGMENT, "1a") == f".tmp/ccxt-binance-0of1_{SEGMENT}.1a"
    assert layout.commit_prefix() == "commits"
    assert layout.commit_prefix(LANE) == "commits/ccxt-binance-0of1"


def test_directory_names_follow_the_configuration() -> None:
    assert Layout(raw_dir="r", ready_subdir="done").ready_prefix() == "r/done"


def test_a_recomputation_shares_the_segments_and_nothing_that_says_what_became_of_them() -> None:
    plain = Layout(processed_dir="processed/v2")
    again = plain.recomputation()
    assert again.segment_key(LANE, "a.ndjson") == plain.segment_key(LANE, "a.ndjson")
    assert again.manifest_key(LANE, "a") == plain.manifest_key(LANE, "a")
    assert again.commit_key(LANE, SEGMENT) == f"recomputed/processed%2Fv2/commits/{LANE}/{SEGMENT}.json"
    for key in ("commit_key", "placed_key", "quarantine_key", "dead_key", "tail_key", "tail_dead_key"):
        own, other = getattr(plain, key)(LANE, SEGMENT), getattr(again, key)(LANE, SEGMENT)
        assert other == f"recomputed/processed%2Fv2/{own}"
    assert again.attempt_prefix(LANE, SEGMENT, "1a") == f".tmp/processed%2Fv2+{LANE}_{SEGMENT}.1a"


@pytest.mark.parametrize(
    ("file", "segment"),
    [("a.ndjson", "a"), ("a.ndjson.zst", "a"), ("a.manifest.json", None), (".ndjson", None), ("a.txt", None)],
)
def test_a_segment_is_known_by_its_suffix(file: str, segment: str | None) -> None:
    assert segment_of_file(file) == segment

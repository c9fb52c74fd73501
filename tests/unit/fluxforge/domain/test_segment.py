from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import (
    FeedLast,
    FeedSeqs,
    Manifest,
    PreviousSegment,
    SealedEvent,
    SealPolicy,
    SegmentName,
    hour_of,
)

MANIFEST = Manifest(
    name="segment_20261122T16_00001",
    file="segment_20261122T16_00001.ndjson",
    source="ccxt",
    exchange="binance",
    shard="0of1",
    epoch=1,
    first=1,
    last=9,
    records=30,
    size_bytes=1000,
    sha256="ab",
    first_capture_ns=1,
    last_capture_ns=2,
    feeds=(
        FeedSeqs("orderbook", "BTC-USDT", "b0", ((1, 10), (12, 20)), 19),
        FeedSeqs("control", None, "b0", ((1, 1),), 1),
    ),
    last_seqs=(FeedLast("orderbook", "BTC-USDT", "b0", 20),),
    holes=((3, 4),),
    last_block="b0:9",
    previous=PreviousSegment("segment_20261122T15_00004", 1, 0),
    final=False,
    created_ns=5,
    software="0.1.0",
)
HOUR_NS = 3_600_000_000_000


def test_a_manifest_comes_back() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    first = replace(MANIFEST, previous=None, last_block=None)
    assert Manifest.from_json(first.to_json()) == first
    assert MANIFEST.lane == Lane("ccxt", "binance", "0of1")
    assert (MANIFEST.identity.first, MANIFEST.identity.last, MANIFEST.compressed) == (1, 9, False)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", MANIFEST.to_json().replace(b'"v": 1', b'"v": 9'), MANIFEST.to_json()[:-20], b'{"v":1}']
)
def test_what_is_no_manifest_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(ManifestError, match=r"x\.manifest"):
        Manifest.from_json(text, what="x.manifest.json")


def test_a_name_has_its_hour_and_five_digits() -> None:
    assert str(SegmentName("20261122T16", 7)) == "segment_20261122T16_00007"
    assert SegmentName.parse("segment_20261122T16_00007") == SegmentName("20261122T16", 7)
    with pytest.raises(ManifestError):
        SegmentName.parse("segment_1")


@given(st.lists(st.integers(0, 2 * 10**18), min_size=1, max_size=20))
def test_names_only_rise_whatever_the_clock_does(captures_ns: list[int]) -> None:
    hour, counter, last = "", 0, ""
    for capture_ns in captures_ns:
        name = SegmentName.next(hour=hour, counter=counter, first_capture_ns=capture_ns)
        assert str(name) > last
        assert name.hour >= hour_of(capture_ns)
        hour, counter, last = name.hour, name.counter, str(name)


def test_the_counter_begins_again_each_hour() -> None:
    at = 1_780_000_000_000_000_000 // HOUR_NS * HOUR_NS
    name = SegmentName.next(hour="", counter=0, first_capture_ns=at)
    again = SegmentName.next(hour=name.hour, counter=name.counter, first_capture_ns=at + 1)
    after = SegmentName.next(hour=again.hour, counter=again.counter, first_capture_ns=at + HOUR_NS)
    assert [name.counter, again.counter, after.counter] == [1, 2, 1]


def test_a_segment_is_due_at_either_limit() -> None:
    policy = SealPolicy(size_bytes_max=100, age_ns_max=10)
    assert policy.is_due(size_bytes=100, age_ns=0)
    assert policy.is_due(size_bytes=1, age_ns=10)
    assert not policy.is_due(size_bytes=99, age_ns=9)


def test_a_sealed_event_comes_back() -> None:
    event = SealedEvent("ccxt-binance-0of1", MANIFEST.name, 10, 2, 5)
    assert SealedEvent.from_json(event.to_json()) == event
    with pytest.raises(ManifestError):
        SealedEvent.from_json(b'{"lane":1}')

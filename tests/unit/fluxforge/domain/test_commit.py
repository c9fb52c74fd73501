from dataclasses import replace

import pytest

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.errors import ManifestError
from fluxforge.domain.segment import FeedSeqs, SegmentIdentity

COMMIT = CommitRecord(
    lane="ccxt-binance-0of1",
    segment="segment_20261122T16_00001",
    identity=SegmentIdentity(1, 1, 9, "ab"),
    attempt=1,
    parts=(Part("trades", ".tmp/a/x", "processed/ccxt/trades/x", 3, 100, "cd"),),
    records=30,
    quarantined=1,
    feeds=(FeedSeqs("trades", "BTC-USDT", "b0", ((1, 3),), 3),),
    schema_version=1,
    feature_version=1,
    software="0.1.0",
    created_ns=5,
    disabled_channels=("wire",),
)


def test_a_commit_record_comes_back() -> None:
    for record in (COMMIT, replace(COMMIT, parts=(), feeds=(), disabled_channels=())):
        assert CommitRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", COMMIT.to_json().replace(b'"v": 1', b'"v": 2'), b'{"v":1}'])
def test_what_is_no_commit_record_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(ManifestError, match=r"c\.json"):
        CommitRecord.from_json(text, what="c.json")

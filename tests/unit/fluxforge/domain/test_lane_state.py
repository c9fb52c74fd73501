from dataclasses import replace

import pytest

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.lane_state import LaneState, Sealing

SEALING = Sealing("segment_20261122T16_00001", 1, 1, 9, 1000, "ab", 5)
STATE = LaneState(epoch=1, owner="3-abc", sealing=SEALING)


def test_a_state_comes_back() -> None:
    for state in (LaneState(), STATE, replace(STATE, recent=(SEALING, SEALING))):
        assert LaneState.from_json(state.to_json()) == state


def test_a_seal_that_is_done_moves_into_recent() -> None:
    done = STATE.sealed(last_capture_ns=77)
    assert (done.sealed_seq, done.last_capture_ns, done.sealing, done.recent) == (9, 77, None, (SEALING,))
    with pytest.raises(ManifestError, match="no seal"):
        done.sealed(1)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"epoch":1}', b"1"])
def test_what_is_no_state_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError, match="lane state"):
        LaneState.from_json(text)


def test_a_state_without_recent_stays_below_a_kibibyte() -> None:
    assert len(replace(STATE, sealing=replace(SEALING, sha256="f" * 64)).to_json()) < 1024


def test_a_seal_on_its_way_claims_its_sequences_of_its_own_epoch() -> None:
    assert replace(STATE, sealed_seq=4).claimed_seq == 9
    assert replace(STATE, sealed_seq=4, epoch=2).claimed_seq == 4
    assert replace(STATE, sealed_seq=4, sealing=None).claimed_seq == 4

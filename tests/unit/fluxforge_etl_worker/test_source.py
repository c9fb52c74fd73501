from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge_etl_worker.source import chunks_since
from tests.unit.fluxforge_etl_worker.samples import T0, Recording, S


def lines(count: int) -> list[bytes]:
    recording = Recording()
    for n in range(count):
        recording.ticker(T0 + n * S, last=float(n))
    return recording.lines


LINES = lines(40)
BAD = b"not a record\n"


@given(
    cuts=st.lists(st.integers(0, len(b"".join(LINES))), max_size=8),
    begin=st.integers(-1, 41),
    bad_at=st.sets(st.integers(0, 39), max_size=5),
)
def test_no_record_from_the_time_on_is_left_out_and_what_is_yielded_begins_with_a_line(cuts, begin, bad_at):
    body = b"".join(BAD + line if n in bad_at else line for n, line in enumerate(LINES))
    edges = [0, *sorted(cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(edges)]
    begin_ns = T0 + begin * S
    kept = b"".join(chunks_since(chunks, begin_ns))
    assert body.endswith(kept)
    assert not kept or body[: len(body) - len(kept)][-1:] in {b"", b"\n"}
    wanted = b"".join(LINES[max(begin, 0) :])
    assert all(line in kept for line in wanted.splitlines(keepends=True))


def test_chunks_that_end_before_the_time_are_not_yielded():
    chunks = [b"".join(LINES[:10]), b"".join(LINES[10:20]), b"".join(LINES[20:])]
    assert list(chunks_since(chunks, T0 + 15 * S)) == chunks[1:]
    assert b"".join(chunks_since(chunks, T0 + 99 * S)) == b""


def test_what_cannot_be_read_at_the_end_of_a_chunk_decides_nothing():
    chunks = [b"".join(LINES[:10]) + BAD, BAD * 3, b"".join(LINES[10:]) + BAD]
    assert b"".join(chunks_since(chunks, T0 + 10 * S)) == chunks[2]


def test_a_chunk_that_fails_later_on_still_fails():
    def chunks():
        yield LINES[0]
        yield LINES[1]
        raise ValueError("the end")

    with pytest.raises(ValueError, match="the end"):
        list(chunks_since(chunks(), T0 + 99 * S))

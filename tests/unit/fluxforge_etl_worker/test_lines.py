import hashlib

from hypothesis import example, given
from hypothesis import strategies as st

from fluxforge_etl_worker.lines import line_slices

TEXT = st.lists(st.sampled_from([b"a", b"bb\r", b"", b"ccc" * 5, b"d" * 40]), max_size=8)


def _slices(body: bytes, chunk: int, limit: int):
    chunks = [body[i : i + chunk] for i in range(0, len(body), chunk)]
    return list(line_slices(chunks, line_bytes_max=limit))


@given(lines=TEXT, torn=st.booleans(), chunk=st.integers(1, 50))
@example(lines=[b"a", b"d" * 40, b"bb\r", b"a", b"d" * 40, b"a"], torn=True, chunk=200)
def test_lines_and_offsets_do_not_depend_on_where_the_chunks_were_cut(lines, torn, chunk):
    body = b"".join(line + b"\n" for line in lines) + (b"torn" if torn else b"")
    expected, offset = [], 0
    for line in [*lines, b"torn"] if torn else lines:
        expected.append((offset, len(line), line if len(line) <= 20 else None))
        offset += len(line) + 1
    found = []
    for piece in _slices(body, chunk, 20):
        at = piece.offset
        if piece.long_line:
            found.append((at, piece.long_line.size_bytes, None))
        for line in piece.lines:
            found.append((at, len(line), line))
            at += len(line) + 1
    assert found == expected


def test_a_line_over_the_limit_is_described_and_not_held():
    body = b"x" * 200_000 + b"\nnext\n"
    long, after = _slices(body, 1000, 100)
    assert long.long_line is not None
    assert (long.offset, long.long_line.size_bytes) == (0, 200_000)
    assert long.long_line.sha256 == hashlib.sha256(b"x" * 200_000).hexdigest()
    assert len(long.long_line.beginning) < 70_000
    assert (after.offset, list(after.lines)) == (200_001, [b"next"])


def test_a_carriage_return_is_no_line_end():
    (piece,) = _slices(b'{"a":"\r"}\r\n', 100, 100)
    assert list(piece.lines) == [b'{"a":"\r"}\r']

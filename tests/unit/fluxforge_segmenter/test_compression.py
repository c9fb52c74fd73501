"""The two forms of a segment file."""

import hashlib

import pytest

from fluxforge_segmenter.compression import Compression, compression_of, digest_of
from fluxforge_segmenter.contents import Digest

LINES = [b"one\ntwo\n", b"three\n"]


@pytest.mark.parametrize("form", list(Compression))
@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
def test_the_digest_is_of_the_lines_however_they_are_stored_and_read(form: Compression, chunk_bytes: int) -> None:
    body = b"".join(form.pack(lines) for lines in LINES)
    chunks = [body[n : n + chunk_bytes] for n in range(0, len(body), chunk_bytes)]
    lines = b"".join(LINES)
    assert digest_of(chunks, form) == Digest(len(lines), hashlib.sha256(lines).hexdigest())


def test_what_cannot_be_decompressed_has_no_digest() -> None:
    assert digest_of([b"not zstd"], Compression.ZSTD) is None


def test_a_torn_frame_has_another_digest() -> None:
    body = Compression.ZSTD.pack(LINES[0])
    assert digest_of([body[:-3]], Compression.ZSTD) != digest_of([body], Compression.ZSTD)


@pytest.mark.parametrize("form", list(Compression))
def test_a_file_name_tells_the_form(form: Compression) -> None:
    assert compression_of(f"segment_20251209T14_00001{form.suffix}") is form

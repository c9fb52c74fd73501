import hashlib

import pytest

from fluxforge_collector.rejected import reject
from tests.unit.fluxforge_collector.made import Desk


@pytest.mark.parametrize(
    ("why", "reason"), [("no JSON", "no JSON"), (ValueError("x" * 600), f"ValueError: {'x' * 488}")]
)
def test_a_message_that_makes_no_record_is_told_by_its_size_its_checksum_and_its_beginning(
    why: str | Exception, reason: str
) -> None:
    desk = Desk()
    raw = b"\xff" + b"a" * 5000
    reject(desk.writer, raw, why, conn=3)
    (control,) = desk.controls
    assert (control.reason, control.count, control.concerned()) == (reason, 1, ())
    assert control.detail == {
        "size_bytes": 5001,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "text": "\N{REPLACEMENT CHARACTER}" + "a" * 4095,
    }

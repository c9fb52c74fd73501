"""The journal of a partition."""

from dataclasses import replace

import pytest

from fluxforge.domain.errors import ManifestError
from fluxforge.domain.journal import Claim, Entry, File, Settlement, is_output, live, output_name, retired

CLAIM = Claim(
    partition="processed/ccxt/trades/exchange=binance/symbol=BTC-USDT/date=2026-11-22",
    n=1,
    token="k1",
    parents=(File("part_a.parquet", 3, 30), File("part_b.parquet", 4, 40)),
    outputs=(File(output_name("k1", 1), 7, 60, "ab" * 32),),
    created_ns=1,
    software="test",
)
OUTPUT = CLAIM.outputs[0].name
PARTS = {"part_a.parquet", "part_b.parquet", "part_c.parquet"}
MERGED, ABANDONED = Settlement(merged=True, created_ns=2), Settlement(merged=False, created_ns=2)


def test_claim_and_settlement_read_back() -> None:
    assert Claim.from_json(CLAIM.to_json()) == CLAIM
    assert CLAIM.rows == 7
    for settlement in (MERGED, ABANDONED):
        assert Settlement.from_json(settlement.to_json()) == settlement


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{}", "expected version 1, was None"),
        (b"[", "unreadable"),
        (b"[]", "expected an object"),
        (b'{"v":1,"parents":[],"outputs":[]}', "unreadable"),
        (b'{"v":1,"parents":[]}', "unreadable"),
        (replace(CLAIM, parents=CLAIM.parents[:1]).to_json(), "expected outputs of 3 rows, was 7"),
        (replace(CLAIM, parents=(File("part_a.parquet", "3", 30),)).to_json(), "unreadable"),  # type: ignore[arg-type]
        (replace(CLAIM, outputs=CLAIM.outputs * 2).to_json(), "expected one output, was 2"),
        (replace(CLAIM, outputs=()).to_json(), "expected one output, was 0"),
    ],
)
def test_what_is_no_claim_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        Claim.from_json(text)


@pytest.mark.parametrize("outputs", [CLAIM.outputs, ()])
def test_an_edit_may_change_rows_and_leave_none(outputs: tuple[File, ...]) -> None:
    edit = replace(CLAIM, parents=CLAIM.parents[:1], outputs=outputs, reason="delete: price < 0")
    assert Claim.from_json(edit.to_json()) == edit
    assert edit.output == (outputs[0] if outputs else None)
    assert live({"part_a.parquet", "part_b.parquet"}, [Entry(edit, MERGED)]) == {
        "part_b.parquet",
        *(file.name for file in outputs),
    }


@pytest.mark.parametrize("text", [b"{}", b"[", b'{"v":1,"merged":true}'])
def test_what_is_no_settlement_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError):
        Settlement.from_json(text)


@pytest.mark.parametrize("settlement", [None, ABANDONED])
def test_outputs_that_nobody_settled_as_merged_are_not_read(settlement: Settlement | None) -> None:
    assert live({*PARTS, OUTPUT}, []) == PARTS
    assert live({*PARTS, OUTPUT}, [Entry(CLAIM, settlement)]) == PARTS
    assert retired([Entry(CLAIM, settlement)]) == frozenset()


def test_from_the_settlement_on_outputs_are_read_and_parents_are_not() -> None:
    merged = Entry(CLAIM, MERGED)
    assert live({*PARTS, OUTPUT}, [merged]) == {"part_c.parquet", OUTPUT}
    assert live(PARTS, [merged]) == {"part_c.parquet", OUTPUT}, "it was listed before"
    assert retired([merged]) == {"part_a.parquet", "part_b.parquet"}


def test_an_output_may_be_merged_again() -> None:
    again = replace(CLAIM, n=2, token="k2", parents=CLAIM.outputs, outputs=(File(output_name("k2", 1), 7, 60),))
    entries = [Entry(CLAIM, MERGED), Entry(again, MERGED)]
    assert live({OUTPUT, again.outputs[0].name}, entries) == {again.outputs[0].name}
    assert is_output(OUTPUT)
    assert not is_output("part_a.parquet")

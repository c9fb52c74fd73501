"""What a segment's parts hold together, where one alone would not tell."""

import pytest

from fluxforge.domain.commit import CommitRecord, Part
from fluxforge.domain.lane import Lane
from fluxforge.domain.segment import FeedSeqs
from fluxforge_cli.account.audit.books import InFlight, LaneBooks, PartLook, Segment
from fluxforge_cli.account.audit.findings import FeedId, Finding, Kind
from fluxforge_cli.account.audit.processed import SegmentAccount, processed
from tests.unit.fluxforge_cli.account.samples import manifest

LANE = Lane("ccxt", "binance", "0of1")
TRADES = FeedId("b1", "trades", "A-B")
BY_SYMBOL = "processed/ccxt/trades/symbol=A-B/part.parquet"
OF_ALL = "processed/ccxt/trades/part.parquet"


def account_of(looks: dict[str, PartLook], *, rows: int = 3) -> SegmentAccount:
    """Return the account of six records of trades, of which each of these parts was committed to hold some."""
    feeds = (FeedSeqs("trades", "A-B", "b1", ((1, 6),), 6),)
    sealed = manifest("segment_20261118T12_00001", *feeds)
    parts = tuple(Part("trades", "", key, rows, 5, "aa") for key in looks)
    commit = CommitRecord(str(LANE), sealed.name, sealed.identity, 1, parts, 6, 0, feeds, 3, 1, "", 1)
    segment = Segment(sealed, 1, commit, placed=True, dead=None, parts=looks, said=())
    return processed(LaneBooks(LANE, (segment,), (), (), InFlight()), segment, {}, keeps_books=True)


def missing(account: SegmentAccount) -> list[tuple[int | None, int | None]]:
    return [(one.first, one.last) for one in account.findings if one.kind is Kind.MISSING]


def test_rows_that_stand_in_two_parts_are_doubled() -> None:
    looks = {BY_SYMBOL: PartLook(5, 3, {TRADES: ((1, 4),)}), OF_ALL: PartLook(5, 3, {TRADES: ((4, 6),)})}
    account = account_of(looks)
    name = "segment_20261118T12_00001: in more than one part of the segment"
    assert account.findings == [Finding(Kind.DOUBLED, str(LANE), name, "b1", "trades", "A-B", 4, 4)]
    assert account.in_parquet == 6


@pytest.mark.parametrize("key", [BY_SYMBOL, OF_ALL])
@pytest.mark.parametrize(
    "look",
    [PartLook(None), PartLook(5, 3, trouble="torn"), PartLook(5, 2, {TRADES: ((1, 2),)})],
    ids=["gone", "torn", "of other rows"],
)
def test_records_without_rows_are_missing_where_a_part_that_may_have_held_them_is_not_sound(
    key: str, look: PartLook
) -> None:
    account = account_of({key: look})
    (held,) = look.seqs.values() or [((1, 0),)]
    assert missing(account) == [(held[0][1] + 1, 6)]
    assert account.rowless == 0


def test_records_without_rows_held_an_empty_list_where_all_their_parts_are_sound() -> None:
    other = "processed/ccxt/trades/symbol=C-D/part.parquet"
    account = account_of({BY_SYMBOL: PartLook(5, 3, {TRADES: ((1, 3),)}), other: PartLook(None)})
    assert missing(account) == []
    assert account.rowless == 3

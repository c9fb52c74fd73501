from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from fluxforge_cli.account.audit.findings import Kind
from fluxforge_cli.account.audit.sent import LATENCY_NS, Comparison, FeedHole, StoredTrade, unmatched_frames

FEED = ("binance", "orderbook", "BTC-USDT")
TRADES = ("binance", "trades", "BTC-USDT")
S = 1_000_000_000
FRAMES = [n * S for n in range(100, 200)]


def comparison(*holes: FeedHole) -> Comparison:
    return Comparison(dict.fromkeys((FEED, TRADES), "ccxt-binance-0of1"), dict.fromkeys((FEED, TRADES), holes))


def rows_but(*missing: int) -> list[int]:
    return [at + 5 for n, at in enumerate(FRAMES) if n not in missing]


def test_frames_that_all_became_rows_balance() -> None:
    compared = comparison()
    compared.frames(FEED, FRAMES, rows_but())
    assert (compared.result().findings, compared.result().explained) == ((), {})


def test_frames_outside_every_hole_are_missing_and_told_by_their_times() -> None:
    compared = comparison()
    compared.frames(FEED, FRAMES, rows_but(10, 11, 30))
    found = compared.result().findings
    assert [one.kind for one in found] == [Kind.MISSING] * 2
    assert f"2 frames that were sent from {FRAMES[10]} to {FRAMES[11]}" in found[0].detail
    assert f"1 frames that were sent from {FRAMES[30]} to {FRAMES[30]}" in found[1].detail


def test_frames_inside_a_hole_are_explained_by_what_began_it() -> None:
    compared = comparison(FeedHole("disconnected", FRAMES[10], FRAMES[12]))
    compared.frames(FEED, FRAMES, rows_but(10, 11, 30))
    result = compared.result()
    assert result.explained == {"disconnected": 2}
    assert len(result.findings) == 1


def test_a_frame_that_was_not_read_when_the_hole_began_is_explained() -> None:
    compared = comparison(FeedHole("crash", FRAMES[10] + LATENCY_NS, FRAMES[20]))
    compared.frames(FEED, FRAMES, rows_but(9, 10))
    assert compared.result().explained == {"crash": 1}
    assert len(compared.result().findings) == 1


def test_more_rows_than_frames_are_doubled() -> None:
    compared = comparison()
    compared.frames(FEED, FRAMES, sorted([*rows_but(), FRAMES[0] + 6]))
    assert [one.kind for one in compared.result().findings] == [Kind.DOUBLED]


@given(st.sets(st.integers(0, 40), max_size=41), st.integers(0, 3))
def test_as_many_frames_are_unmatched_as_rows_lack(lost: set[int], late: int) -> None:
    sent = [10 * n for n in range(41)]
    rows = [at + 10 * late + 1 for n, at in enumerate(sent) if n not in lost]
    unmatched, surplus = unmatched_frames(sent, rows)
    assert surplus == 0
    assert len(unmatched) == len(lost)
    assert unmatched == sorted(unmatched)
    if late == 0:
        assert set(unmatched) == lost
    for at in range(41):  # at no time are more frames accounted for than were sent
        matched = [n for n in range(41) if n not in unmatched and sent[n] <= sent[at]]
        assert bisect_left(rows, sent[at]) <= len(matched)


def test_trades_are_told_apart_by_id() -> None:
    compared = comparison(FeedHole("gap", 50 * S, 60 * S))
    sent = {"1": [S], "2": [2 * S], "3": [3 * S, 4 * S], "4": [55 * S], "5": [S, 55 * S], "6": [S, 2 * S], "7": [S]}
    stored = {
        "1": StoredTrade(1, 1),
        "2": StoredTrade(2, 1),
        "3": StoredTrade(2, 2),
        "6": StoredTrade(2, 1),
        "9": StoredTrade(1, 1),
    }
    compared.trades(TRADES, sent, stored, is_marked_alone=True)
    result = compared.result()
    assert result.explained == {"gap": 1}
    told = [(one.kind, one.detail.split(":")[0].split(" are ")[0].split(" was ")[0]) for one in result.findings]
    assert told == [
        (Kind.DOUBLED, "trade 2"),
        (Kind.DOUBLED, "trade 3"),
        (Kind.MISSING, f"1 trades, 5 to 5, sent from {S} to {S} (ns)"),
        (Kind.MISSING, f"1 trades, 7 to 7, sent from {S} to {S} (ns)"),
        (Kind.UNKNOWN, "trade 9"),
    ]


def test_what_another_lane_saw_is_not_marked_as_resent() -> None:
    compared = comparison()
    compared.trades(TRADES, {"3": [S, 2 * S]}, {"3": StoredTrade(2, 2)}, is_marked_alone=False)
    assert compared.result().findings == ()

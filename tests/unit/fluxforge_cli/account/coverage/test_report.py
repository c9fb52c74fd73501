"""The report of a coverage."""

from dataclasses import replace
from io import StringIO

import orjson
import pytest
from rich.console import Console

from fluxforge_cli.account.coverage.feeds import FeedCoverage
from fluxforge_cli.account.coverage.report import moment, notices, percent, print_coverage, to_json
from tests.unit.fluxforge_cli.account.coverage.stories import BOOK, S, only, seen, told, word

FOUND = only(
    told(
        word("started", 0, None, "a:1"),
        word("resynced", 0, 0.5, "a:1"),
        word("gap", 10, None, "a:2"),
        word("resynced", 10, 12.345, "a:2"),
        word("lost", 20, 21, boot="MD"),
        word("stopped", 1100),
    ),
    seen(0.5, 1099, 1234, 3, {-2: 50, 7: 50}),
)


def lines(found: FeedCoverage = FOUND, width: int = 160) -> list[str]:
    console = Console(file=StringIO(), width=width, record=True)
    print_coverage(console, [found])
    return console.export_text().splitlines()


def test_a_person_reads_each_number_beside_its_feed() -> None:
    heads, times, _, more_heads, counts, notice = lines()
    assert heads.split()[:2] == ["feed", "observed"]
    assert times.split() == [
        *("ccxt", "kraken", "BTC-USD", "orderbook", "1,100.000", "99.650", "99.650", "0.000"),
        *("3", "2.345", "1970-01-01", "00:00:10.000"),
    ]
    assert more_heads.split()[:4] == ["feed", "gaps", "stalls", "disconnections"]
    assert counts.split()[4:] == ["1", "0", "0", "1", "0", "0", "3", "-2", "-2", "7"]
    assert notice == next(notices([FOUND]))


def test_a_name_is_printed_as_it_is() -> None:
    odd = replace(FOUND, feed=BOOK._replace(symbol="[/b][red]X"))
    assert lines(odd)[1].startswith("ccxt kraken [/b][red]X orderbook ")


def test_a_narrow_terminal_loses_no_number() -> None:
    assert "1,100.000" in " ".join(lines(width=100))


def test_a_clock_that_is_behind_is_named_by_how_much() -> None:
    assert next(notices([FOUND])) == (
        "ccxt kraken BTC-USD orderbook: captured up to 2 ms before the exchange's own time, 2 ms at the median: "
        "this machine's clock is behind, or the exchange's ahead"
    )
    assert list(notices([only(None, seen(0, 1, lags_ms={0: 1}))])) == []


def test_a_program_reads_every_hole_with_its_bounds() -> None:
    (feed,) = orjson.loads(to_json([FOUND]))["feeds"]
    assert feed["holes"] == [
        {"from_ns": 0, "to_ns": S // 2, "event": "started"},
        {"from_ns": 10 * S, "to_ns": 12_345_000_000, "event": "gap"},
        {"from_ns": 20 * S, "to_ns": 21 * S, "event": "lost"},
    ]
    assert feed["longest_hole"] == {"from_ns": 10 * S, "to_ns": 12_345_000_000}
    assert (feed["source"], feed["exchange"], feed["channel"], feed["symbol"]) == (
        *("ccxt", "kraken", "orderbook", "BTC-USD"),
    )
    counts = ("gaps", "stalls", "disconnections", "drops", "stops", "crashes", "duplicates", "rows")
    assert [feed[count] for count in counts] == [1, 0, 0, 1, 0, 0, 3, 1234]
    assert feed["lag_ms"] == {"p1": -2, "p50": -2, "p99": 7}
    assert feed["covered_ns"] == feed["verified_ns"] == feed["observed_ns"] - S // 2 - 2_345_000_000 - S


def test_where_there_is_no_time_there_is_no_share() -> None:
    one = only(None, seen(5, 5, 1))
    (feed,) = orjson.loads(to_json([one]))["feeds"]
    assert (feed["covered"], feed["longest_hole"], feed["lag_ms"], feed["holes"]) == (None, None, None, [])
    assert lines(one)[1].split()[4:] == ["0.000", "0"]


@pytest.mark.parametrize(
    ("ns", "of_ns", "text"),
    [(86_400 * S - 1, 86_400 * S, "99.999"), (S, S, "100.000"), (0, S, "0.000"), (2, 3, "66.666")],
)
def test_only_what_is_whole_is_a_hundred_percent(ns: int, of_ns: int, text: str) -> None:
    assert percent(ns, of_ns) == text


def test_a_moment_is_told_to_the_millisecond() -> None:
    assert moment(1_795_000_000_123_999_999) == "2026-11-18 11:06:40.123"

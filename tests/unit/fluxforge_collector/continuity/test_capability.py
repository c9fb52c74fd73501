"""What can be verified of which venue: the table in code, the detectors and the two pages say the same."""

import re
from pathlib import Path

from fluxforge_collector.continuity.capability import EVERY_CHANNEL, VERIFIED_CHANNELS, is_verified
from fluxforge_collector.continuity.catalog import DETECTORS

DOCS = Path(__file__).resolve().parents[4] / "docs"
CHANNELS = {"books": "orderbook", "trades": "trades", "everything on the connection": EVERY_CHANNEL}
NOT_ALWAYS_THROUGH_CCXT = {"gemini"}
"""What the venue numbers of these is what ccxt asks for now and then: no channel is verified whoever asks."""


def rows(page: str, heading: str) -> list[list[str]]:
    section = (DOCS / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_exchange_with_a_detector_has_a_capability_and_no_other() -> None:
    assert set(VERIFIED_CHANNELS) == set(DETECTORS)


def test_the_page_of_semantics_detects_gaps_of_the_same_channels() -> None:
    told: dict[str, set[str]] = {}
    for venue, detects, *_ in rows("semantics.md", "Capabilities"):
        ids = re.findall(r"`(\w+)`", venue.partition("(")[2].partition(")")[0])
        words = {word.strip() for word in detects.partition(", within")[0].split(",")}
        for exchange in ids:
            told[exchange] = {CHANNELS[word] for word in words if word in CHANNELS}
    for exchange in NOT_ALWAYS_THROUGH_CCXT:
        told[exchange] = set()
    assert told == VERIFIED_CHANNELS


def test_the_page_of_coverage_has_the_same_table() -> None:
    told = {
        exchange: set(re.findall(r"`([\w*]+)`", channels))
        for exchanges, channels in rows("coverage.md", "Verified")
        for exchange in re.findall(r"`(\w+)`", exchanges)
    }
    assert told == {exchange: channels for exchange, channels in VERIFIED_CHANNELS.items() if channels}


def test_what_is_in_no_table_is_not_verified() -> None:
    assert is_verified("binance", "trades")
    assert is_verified("coinbase", "ticker")
    assert not is_verified("binance", "ticker")
    assert not is_verified("kraken", "trades")
    assert not is_verified("gemini", "orderbook")
    assert not is_verified("elsewhere", "orderbook")

"""Every watch call of every ccxt.pro exchange, through the tap: what is learned, and what becomes a record."""

import asyncio
import difflib
from pathlib import Path

import ccxt.pro
import pytest

from tests.contract.exchanges import Driven, drive_all, page_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exchanges.md"
UNDRIVEN_MAX = 2
"""cex watches the trades of one market in an instance; nado begins a book with a request."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Driven]]:
    return asyncio.run(drive_all())


def test_each_update_is_one_record_of_its_feed_and_what_nobody_asked_for_is_none(
    found: dict[str, dict[str, Driven]],
) -> None:
    faults = {f"{name} {fault}" for name, row in found.items() for one in row.values() for fault in one.faults}
    assert faults == set()


def test_every_exchange_can_be_captured(found: dict[str, dict[str, Driven]]) -> None:
    assert set(found) == set(ccxt.pro.exchanges)
    assert [name for name, row in found.items() if not any(one.mark for one in row.values())] == []
    undriven = {
        (name, method): one.reason for name, row in found.items() for method, one in row.items() if not one.mark
    }
    assert len(undriven) <= UNDRIVEN_MAX, undriven


def test_the_page_tells_what_can_be_captured_now(found: dict[str, dict[str, Driven]]) -> None:
    changes = difflib.unified_diff(PAGE.read_text().splitlines(), page_of(found).splitlines(), "page", "now", n=0)
    assert not (told := "\n".join(changes)), f"python -m tests.contract.exchanges > docs/exchanges.md\n{told}"

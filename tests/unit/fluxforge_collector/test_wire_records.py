import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxforge.domain.errors import RecordError
from fluxforge_collector.wire_records import (
    PIECE_CHARS,
    Answer,
    Frame,
    Resolved,
    Setup,
    WireItem,
    data_of,
    item_of,
    received,
)

LONG = 'a"\x00é' * PIECE_CHARS
SETUP = Setup("4.5.90", "kraken", 50, None, {"a": 1}, {"watchTrades": ("BTC/USD",)}, "1m")
ITEMS = [
    Frame("{}"),
    Frame(""),
    Frame(b"\x1f\x8b\x00"),
    Frame("ping", sent=True),
    Frame(LONG),
    Frame(LONG.encode()),
    Answer("GET", "https://x/y?z=1", None, 200, LONG),
    Answer("POST", "https://x/y", '{"type":"meta"}', 503, ""),
    Answer("GET", "https://x/y", None, None, "", "RequestTimeout"),
    Resolved("orderbook::BTC/USDT"),
    SETUP,
]


@pytest.mark.parametrize("item", ITEMS, ids=range(len(ITEMS)))
def test_an_item_is_read_as_it_was_written(item: WireItem) -> None:
    assert item_of([orjson.loads(data) for data in data_of(item)]) == item


@given(st.text() | st.binary())
def test_a_received_frame_is_read_as_it_came(payload: str | bytes) -> None:
    pieces = [orjson.loads(data) for data in received(payload)]
    assert item_of(pieces) == Frame(payload)
    assert len(pieces) == 1


def test_a_received_text_frame_is_nothing_but_its_text() -> None:
    assert list(received('{"e":1}')) == [b'{"text":"{\\"e\\":1}"}']


def test_no_record_of_a_long_frame_is_too_long_for_the_bus() -> None:
    worst = list(received("\x00" * (3 * PIECE_CHARS + 1)))
    assert [b'"more":true' in data for data in worst] == [True, True, True, False]
    assert max(map(len, worst)) < 1_000_000


@pytest.mark.parametrize(
    "data", [{}, {"b64": "?"}, {"text": 1}, {"url": "x", "text": ""}, {"setup": True, "text": "{}"}]
)
def test_what_is_no_wire_record_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="no wire record"):
        item_of([data])

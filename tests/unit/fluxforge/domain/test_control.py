import orjson
import pytest

from fluxforge.domain.control import After, Control, Event, FeedKey
from fluxforge.domain.errors import RecordError

BOOK = FeedKey("orderbook", "BTC-USDT")


@pytest.mark.parametrize("event", list(Event))
def test_every_event_comes_back(event: Event) -> None:
    control = Control(event, hole="b:1", scope=BOOK, reason="r", from_ns=1, to_ns=None, count=3, repeat=True)
    assert Control.from_json(control.to_json()) == control


def test_what_the_start_knows_comes_back() -> None:
    control = Control(
        Event.STARTED,
        feeds=(BOOK,),
        after=After("b", 7, 9),
        follows=("ccxt-x-0of1",),
        detail={"size": 1, "sha256": "x"},
        markets={"BTC-USDT": "BTC/USDT"},
    )
    assert Control.from_json(control.to_json()) == control
    assert control.concerned() == (BOOK,)


def test_the_fields_of_the_format_are_always_there() -> None:
    assert set(orjson.loads(Control(Event.STOPPED).to_json())) == {
        "event", "hole", "scope", "feeds", "reason", "from_ns", "to_ns", "count", "repeat",
    }  # fmt: skip


def test_the_market_of_a_symbol_is_the_symbol_itself_where_it_is_not_named() -> None:
    control = Control(Event.STARTED, feeds=(BOOK,), markets={"BTC-USDT": "BTC/USDT"})
    assert (control.market("BTC-USDT"), control.market("BTCUSDT")) == ("BTC/USDT", "BTCUSDT")
    assert Control(Event.STARTED).market("BTC-USDT") == "BTC-USDT"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hole", 1),
        ("reason", ["x"]),
        ("from_ns", "now"),
        ("to_ns", 1.5),
        ("count", 2**63),
        ("count", True),
        ("markets", ["BTC/USDT"]),
        ("markets", {"BTC-USDT": None}),
        ("detail", [1]),
        ("detail", "x"),
        ("feeds", [["orderbook", 1]]),
        ("feeds", [["orderbook", ""]]),
        ("after", {"boot": "b", "block": 1, "capture_ns": None}),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(field: str, value: object) -> None:
    body = {**orjson.loads(Control(Event.STARTED).to_json()), field: value}
    name = field.removesuffix("s") if field == "feeds" else field
    with pytest.raises(RecordError, match=f"control record: {name}: "):
        Control.from_json(orjson.dumps(body))


@pytest.mark.parametrize("text", [b"{", b"[]", b"{}", b'{"event":"no such"}', b"null"])
def test_what_is_no_control_record_is_refused(text: bytes) -> None:
    with pytest.raises(RecordError, match="control record"):
        Control.from_json(text)


def test_a_stopped_of_some_feeds_does_not_end_its_boot() -> None:
    assert Control(Event.STOPPED, feeds=(BOOK,)).ends_boot
    assert not Control(Event.STOPPED, hole="b1:7", feeds=(BOOK,)).ends_boot
    assert not Control(Event.STARTED, feeds=(BOOK,)).ends_boot

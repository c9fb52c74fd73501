import pytest

from fluxforge.domain.control import Control, Event
from fluxforge_collector.replay.script import is_keepalive, path_of, script_of
from fluxforge_collector.replay.tape import Step
from fluxforge_collector.wire_records import Answer, Frame, Setup

SETUP = Setup("4.5.90", "kraken", 50, "127.0.0.1:7", {}, {}, "1m")


def step(at_ns: int, item: object, conn: int = 1) -> Step:
    return Step("b", at_ns, conn, item)  # type: ignore[arg-type] # any item


def opened(url: str) -> Control:
    return Control(Event.CONNECTED, reason=url)


def test_a_conversation_is_one_connection_from_its_beginning_to_its_end() -> None:
    script = script_of(
        [
            step(1, SETUP, 0),
            step(10, opened("ws://127.0.0.1:7/ws.kraken.com/v2")),
            step(11, Frame('{"method":"subscribe"}', sent=True)),
            step(12, Frame("a")),
            step(13, opened("ws://127.0.0.1:7/other"), 2),
            step(14, Frame("b"), 2),
            step(15, Frame('{"method":"ping"}', sent=True)),
            step(17, Control(Event.DISCONNECTED, reason="closed with code 1000")),
        ]
    )
    first, second = script.conversations
    assert first.path == "/ws.kraken.com/v2"
    assert first.frames == [(1, Frame('{"method":"subscribe"}', sent=True)), (2, Frame("a"))]
    assert first.lasts_ns == 7
    assert (second.path, second.frames, second.lasts_ns) == ("/other", [(1, Frame("b"))], None)


def test_answers_come_in_the_order_they_were_given_and_the_last_one_ever_again() -> None:
    url = "http://127.0.0.1:7/api/depth?limit=5"
    script = script_of([step(1, SETUP), *(step(n, Answer("GET", url, None, 200, str(n))) for n in (2, 3))])
    texts = [script.answer("GET", "/api/depth?limit=5") for _ in range(3)]
    assert [answer.text for answer in texts if answer] == ["2", "3", "3"]
    assert script.answer("GET", "/api/depth?limit=9") == texts[-1]
    assert script.answer("POST", "/api/depth?limit=5") is None
    assert script.answer("GET", "/api/other") is None


def test_a_request_without_an_answer_says_nothing() -> None:
    url = "http://127.0.0.1:7/x"
    script = script_of([step(1, SETUP), step(2, Answer("GET", url, None, None, "", "RequestTimeout"))])
    assert script.answer("GET", "/x") is None


def test_the_host_stands_in_the_path_whichever_way_it_was_reached() -> None:
    assert path_of("wss://stream.binance.us:9443/ws?a=1", None) == "/stream.binance.us:9443/ws?a=1"
    assert path_of("ws://127.0.0.1:7/stream.binance.us:9443/ws", "127.0.0.1:7") == "/stream.binance.us:9443/ws"


@pytest.mark.parametrize("text", ["ping", '{"method":"ping","req_id":7}', b'{"op":"pong"}', '{"event":"Heartbeat"}'])
def test_what_only_keeps_a_connection_alive_is_known(text: str | bytes) -> None:
    assert is_keepalive(text)
    assert not is_keepalive('{"op":"subscribe"}')

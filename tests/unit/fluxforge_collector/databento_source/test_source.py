"""The source through the official client's protocol, before a gateway on loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.fluxforge_collector.databento_source.dbn import (  # isort: skip - skips where the package is absent
    INSTRUMENT,
    LAST,
    MARKET,
    MAYBE_BAD,
    S,
    SNAPSHOT,
    T0,
    minute,
    order,
    quote,
    trade,
)
from databento_dbn import ErrorCode, ErrorMsg, SystemCode, SystemMsg

from fluxforge.domain.control import Event
from fluxforge_collector.databento_source import source
from tests.databento_gateway import Gateway, mapping
from tests.unit.fluxforge_collector.databento_source.live import NOW, asked, is_served, live, streaming
from tests.unit.fluxforge_collector.made import until

HOUR = 3600 * S


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway({INSTRUMENT: MARKET}) as made:
        yield made


async def broken(gateway: Gateway) -> None:
    """Break the connection and wait until another one is served."""
    count = gateway.session_count
    gateway.drop()
    await until(lambda: gateway.session_count > count and is_served(gateway))


async def test_records_are_those_of_a_file_stamped_when_they_came(gateway: Gateway) -> None:
    async with streaming(gateway, {"trades": [MARKET], "mbp-1": [MARKET]}) as made:
        made.desk.clock.advance(5 * S)
        gateway.add(trade(10, 4500.25, 3, "A"), quote(11, 4500.0, 4500.5))
        await until(lambda: made.records("orderbook"))
    ((envelope, (told,)),) = made.records()
    assert (envelope.source, envelope.market, envelope.conn, envelope.seq) == ("databento", MARKET, 1, 1)
    assert NOW + 5 * S <= envelope.capture_ns < NOW + 6 * S
    assert envelope.exchange_ms == (T0 + 5) // 1_000_000
    assert envelope.source_kind is None
    assert (told["id"], told["side"], told["price"], told["amount"]) == ("10", "sell", 4500.25, 3.0)
    ((_, book),) = made.records("orderbook")
    assert (book["bids"], book["asks"]) == ([[4500.0, 3.0]], [[4500.5, 4.0]])


async def test_it_signs_in_and_asks_not_to_be_spared_what_it_is_late_for(gateway: Gateway) -> None:
    async with streaming(gateway, {"mbo": [MARKET], "mbp-1": ["ESH4", "ESM4"], "definition": [MARKET]}):
        (client,) = gateway.clients
        assert (client.signed["slow_reader_behavior"], client.signed["heartbeat_interval_s"]) == ("warn", "5")
        asked_for = {one.schema: (one.symbols, one.start, one.snapshot) for one in client.subscriptions}
        assert asked_for == {
            "mbo": ([MARKET], None, True),
            "mbp-1": (["ESH4", "ESM4"], None, False),
            "definition": ([MARKET], 0, False),
        }


async def test_feeds_are_acknowledged_and_sound_from_their_first_record_on(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        await until(lambda: made.reasons(Event.SUBSCRIBED))
        gateway.add(trade(1, 1.0))
        await until(made.records)
        assert made.source.connections == 1
        assert not made.desk.writer.feeds[0].unsound
    assert [control.event for control in made.controls][:2] == [Event.CONNECTED, Event.SUBSCRIBED]
    assert made.controls[0].reason == f"{gateway.address} GLBX.MDP3"
    assert made.source.connections == 0


async def test_trades_missed_while_the_connection_was_down_are_told_once_and_marked(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        gateway.add(trade(1 * S, 1.0), trade(2 * S, 2.0), trade(2 * S, 3.0))
        await until(lambda: len(made.records()) == 3)
        gateway.history += [trade(2 * S, 4.0), trade(3 * S, 5.0)]
        await broken(gateway)
        gateway.add(trade(4 * S, 6.0))
        await until(lambda: len(made.records()) == 6)
        (subscription,) = gateway.clients[0].subscriptions
    assert subscription.start == T0 + 2 * S - 5 - 5 * S
    told = [(envelope.source_kind, rows[0]["price"]) for envelope, rows in made.records()]
    assert told == [(None, 1.0), (None, 2.0), (None, 3.0), ("backfill", 4.0), ("backfill", 5.0), (None, 6.0)]
    ids = made.ids()
    assert len(set(ids)) == 6
    completed = [control for control in made.controls if control.reason == "Finished trades replay"]
    assert [(one.count, one.detail) for one in completed] == [(2, {"repeated": 3})]
    lost, healed = (
        next(one for one in made.controls if one.event is event) for event in (Event.DISCONNECTED, Event.RECOVERED)
    )
    assert [key.channel for key in lost.concerned()] == ["trades"]
    assert healed.hole == lost.hole
    assert lost.from_ns is not None
    assert healed.to_ns is not None
    late, live_again = (made.records()[at][0].capture_ns for at in (4, 5))
    assert lost.from_ns < late < healed.to_ns < live_again


async def test_records_alike_in_every_byte_are_each_counted(gateway: Gateway) -> None:
    alike = [trade(5, 1.0) for _ in range(3)]
    async with streaming(gateway) as made:
        gateway.add(*alike[:2])
        await until(lambda: len(made.records()) == 2)
        gateway.history.append(alike[2])
        await broken(gateway)
        gateway.add(trade(6, 1.0))
        await until(lambda: len(made.records()) == 4)
    first = trade(5, 1.0).sequence
    assert made.ids() == [str(first), f"{first}.1", f"{first}.2", str(trade(6, 1.0).sequence)]


async def test_candles_missed_are_marked_and_books_are_not_told_late(gateway: Gateway) -> None:
    channels = {"ohlcv-1m": [MARKET], "mbp-1": [MARKET]}
    async with streaming(gateway, channels) as made:
        gateway.add(minute(T0, 1.0), quote(1, 1.0, 2.0))
        await until(lambda: made.records("orderbook"))
        gateway.history += [minute(T0 + 60 * S, 2.0), quote(2, 1.0, 3.0)]
        await broken(gateway)
        gateway.add(quote(3, 1.5, 2.0))
        await until(lambda: len(made.records("orderbook")) == 2)
    candles = [(envelope.source_kind, rows[0][1]) for envelope, rows in made.records("ohlcv")]
    assert candles == [(None, 1.0), ("backfill", 2.0)]
    assert [book["bids"][0][0] for _, book in made.records("orderbook")] == [1.0, 1.5]
    assert {envelope.source_kind for envelope, _ in made.records("orderbook")} == {None}


async def test_a_book_of_orders_begins_anew_with_the_snapshot_of_each_session(gateway: Gateway) -> None:
    gateway.snapshots = [
        order(1, "R", flags=SNAPSHOT),
        order(1, "A", "B", 1, 10.0, 2, flags=SNAPSHOT),
        order(1, "A", "A", 2, 11.0, 3, flags=SNAPSHOT | LAST),
    ]
    async with streaming(gateway, {"mbo": [MARKET]}) as made:
        await until(lambda: made.records("orderbook"))
        gateway.add(order(2, "A", "B", 3, 10.5, 1))
        await until(lambda: len(made.records("orderbook")) == 2)
        gateway.snapshots = [order(3, "R", flags=SNAPSHOT), order(3, "A", "B", 4, 9.0, 7, flags=SNAPSHOT | LAST)]
        await broken(gateway)
        await until(lambda: len(made.records("orderbook")) == 3)
    books = [(book["bids"], book["asks"]) for _, book in made.records("orderbook")]
    assert books == [
        ([[10.0, 2.0]], [[11.0, 3.0]]),
        ([[10.5, 1.0], [10.0, 2.0]], [[11.0, 3.0]]),
        ([[9.0, 7.0]], []),
    ]
    assert [one.event for one in made.controls if one.event is Event.RESYNCED] == [Event.RESYNCED] * 1


async def test_a_book_that_missed_orders_is_asked_for_anew_and_is_whole_with_its_snapshot(gateway: Gateway) -> None:
    gateway.snapshots = [order(1, "R", flags=SNAPSHOT | LAST)]
    async with streaming(gateway, {"mbo": [MARKET]}) as made:
        await until(lambda: made.records("orderbook"))
        gateway.snapshots = [order(3, "R", flags=SNAPSHOT), order(3, "A", "B", 4, 9.0, 7, flags=SNAPSHOT | LAST)]
        gateway.add(order(2, "C", "B", 77, 10.0, 1))
        await until(lambda: len(made.records("orderbook")) == 2)
        gateway.add(order(4, "C", "B", 78, 10.0, 1), order(5, "C", "B", 79, 10.0, 1))
        await until(lambda: len(made.reasons(Event.GAP)) == 2)
        (client,) = gateway.clients
        assert len(client.subscriptions) == 2  # too soon after the first one
        gateway.snapshots = [order(7, "R", flags=SNAPSHOT), order(7, "A", "B", 5, 8.0, 6, flags=SNAPSHOT | LAST)]
        made.desk.clock.advance(61 * S)
        gateway.add(order(6, "A", "B", 80, 10.0, 1))
        await until(lambda: len(made.records("orderbook")) == 3)
    assert [book["bids"] for _, book in made.records("orderbook")] == [[], [[9.0, 7.0]], [[8.0, 6.0]]]
    *gaps, left_out = (one for one in made.controls if one.event is Event.GAP and not one.repeat)
    assert [one.reason for one in gaps] == ["order 77 is not in the book", "order 78 is not in the book"]
    assert left_out.count == 4
    asked_for = [(one.schema, one.symbols, one.snapshot) for one in client.subscriptions]
    assert asked_for == [("mbo", [MARKET], True)] * 3
    assert [one.hole for one in made.controls if one.event is Event.RESYNCED] == [one.hole for one in gaps]


async def test_a_book_whose_snapshot_does_not_come_or_is_doubted_is_asked_for_until_one_heals_it(
    gateway: Gateway,
) -> None:
    async with streaming(gateway, {"mbo": [MARKET]}) as made:
        gateway.add(order(1, "R"), order(2, "C", "B", 77, 10.0, 1))
        await until(lambda: len(gateway.clients[0].subscriptions) == 2)
        gateway.snapshots = [order(3, "R", flags=SNAPSHOT), order(3, "A", "B", 4, 9.0, 7, flags=LAST | MAYBE_BAD)]
        made.desk.clock.advance(61 * S)
        gateway.add(order(4, "T", "B", 0, 10.0, 1))
        await until(lambda: len(gateway.clients[0].subscriptions) == 3)
        gateway.snapshots = [order(5, "R", flags=SNAPSHOT), order(5, "A", "B", 4, 9.0, 7, flags=SNAPSHOT | LAST)]
        made.desk.clock.advance(61 * S)
        gateway.add(order(6, "A", "B", 80, 10.0, 1))
        await until(lambda: len(made.records("orderbook")) == 2)
    assert [book["bids"] for _, book in made.records("orderbook")] == [[], [[9.0, 7.0]]]


async def test_a_gateway_that_restarts_is_found_again(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        gateway.add(trade(1, 1.0))
        await until(made.records)
        await gateway.stop()
        await until(lambda: any("no connection to" in (reason or "") for reason in made.reasons(Event.REJECTED)))
        assert made.source.connections == 0
        await gateway.start()
        await until(lambda: is_served(gateway))
        gateway.add(trade(2, 2.0))
        await until(lambda: len(made.records()) == 2)
    assert made.ids() == ["1", "2"]


async def test_a_gateway_that_says_nothing_any_more_is_left_and_the_hole_begins_at_its_last_word(
    gateway: Gateway,
) -> None:
    gateway.sends_heartbeats = False
    async with streaming(gateway, silence_s=0.2) as made:
        gateway.add(trade(1, 1.0))
        await until(made.records)
        (envelope, _), *_ = made.records()
        made.desk.clock.advance(9 * S)
        await until(lambda: made.reasons(Event.DISCONNECTED))
    lost = next(one for one in made.controls if one.event is Event.DISCONNECTED)
    assert lost.reason == "nothing for 0.2 s, not even a heartbeat"
    assert lost.from_ns is not None
    assert lost.from_ns <= envelope.capture_ns


async def test_a_wrong_key_is_named_and_signing_in_tried_again(gateway: Gateway) -> None:
    async with live(asked(gateway, {"trades": [MARKET]}, key="db-wrong")) as made:
        await until(lambda: len(made.reasons(Event.REJECTED)) > 1)
        gateway.key = "db-wrong"
        await until(lambda: is_served(gateway))
    refusal = made.controls[0]
    assert refusal.reason == "GLBX.MDP3: the gateway refused to sign in: Authentication failed."
    assert [key.channel for key in refusal.concerned()] == ["trades"]
    assert not any("db-wrong" in str(control) for control in made.controls)


async def test_a_dataset_that_is_not_licensed_is_named(gateway: Gateway) -> None:
    gateway.refuses_dataset = "Not entitled to GLBX.MDP3"
    async with live(asked(gateway, {"trades": [MARKET]})) as made:
        await until(lambda: made.reasons(Event.REJECTED))
    assert made.reasons(Event.REJECTED)[0] == ("GLBX.MDP3: the gateway refused to sign in: Not entitled to GLBX.MDP3")


async def test_a_schema_that_is_refused_is_named_and_ends_the_session(gateway: Gateway) -> None:
    gateway.refuses_subscription = (ErrorCode.INVALID_SUBSCRIPTION, f"No license for mbo of {MARKET}")
    async with live(asked(gateway, {"mbo": [MARKET], "trades": ["ESH4"]})) as made:
        await until(lambda: made.reasons(Event.DISCONNECTED))
        gateway.refuses_subscription = None
        await until(lambda: is_served(gateway))
    refusal = next(one for one in made.controls if one.event is Event.REJECTED)
    assert refusal.reason == f"the gateway refused: No license for mbo of {MARKET}"
    assert [(key.channel, key.symbol) for key in refusal.concerned()] == [("orderbook", MARKET)]
    assert made.reasons(Event.DISCONNECTED)[0] == f"No license for mbo of {MARKET}"


async def test_a_replay_that_is_refused_is_not_asked_for_again(gateway: Gateway) -> None:
    gateway.refuses_replay = True
    async with streaming(gateway) as made:
        gateway.add(trade(1, 1.0))
        await until(made.records)
        gateway.drop()
        await until(lambda: gateway.session_count == 3 and is_served(gateway))
        gateway.add(trade(2, 1.0))
        await until(lambda: len(made.records()) == 2)
    assert {envelope.source_kind for envelope, _ in made.records()} == {None}
    assert "Replay data has aged out" in made.reasons(Event.DISCONNECTED)


async def test_a_replay_that_is_refused_after_something_came_is_not_asked_for_again(gateway: Gateway) -> None:
    gateway.refuses_replay = True
    gateway.tells_before_refusal = [quote(2, 1.0, 2.0)]
    async with streaming(gateway, {"trades": [MARKET], "mbp-1": [MARKET]}) as made:
        gateway.add(trade(1, 1.0), quote(1, 1.0, 2.0))
        await until(lambda: made.records() and made.records("orderbook"))
        gateway.drop()
        await until(lambda: gateway.session_count > 1 and is_served(gateway))
        assert gateway.session_count == 3


@pytest.mark.parametrize("code", [ErrorCode.CONNECTION_LIMIT_EXCEEDED, ErrorCode.INTERNAL_ERROR])
async def test_a_session_that_ends_by_another_error_leaves_its_replay_to_the_next_one(
    gateway: Gateway, code: ErrorCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with streaming(gateway) as made:

        class Lifted:
            """A backoff without delays, after which what was refused once is granted."""

            def delay_s(self, *_: object) -> float:
                if "not now" in made.reasons(Event.DISCONNECTED):
                    gateway.refuses_subscription = None
                return 0.0

        monkeypatch.setattr(source, "BACKOFF", Lifted())
        gateway.add(trade(1, 1.0))
        await until(made.records)
        gateway.history.append(trade(2, 2.0))
        gateway.refuses_subscription = (code, "not now")
        gateway.drop()
        await until(lambda: gateway.session_count == 3 and is_served(gateway))
        gateway.add(trade(3, 3.0))
        await until(lambda: len(made.records()) == 3)
    assert [(envelope.source_kind, rows[0]["price"]) for envelope, rows in made.records()] == [
        (None, 1.0),
        ("backfill", 2.0),
        (None, 3.0),
    ]


async def test_what_comes_a_minute_after_the_session_began_is_live_even_if_no_replay_ever_ended(
    gateway: Gateway,
) -> None:
    gateway.says_replayed = False
    async with streaming(gateway) as made:
        gateway.add(trade(1, 1.0))
        await until(made.records)
        gateway.history.append(trade(2, 1.0))
        await broken(gateway)
        gateway.add(trade(HOUR + 59 * S, 1.0), trade(HOUR + 61 * S, 1.0))
        await until(lambda: len(made.records()) == 4)
    assert [envelope.source_kind for envelope, _ in made.records()] == [None, "backfill", "backfill", None]


async def test_a_replay_is_asked_for_after_a_session_that_brought_nothing(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        gateway.add(trade(1, 1.0))
        await until(made.records)
        gateway.history.clear()
        await broken(gateway)
        gateway.say(ErrorMsg(ts_event=1, code=ErrorCode.SYMBOL_RESOLUTION_FAILED, err="Failed to resolve X"))
        await until(lambda: made.reasons(Event.REJECTED))
        gateway.history.append(trade(2, 1.0))
        await broken(gateway)
        await until(lambda: len(made.records()) == 2)
    assert [envelope.source_kind for envelope, _ in made.records()] == [None, "backfill"]


async def test_what_a_lost_session_missed_is_replayed_even_where_nothing_was_seen_before(gateway: Gateway) -> None:
    async with streaming(gateway, {"trades": [MARKET], "ohlcv-1m": [MARKET], "mbp-1": [MARKET]}) as made:
        assert {one.start for one in gateway.clients[0].subscriptions} == {None}
        gateway.history += [trade(HOUR - S, 1.0), trade(HOUR + S, 2.0), quote(HOUR + S, 1.0, 2.0)]
        gateway.history += [minute(NOW - 90 * S, 1.0), minute(NOW - 30 * S, 2.0)]  # the second ended when it was lost
        await broken(gateway)
        gateway.add(trade(HOUR + 2 * S, 3.0))
        await until(lambda: len(made.records()) == 2 and made.records("ohlcv"))
    assert [(envelope.source_kind, rows[0]["price"]) for envelope, rows in made.records()] == [
        ("backfill", 2.0),
        (None, 3.0),
    ]
    assert [rows[0][1] for _, rows in made.records("ohlcv")] == [2.0]
    assert made.records("orderbook") == []


async def test_what_the_gateway_says_beside_the_data_is_in_the_lane(gateway: Gateway) -> None:
    async with streaming(gateway, {"mbp-1": [MARKET], "trades": [MARKET]}) as made:
        gateway.say(
            SystemMsg(ts_event=1, code=SystemCode.HEARTBEAT, msg="Heartbeat"),
            SystemMsg(ts_event=1, code=SystemCode.END_OF_INTERVAL, msg="End of interval for ohlcv-1s"),
            SystemMsg(ts_event=1, code=SystemCode.SLOW_READER_WARNING, msg="You are 3 s behind"),
            ErrorMsg(ts_event=1, code=ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING, err="Skipped mbp-1 records"),
        )
        await until(lambda: made.reasons(Event.GAP))
    assert made.reasons(Event.REJECTED) == ["the gateway says: You are 3 s behind"]
    (gap,) = (one for one in made.controls if one.event is Event.GAP)
    assert [key.channel for key in gap.concerned()] == ["orderbook"]
    assert [control.event for control in made.controls if not control.repeat].count(Event.SUBSCRIBED) == 2


async def test_a_symbol_that_does_not_exist_is_named_and_the_others_go_on(gateway: Gateway) -> None:
    async with streaming(gateway, {"trades": [MARKET, "ESQ4"]}) as made:
        gateway.say(ErrorMsg(ts_event=1, code=ErrorCode.SYMBOL_RESOLUTION_FAILED, err="Failed to resolve 'ESQ4'"))
        gateway.add(trade(1, 1.0))
        await until(made.records)
        await broken(gateway)
    refusal = next(one for one in made.controls if one.event is Event.REJECTED)
    assert [key.symbol for key in refusal.concerned()] == ["ESQ4"]
    assert [feed.unsound for feed in made.desk.writer.feeds][1]
    assert "resolve" not in (made.reasons(Event.DISCONNECTED)[0] or "")


async def test_a_record_without_a_time_is_named_and_makes_nothing_after_it_a_repetition(gateway: Gateway) -> None:
    timeless = trade(3, 1.0)
    timeless.ts_recv = 2**64 - 1
    async with streaming(gateway) as made:
        gateway.add(trade(1, 1.0))
        gateway.say(timeless)
        await until(lambda: made.reasons(Event.REJECTED))
        await broken(gateway)
        gateway.add(trade(5, 2.0))
        await until(lambda: len(made.records()) == 2)
    assert made.reasons(Event.REJECTED) == ["a record without a time"]


async def test_bytes_that_are_no_records_end_the_session_and_not_the_source(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        for client in gateway.clients:
            client.writer.write(b"\x01\x00\x00\x00" * 64)
        await until(lambda: gateway.session_count == 2 and is_served(gateway))
        gateway.add(trade(1, 1.0))
        await until(made.records)
    assert (made.reasons(Event.DISCONNECTED)[0] or "").startswith("not readable as GLBX.MDP3 data")


async def test_records_that_cannot_be_entered_are_named_by_powers_of_ten(gateway: Gateway) -> None:
    async with streaming(gateway, {"mbp-1": [MARKET], "trades": [MARKET]}) as made:
        gateway.add(quote(1, 1.0, 2.0))
        gateway.add(*(quote(n, 1.0, 2.0, publisher_id=9) for n in range(2, 25)), trade(30, 1.0))
        await until(made.records)
        gateway.drop()
        await until(lambda: made.reasons(Event.DISCONNECTED))
    refused = [control for control in made.controls if control.event is Event.REJECTED]
    assert [control.count for control in refused] == [1, 9, 13]
    assert "publishers 1 and 9" in (refused[0].reason or "")
    assert len(made.records("orderbook")) == 1


async def test_what_was_counted_and_not_named_yet_is_named_when_the_source_is_ended(gateway: Gateway) -> None:
    async with streaming(gateway, {"mbp-1": [MARKET], "mbo": ["ESM4"], "trades": [MARKET]}) as made:
        gateway.names[8] = "ESM4"
        gateway.say(mapping(8, "ESM4"))
        gateway.add(*(order(n, "A", "B", n, 10.0, 1, instrument_id=8) for n in range(1, 4)))
        gateway.add(quote(4, 1.0, 2.0), *(quote(n, 1.0, 2.0, publisher_id=9) for n in range(5, 104)), trade(200, 1.0))
        await until(made.records)
    assert sum(one.count or 0 for one in made.controls if one.event is Event.REJECTED) == 99
    gaps = [(one.reason, one.count) for one in made.controls if one.event is Event.GAP]
    assert gaps == [("orders of a book whose begin is not known", 1), ("no book could be told of these", 3)]


async def test_an_instrument_that_nobody_asked_for_is_named_and_left_out(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        gateway.say(trade(1, 1.0, instrument_id=99))
        gateway.add(trade(2, 1.0))
        await until(made.records)
    assert made.reasons(Event.REJECTED) == ["a record of trades of instrument 99, which was not asked for"]


@pytest.mark.parametrize("error", [KeyError("ours"), ValueError("ours")])
async def test_an_error_of_our_own_ends_the_source_and_is_not_taken_for_a_lost_connection(
    gateway: Gateway, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    async def broken_lane() -> None:
        async with streaming(gateway) as made:
            made.desk.buffer.append = fails  # type: ignore[method-assign]
            gateway.add(trade(1, 1.0))
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await broken_lane()
    assert caught.group_contains(type(error), match="ours")


async def test_whatever_comes_is_a_sign_of_life(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        session = made.source._session
        assert session is not None
        session._heard_s -= 1000
        gateway.add(trade(1, 1.0))
        await until(made.records)
        assert asyncio.get_running_loop().time() - session._heard_s < 900


class Delays:
    """A backoff without delays that remembers how many failures in a row it was told of."""

    def __init__(self) -> None:
        self.failures: list[int] = []

    def delay_s(self, failures: int, _: object) -> float:
        self.failures.append(failures)
        return 0.0


async def test_tries_count_until_a_session_brings_something(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    delays = Delays()
    monkeypatch.setattr(source, "BACKOFF", delays)
    gateway.refuses_dataset = "Not entitled"
    async with live(asked(gateway, {"trades": [MARKET]})) as made:
        await until(lambda: len(delays.failures) >= 3)
        gateway.refuses_dataset = None
        await until(lambda: is_served(gateway))
        gateway.add(trade(1, 1.0))
        await until(made.records)
        await broken(gateway)
        count = len(delays.failures)
    assert delays.failures[:3] == [1, 2, 3]
    assert delays.failures[count - 1] == 1


async def test_sessions_that_are_refused_count_as_failed_whatever_they_brought_before(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays = Delays()
    monkeypatch.setattr(source, "BACKOFF", delays)
    async with streaming(gateway, {"trades": [MARKET], "mbp-1": [MARKET]}) as made:
        gateway.add(quote(1, 1.0, 2.0))
        await until(lambda: made.records("orderbook"))
        gateway.refuses_subscription = (ErrorCode.INVALID_SUBSCRIPTION, "No license for trades")
        gateway.tells_before_refusal = [quote(2, 1.0, 2.0)]
        gateway.drop()
        await until(lambda: len(delays.failures) >= 4)
    assert delays.failures[:4] == [1, 2, 3, 4]


async def test_nothing_enters_the_lane_after_it_was_closed(gateway: Gateway) -> None:
    async with streaming(gateway) as made:
        gateway.add(trade(1, 1.0))
        await until(made.records)
    count = len(made.controls)
    gateway.add(*(trade(n, 1.0) for n in range(2, 100)))
    await asyncio.sleep(0)
    await until(lambda: not gateway.clients)
    assert (len(made.records()), len(made.controls)) == (1, count)

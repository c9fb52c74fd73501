"""Interactive Brokers through the real ib_async against a stand-in that speaks the TWS protocol."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from fluxforge_collector.blocks import FeedSlot
from fluxforge_collector.ibkr_source.pace import Waits
from fluxforge_collector.silence.limits import NS_PER_S, SilenceLimits
from tests.tws import wire
from tests.tws.capture import IBKR, capturing
from tests.tws.gateway import AAPL, ESU4, EURUSD, Gateway, running_gateway
from tests.tws.ladders import Ladders
from tests.unit.fluxforge_collector.made import Line, until
from tests.unit.fluxforge_etl_worker.samples import forged, rows_of

AAPL_ID, ESU4_ID, EURUSD_ID = "AAPL-USD_SMART", "ESU4-USD_CME", "EUR-USD_IDEALPRO"
ES = {"sec_type": "FUT", "symbol": "ES", "exchange": "CME", "expiry": "202409"}


async def standing(gateway: Gateway, kind: str, listing: wire.Listing, *, asked: int = 1):
    await until(lambda: gateway.count_asked(kind, listing) >= asked and gateway.standing(kind, listing))
    found = gateway.standing(kind, listing)
    assert found is not None
    return found


async def test_every_channel_of_every_kind_of_contract_is_captured() -> None:
    channels = {
        "ticker": ["AAPL/USD:SMART", "EUR/USD:IDEALPRO"],
        "bidsasks": ["EUR/USD:IDEALPRO"],
        "trades": ["AAPL/USD:SMART"],
        "orderbook": [ES],
        "ohlcv_5s": ["AAPL/USD:SMART"],
    }
    async with running_gateway() as gateway, capturing(gateway.port, channels) as capture:
        ticker = await standing(gateway, "ticker", AAPL)
        ticker.session.send(wire.price(ticker.number, 1, 190.5, 300) + wire.size(ticker.number, 3, 0))
        trades = await standing(gateway, "trades", AAPL)
        trades.session.send(wire.trade(trades.number, 1_719_878_281, 190.51, 20, 2, "ISLAND", " T I"))
        touch = await standing(gateway, "bidsasks", EURUSD)
        touch.session.send(wire.touch(touch.number, 1_719_878_282, 1.0731, 1.0732, 1_000_000, 0))
        bars = await standing(gateway, "ohlcv_5s", AAPL)
        bars.session.send(wire.bar(bars.number, 1_719_878_280, (1.0, 2.0, 0.5, 1.5), 100, 1.2, 7))
        book = await standing(gateway, "orderbook", ESU4)
        n = book.number
        book.session.send(wire.row(n, 0, 0, 5500.25, 10, is_bid=True) + wire.row(n, 0, 0, 5500.5, 4, is_bid=False))
        for channel, symbol in (("trades", AAPL_ID), ("bidsasks", EURUSD_ID), ("orderbook", ESU4_ID)):
            await capture.has(channel, symbol, 1)
        await capture.has("ticker", AAPL_ID, 2)
        await capture.has("ohlcv_5s", AAPL_ID, 1)
        await standing(gateway, "ticker", EURUSD)
        assert gateway.complaints == []

    (trade,) = capture.lines("trades")[0].data
    assert trade["timestamp"] == 1_719_878_281_000
    assert (trade["price"], trade["amount"], trade["side"], trade["id"]) == (190.51, 20.0, None, None)
    assert (trade["exchange"], trade["conditions"], trade["unreported"]) == ("ISLAND", " T I", True)
    first, second = (line.data for line in capture.lines("ticker"))
    assert (first["bid"], first["bidVolume"]) == (190.5, 300.0)
    assert (second["bid"], second["ask"]) == (190.5, None)
    touched = capture.lines("bidsasks")[0].data
    assert (touched["bid"], touched["bidVolume"], touched["ask"]) == (1.0731, 1_000_000.0, None)
    book_line = capture.lines("orderbook")[0]
    assert (book_line.data["bids"], book_line.data["asks"]) == ([[5500.25, 10.0]], [[5500.5, 4.0]])
    bar = capture.lines("ohlcv_5s")[0].data
    assert (bar["start_ms"], bar["close"], bar["count"]) == (1_719_878_280_000, 1.5, 7)
    subscribed = {tuple(line.data["scope"].values()) for line in capture.controls("subscribed")}
    assert len(subscribed) == 5
    made = forged(b"".join(block.payload for block in capture.blocks), lane=IBKR)
    assert made.bad == ()
    (traded,) = rows_of(made, "trades")
    assert (traded["exchange"], traded["market"], traded["price"]) == ("ibkr", "AAPL/USD:SMART", 190.51)
    assert [row["bid"] for row in rows_of(made, "ticker")] == [190.5, 190.5]
    assert [row["ask_px"] for row in rows_of(made, "orderbook/books")] == [[5500.5]]
    assert [row["bid"] for row in rows_of(made, "bidsasks")] == [1.0731]
    assert [row["close"] for row in rows_of(made, "ohlcv_5s")] == [1.5]


async def test_all_messages_of_one_read_bear_the_stamp_of_that_read_and_keep_their_order() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"ticker": ["AAPL/USD:SMART"]}) as capture:
        ticker = await standing(gateway, "ticker", AAPL)
        before_ns = capture.writer.now()
        ticker.session.send(b"".join(wire.price(ticker.number, 4, 190 + step, 1) for step in range(500)))
        await capture.has("ticker", AAPL_ID, 500)
        lines = capture.lines("ticker")
    assert [line.data["last"] for line in lines] == [190.0 + step for step in range(500)]
    assert all(line.capture_ns > before_ns for line in lines)
    # One read is stamped once; within it, stamps rise by the least there is.
    steps = [after.capture_ns - before.capture_ns for before, after in pairwise(lines)]
    assert steps.count(1) > 400


async def test_tws_restarting_is_outlived_by_asking_for_everything_again() -> None:
    channels = {"ticker": ["AAPL/USD:SMART"], "trades": ["AAPL/USD:SMART"], "orderbook": [ES]}
    async with running_gateway(tick_by_tick_s=0.05) as gateway, capturing(gateway.port, channels) as capture:
        await standing(gateway, "ticker", AAPL)
        await standing(gateway, "orderbook", ESU4)
        trades = await standing(gateway, "trades", AAPL)
        trades.session.send(wire.trade(trades.number, 1, 190.0, 1))
        await capture.has("trades", AAPL_ID, 1)
        await gateway.stop()
        await until(lambda: capture.source.connections == 0)
        assert not capture.is_sound("trades", AAPL_ID)
        await gateway.start()
        trades = await standing(gateway, "trades", AAPL, asked=2)
        await standing(gateway, "ticker", AAPL, asked=2)
        await standing(gateway, "orderbook", ESU4, asked=2)
        trades.session.send(wire.trade(trades.number, 2, 191.0, 1))
        await capture.has("trades", AAPL_ID, 2)
        assert capture.is_sound("trades", AAPL_ID)
        assert gateway.complaints == []
    assert len(capture.controls("disconnected")) == 1
    assert capture.controls("disconnected")[0].data["reason"] == "Peer closed connection."
    assert len(capture.controls("connected")) == 2
    assert [line.data[0]["price"] for line in capture.lines("trades")] == [190.0, 191.0]
    assert [line.seq for line in capture.lines("trades")] == [1, 2]


async def test_1100_makes_every_feed_unsound_and_1101_asks_for_everything_again() -> None:
    channels = {"ticker": ["AAPL/USD:SMART"], "trades": ["AAPL/USD:SMART"]}
    async with running_gateway(tick_by_tick_s=0.05) as gateway, capturing(gateway.port, channels) as capture:
        for kind, channel in (("ticker", "ticker"), ("trades", "trades")):
            found = await standing(gateway, kind, AAPL)
            data = wire.price(found.number, 1, 1.0, 1) if kind == "ticker" else wire.trade(found.number, 1, 1.0, 1)
            found.session.send(data)
            await capture.has(channel, AAPL_ID, 1)
        gateway.say(1100, "Connectivity between IB and Trader Workstation has been lost.")
        await until(lambda: capture.controls("disconnected"))
        assert not capture.is_sound("ticker", AAPL_ID)
        assert not capture.is_sound("trades", AAPL_ID)
        gateway.lose_subscriptions()
        gateway.say(1101, "Connectivity between IB and Trader Workstation has been restored - data lost.")
        ticker = await standing(gateway, "ticker", AAPL, asked=2)
        trades = await standing(gateway, "trades", AAPL, asked=2)
        ticker.session.send(wire.price(ticker.number, 1, 2.0, 1) + wire.trade(trades.number, 2, 2.0, 1))
        await until(lambda: capture.is_sound("ticker", AAPL_ID) and capture.is_sound("trades", AAPL_ID))
        assert gateway.complaints == []
    (lost,) = capture.controls("disconnected")
    assert len(lost.data["feeds"]) == 2
    assert lost.data["reason"].startswith("1100: ")
    recovered = [line for line in capture.controls("recovered") if line.data["hole"] == lost.data["hole"]]
    assert len(recovered) == 2


async def test_what_comes_late_ends_no_hole_while_tws_has_lost_interactive_brokers() -> None:
    channels = {"ticker": ["AAPL/USD:SMART"], "orderbook": [ES]}
    async with running_gateway() as gateway, capturing(gateway.port, channels) as capture:
        ticker, book = await standing(gateway, "ticker", AAPL), await standing(gateway, "orderbook", ESU4)
        n, send = book.number, book.session.send
        send(wire.row(n, 0, 0, 3.0, 1, is_bid=True) + wire.row(n, 0, 0, 4.0, 1, is_bid=False))
        send(wire.price(ticker.number, 1, 1.0, 1))
        await until(lambda: capture.is_sound("orderbook", ESU4_ID) and capture.is_sound("ticker", AAPL_ID))
        lost = "Connectivity between IB and Trader Workstation has been lost."
        send(wire.row(n, 0, 1, 3.0, 2, is_bid=True) + wire.error(-1, 1100, lost))
        await until(lambda: capture.controls("disconnected"))
        assert not capture.is_sound("orderbook", ESU4_ID)
        before = capture.seq("ticker", AAPL_ID), capture.seq("orderbook", ESU4_ID)
        send(wire.price(ticker.number, 1, -1.0, 0) + wire.row(n, 0, 1, 3.0, 3, is_bid=True))
        await capture.has("ticker", AAPL_ID, before[0] + 1)
        await capture.has("orderbook", ESU4_ID, before[1] + 1)
        assert not capture.is_sound("orderbook", ESU4_ID)
        assert not capture.is_sound("ticker", AAPL_ID)
        gateway.say(1102, "Connectivity between IB and Trader Workstation has been restored - data maintained.")
        ticker = await standing(gateway, "ticker", AAPL, asked=2)
        book = await standing(gateway, "orderbook", ESU4, asked=2)
        n = book.number
        send(wire.row(n, 0, 0, 5.0, 1, is_bid=True) + wire.row(n, 0, 0, 6.0, 1, is_bid=False))
        send(wire.price(ticker.number, 1, 2.0, 1))
        await until(lambda: capture.is_sound("orderbook", ESU4_ID) and capture.is_sound("ticker", AAPL_ID))
    assert capture.controls("gap") == []


async def test_a_book_in_order_that_is_asked_for_anew_has_a_hole_until_its_new_image() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"orderbook": [ES]}) as capture:
        book = await standing(gateway, "orderbook", ESU4)
        n, send = book.number, book.session.send
        send(wire.row(n, 0, 0, 3.0, 1, is_bid=True) + wire.row(n, 0, 0, 4.0, 1, is_bid=False))
        await capture.has("orderbook", ESU4_ID, 1)
        # The change that came before the word is told with the next one, and ends no hole by itself.
        broken = wire.error(-1, 2103, "Market data farm connection is broken:usfarm")
        send(wire.row(n, 0, 1, 3.0, 2, is_bid=True) + broken)
        await until(lambda: capture.controls("disconnected"))
        assert not capture.is_sound("orderbook", ESU4_ID)
        send(wire.row(n, 0, 1, 4.0, 2, is_bid=False))
        await capture.has("orderbook", ESU4_ID, 2)
        assert capture.is_sound("orderbook", ESU4_ID)
        back = wire.error(-1, 2104, "Market data farm connection is OK:usfarm")
        send(wire.row(n, 0, 1, 4.0, 3, is_bid=False) + back)
        new = await standing(gateway, "orderbook", ESU4, asked=2)
        assert not capture.is_sound("orderbook", ESU4_ID)
        rows = wire.row(new.number, 0, 0, 5.0, 1, is_bid=True) + wire.row(new.number, 0, 0, 6.0, 1, is_bid=False)
        send(rows)
        await capture.has("orderbook", ESU4_ID, 3)
        assert capture.is_sound("orderbook", ESU4_ID)
    (gap,) = capture.controls("gap")
    assert gap.data["reason"] == "asked for anew"
    assert [line.data["bids"] for line in capture.lines("orderbook")] == [[[3.0, 1.0]], [[3.0, 2.0]], [[5.0, 1.0]]]


async def test_1102_asks_anew_for_what_holds_a_state_and_lets_trades_go_on() -> None:
    channels = {"trades": ["AAPL/USD:SMART"], "orderbook": [ES], "ticker": ["AAPL/USD:SMART"]}
    async with running_gateway() as gateway, capturing(gateway.port, channels) as capture:
        trades = await standing(gateway, "trades", AAPL)
        await standing(gateway, "ticker", AAPL)
        old = await standing(gateway, "orderbook", ESU4)
        gateway.say(1100, "Connectivity between IB and Trader Workstation has been lost.")
        # Rows in the same read: of a book that was not followed while nothing came.
        restored = "Connectivity between IB and Trader Workstation has been restored - data maintained."
        torn = wire.row(old.number, 0, 0, 8.0, 1, is_bid=True) + wire.row(old.number, 0, 0, 9.0, 1, is_bid=False)
        old.session.send(wire.error(-1, 1102, restored) + torn)
        new = await standing(gateway, "orderbook", ESU4, asked=2)
        await standing(gateway, "ticker", AAPL, asked=2)
        assert new.number != old.number
        assert old.number not in new.session.standing
        # Rows for the old number are those of a book that is no longer kept.
        stale = wire.row(old.number, 0, 0, 1.0, 1, is_bid=True) + wire.row(old.number, 0, 0, 2.0, 1, is_bid=False)
        fresh = wire.row(new.number, 0, 0, 3.0, 1, is_bid=True) + wire.row(new.number, 0, 0, 4.0, 1, is_bid=False)
        new.session.send(stale + wire.trade(trades.number, 1, 5.0, 1) + fresh)
        await capture.has("orderbook", ESU4_ID, 1)
        assert capture.is_sound("trades", AAPL_ID)
        assert gateway.count_asked("trades", AAPL) == 1
    assert [line.data["bids"] for line in capture.lines("orderbook")] == [[[3.0, 1.0]]]
    (lost,) = capture.controls("disconnected")
    assert [each.data["hole"] for each in capture.controls("resynced")].count(lost.data["hole"]) == 1


async def test_a_broken_farm_makes_feeds_unsound_and_its_return_asks_for_books_again() -> None:
    channels = {"orderbook": [ES], "ohlcv_5s": [ES]}
    async with running_gateway() as gateway, capturing(gateway.port, channels) as capture:
        book, bars = await standing(gateway, "orderbook", ESU4), await standing(gateway, "ohlcv_5s", ESU4)
        both = wire.row(book.number, 0, 0, 3.0, 1, is_bid=True) + wire.row(book.number, 0, 0, 4.0, 1, is_bid=False)
        book.session.send(both + wire.bar(bars.number, 1, (1.0, 1.0, 1.0, 1.0), -1, -1, -1))
        await capture.has("orderbook", ESU4_ID, 1)
        await capture.has("ohlcv_5s", ESU4_ID, 1)
        gateway.say(2103, "Market data farm connection is broken:usfuture")
        await until(lambda: not capture.is_sound("orderbook", ESU4_ID))
        assert capture.is_sound("ohlcv_5s", ESU4_ID)
        gateway.say(2105, "HMDS data farm connection is broken:ushmds")
        await until(lambda: not capture.is_sound("ohlcv_5s", ESU4_ID))
        gateway.say(2104, "Market data farm connection is OK:usfarm")
        gateway.say(2104, "Market data farm connection is OK:usfuture")
        await standing(gateway, "orderbook", ESU4, asked=2)
        assert gateway.count_asked("ohlcv_5s", ESU4) == 1
    assert capture.lines("ohlcv_5s")[0].data["volume"] is None


async def test_a_reset_of_depth_empties_the_book_which_is_whole_again_when_refilled() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"orderbook": [ES]}) as capture:
        book = await standing(gateway, "orderbook", ESU4)
        n, send = book.number, book.session.send
        send(wire.row(n, 0, 0, 10.0, 1, is_bid=True) + wire.row(n, 0, 0, 11.0, 1, is_bid=False))
        await capture.has("orderbook", ESU4_ID, 1)
        send(wire.error(n, 317, "Market depth data has been RESET. Please empty deep book contents before applying"))
        await until(lambda: not capture.is_sound("orderbook", ESU4_ID))
        send(wire.row(n, 0, 0, 20.0, 1, is_bid=True) + wire.row(n, 0, 0, 21.0, 1, is_bid=False))
        await capture.has("orderbook", ESU4_ID, 2)
        assert capture.is_sound("orderbook", ESU4_ID)
        assert gateway.count_asked("orderbook", ESU4) == 1
    (gap,) = capture.controls("gap")
    assert gap.data["reason"].startswith("317: ")
    assert [line.data["bids"] for line in capture.lines("orderbook")] == [[[10.0, 1.0]], [[20.0, 1.0]]]
    assert len([each for each in capture.controls("resynced") if each.data["hole"] == gap.data["hole"]]) == 1


async def test_rows_of_exchanges_behind_a_smart_book_add_up_to_levels() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"orderbook": ["AAPL/USD:SMART"]}) as capture:
        book = await standing(gateway, "orderbook", AAPL)
        rows = [(True, 190.0, "ARCA"), (True, 190.0, "NSDQ"), (False, 190.1, "ARCA")]
        positions = [0, 1, 0]
        book.session.send(
            b"".join(
                wire.maker_row(book.number, position, 0, price, 100, maker, is_bid=is_bid)
                for position, (is_bid, price, maker) in zip(positions, rows, strict=True)
            )
        )
        await capture.has("orderbook", AAPL_ID, 1)
    assert capture.lines("orderbook")[0].data["bids"] == [[190.0, 200.0]]


async def test_a_halt_and_the_time_of_the_last_trade_are_ticks_too() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"ticker": ["AAPL/USD:SMART"]}) as capture:
        found = await standing(gateway, "ticker", AAPL)
        n = found.number
        found.session.send(wire.text(n, 45, "1719878281") + wire.generic(n, 49, 1) + wire.text(n, 84, "Q"))
        found.session.send(wire.generic(n, 49, 0))
        await capture.has("ticker", AAPL_ID, 3)
    told = [line.data for line in capture.lines("ticker")]
    assert [each["lastTradeTimestamp"] for each in told] == [1_719_878_281_000] * 3
    assert [each.get("halted") for each in told] == [None, True, False]


async def test_a_code_of_the_session_counts_even_where_it_bears_the_number_of_a_request() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"trades": ["AAPL/USD:SMART"]}) as capture:
        found = await standing(gateway, "trades", AAPL)
        found.session.send(wire.error(found.number, 2103, "Market data farm connection is broken:usfarm"))
        await until(lambda: capture.controls("disconnected"))
        assert gateway.count_asked("trades", AAPL) == 1


async def test_a_book_with_a_missing_row_is_named_and_asked_for_anew() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"orderbook": [ES]}) as capture:
        book = await standing(gateway, "orderbook", ESU4)
        n = book.number
        book.session.send(wire.row(n, 0, 0, 10.0, 1, is_bid=True) + wire.row(n, 0, 0, 11.0, 1, is_bid=False))
        await capture.has("orderbook", ESU4_ID, 1)
        book.session.send(wire.row(n, 4, 1, 9.0, 1, is_bid=True) + wire.row(n, 5, 1, 8.0, 1, is_bid=True))
        await standing(gateway, "orderbook", ESU4, asked=2)
    assert [gap.data["reason"] for gap in capture.controls("gap")] == ["operation 1 at row 4 of 1"]


@pytest.mark.parametrize("code", [354, 10089, 10186, 10189])
async def test_a_refused_entitlement_is_named_for_its_feed_and_stops_no_other(code: int) -> None:
    channels = {"ticker": ["AAPL/USD:SMART", "MSFT/USD:SMART"]}
    async with running_gateway() as gateway:
        gateway.refusals["ticker", 272093] = (code, "Requested market data is not subscribed.")
        async with capturing(gateway.port, channels) as capture:
            found = await standing(gateway, "ticker", AAPL)
            await until(lambda: capture.controls("rejected"))
            found.session.send(wire.price(found.number, 1, 1.0, 1))
            await capture.has("ticker", AAPL_ID, 1)
            assert capture.source.connections == 1
    (rejected,) = capture.controls("rejected")
    assert rejected.data["scope"] == {"channel": "ticker", "symbol": "MSFT-USD_SMART"}
    assert rejected.data["reason"] == f"subscription refused: {code}: Requested market data is not subscribed."


async def test_a_subscription_that_is_taken_away_while_it_stands_leaves_its_feed_unsound() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"ticker": ["AAPL/USD:SMART"]}) as capture:
        found = await standing(gateway, "ticker", AAPL)
        found.session.send(wire.price(found.number, 1, 1.0, 1))
        await capture.has("ticker", AAPL_ID, 1)
        found.session.send(wire.error(found.number, 10197, "No market data during competing live session"))
        await until(lambda: not capture.is_sound("ticker", AAPL_ID))
        found = await standing(gateway, "ticker", AAPL, asked=2)
        found.session.send(wire.price(found.number, 1, 1.0, 1))
        await until(lambda: capture.is_sound("ticker", AAPL_ID))


async def test_ticks_of_one_contract_are_asked_for_no_sooner_than_tws_allows() -> None:
    channels = {"trades": ["AAPL/USD:SMART"], "bidsasks": ["AAPL/USD:SMART", "EUR/USD:IDEALPRO"]}
    waits = Waits(tick_by_tick_s=1.5)  # the stand-in takes the time when it reads, which may be late for the first one
    async with (
        running_gateway(tick_by_tick_s=0.25) as gateway,
        capturing(gateway.port, channels, waits=waits) as capture,
    ):
        for kind, listing in (("trades", AAPL), ("bidsasks", AAPL), ("bidsasks", EURUSD)):
            await standing(gateway, kind, listing)
        assert gateway.complaints == []
        assert gateway.asked.index(("bidsasks", EURUSD.con_id)) < gateway.asked.index(("bidsasks", AAPL.con_id))
    assert capture.controls("rejected") == []


async def test_many_contracts_are_asked_for_no_faster_than_tws_allows() -> None:
    many = tuple(wire.Listing(1 + n, f"A{n}", "STK", "SMART", local_symbol=f"A{n}") for n in range(60))
    channels = {"ticker": [f"{each.symbol}/USD:SMART" for each in many]}
    async with running_gateway(listings=many) as gateway, capturing(gateway.port, channels):
        await standing(gateway, "ticker", many[-1])
        assert gateway.complaints == []
        assert sorted(gateway.asked) == sorted(("ticker", each.con_id) for each in many)


async def test_delayed_data_says_so_in_every_record() -> None:
    async with (
        running_gateway() as gateway,
        capturing(gateway.port, {"ticker": ["AAPL/USD:SMART"]}, market_data_type="delayed") as capture,
    ):
        found = await standing(gateway, "ticker", AAPL)
        found.session.send(wire.market_data_type(found.number, 3) + wire.price(found.number, 66, 1.0, 1))
        await capture.has("ticker", AAPL_ID, 1)
    assert capture.lines("ticker")[0].data["delayed"] is True


async def test_what_cannot_be_read_is_noted_and_the_session_goes_on() -> None:
    async with running_gateway() as gateway, capturing(gateway.port, {"trades": ["AAPL/USD:SMART"]}) as capture:
        found = await standing(gateway, "trades", AAPL)
        n, send = found.number, found.session.send
        send(wire.trade(n, 1, 6.0, 1))
        await capture.has("trades", AAPL_ID, 1)
        send(wire.frame(99, n, 2, 2, "abc", 1, 0, "", "") + wire.frame(999, "what") + wire.trade(n, 3, 7.0, 1))
        await capture.has("trades", AAPL_ID, 2)
        assert gateway.count_asked("trades", AAPL) == 1
    torn, unknown = capture.controls("rejected")
    assert torn.data["reason"] == "ValueError: could not convert string to float: 'abc'"
    assert unknown.data["detail"]["text"] == "999\0what"
    (gap,) = capture.controls("gap")
    assert gap.data["reason"] == f"a message could not be read: {torn.data['reason']}"
    assert capture.controls("recovered")[-1].data["hole"] == gap.data["hole"]


async def test_a_book_of_which_a_message_cannot_be_read_is_asked_for_anew_and_no_other() -> None:
    channels = {"orderbook": [ES, "AAPL/USD:SMART"]}
    async with running_gateway() as gateway, capturing(gateway.port, channels) as capture:
        for listing, symbol in ((ESU4, ESU4_ID), (AAPL, AAPL_ID)):
            book = await standing(gateway, "orderbook", listing)
            n, send = book.number, book.session.send
            send(wire.row(n, 0, 0, 3.0, 1, is_bid=True) + wire.row(n, 0, 0, 4.0, 1, is_bid=False))
            await capture.has("orderbook", symbol, 1)
        send(wire.frame(12, 1, n, 0, 1, 1, "abc", 2) + wire.row(n, 0, 1, 4.0, 2, is_bid=False))
        book = await standing(gateway, "orderbook", AAPL, asked=2)
        assert not capture.is_sound("orderbook", AAPL_ID)
        assert capture.is_sound("orderbook", ESU4_ID)
        n = book.number
        send(wire.row(n, 0, 0, 5.0, 1, is_bid=True) + wire.row(n, 0, 0, 6.0, 1, is_bid=False))
        await capture.has("orderbook", AAPL_ID, 2)
        assert capture.is_sound("orderbook", AAPL_ID)
        assert gateway.count_asked("orderbook", ESU4) == 1
    reason = "ValueError: could not convert string to float: 'abc'"
    assert [line.data["reason"] for line in capture.controls("rejected")] == [reason]
    assert [line.data["scope"]["symbol"] for line in capture.controls("gap")] == [AAPL_ID]


async def test_an_error_of_our_own_ends_the_source_and_is_no_messages_fault() -> None:
    async def broken_lane() -> None:
        async with running_gateway() as gateway, capturing(gateway.port, {"ticker": ["AAPL/USD:SMART"]}) as capture:
            found = await standing(gateway, "ticker", AAPL)
            append = capture.buffer.append

            def fails(slot: FeedSlot, *rest: Any) -> None:
                if slot[0] == "ticker":
                    raise KeyError("ours")
                append(slot, *rest)

            capture.buffer.append = fails  # type: ignore[method-assign]
            found.session.send(wire.price(found.number, 1, 7.0, 1))
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(60):
            await broken_lane()
    assert caught.group_contains(KeyError, match="ours")


async def test_a_frozen_gateway_is_noticed_and_left() -> None:
    waits = Waits(tick_by_tick_s=0.2, keepalive_s=0.3, answer_s=0.3)
    async with (
        running_gateway() as gateway,
        capturing(gateway.port, {"ticker": ["AAPL/USD:SMART"]}, waits=waits) as capture,
    ):
        await standing(gateway, "ticker", AAPL)
        gateway.is_frozen = True
        await until(lambda: capture.controls("disconnected"))
        assert "asked for the time" in capture.controls("disconnected")[0].data["reason"]
        gateway.is_frozen = False
        await standing(gateway, "ticker", AAPL, asked=2)


@pytest.mark.slow
async def test_a_feed_that_falls_silent_among_others_is_asked_for_anew() -> None:
    channels = {"ticker": ["AAPL/USD:SMART"], "ohlcv_5s": ["AAPL/USD:SMART"]}
    silence = SilenceLimits(fixed_ns=NS_PER_S // 2)
    async with running_gateway() as gateway, capturing(gateway.port, channels, silence=silence) as capture:
        ticker = await standing(gateway, "ticker", AAPL)
        bars = await standing(gateway, "ohlcv_5s", AAPL)
        bars.session.send(wire.bar(bars.number, 1, (1.0, 1.0, 1.0, 1.0), 1, 1, 1))
        async with asyncio.timeout(60):
            while gateway.count_asked("ohlcv_5s", AAPL) < 2:
                ticker.session.send(wire.size(ticker.number, 8, 1))
                await asyncio.sleep(0.05)
        assert gateway.count_asked("ticker", AAPL) == 1
        assert capture.source.connections == 1
    assert {"channel": "ohlcv_5s", "symbol": AAPL_ID} in [line.data["scope"] for line in capture.controls("stalled")]


async def test_a_made_up_book_is_the_venues_after_whatever_rows_and_reads() -> None:
    market = Ladders(seed=7, rows_max=5)
    async with (
        running_gateway() as gateway,
        capturing(gateway.port, {"orderbook": [ES]}, max_orderbook_depth=5) as capture,
    ):
        book = await standing(gateway, "orderbook", ESU4)
        for _ in range(40):
            rows = [row for _ in range(10) for row in market.change()]
            book.session.send(b"".join(wire.row(book.number, *row[:4], is_bid=row[4]) for row in rows))
            await until(lambda: _newest(capture.lines("orderbook")) == market.sides())
        assert gateway.count_asked("orderbook", ESU4) == 1
    assert capture.controls("gap") == []
    for line in capture.lines("orderbook"):
        bids, asks = ([price for price, _ in line.data[side]] for side in ("bids", "asks"))
        assert bids == sorted(set(bids), reverse=True)
        assert asks == sorted(set(asks))


def _newest(lines: list[Line]) -> tuple[list[list[float]], list[list[float]]] | None:
    return (lines[-1].data["bids"], lines[-1].data["asks"]) if lines else None

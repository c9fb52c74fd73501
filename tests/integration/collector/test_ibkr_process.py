"""The collector of Interactive Brokers as a process, between a stand-in for TWS and a real bus."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluxforge.domain.lane import Lane
from tests.integration.collector.rig import PATIENCE_S, Rig, Running
from tests.tws import wire
from tests.tws.capture import capturing
from tests.tws.gateway import AAPL, Gateway, running_gateway
from tests.unit.fluxforge_collector.made import until

LANE = Lane("ibkr", "ibkr", "0of1")
TRADES = {"trades": ["AAPL/USD:SMART"]}


def configured(rig: Rig, port: int, channels: dict[str, Any]) -> Path:
    ibkr = {"port": port, "client_id": 7, "channels": channels}
    return rig.configure("none", 1, {}, ccxt={"exchanges": {}}, ibkr=ibkr)


def said(running: Running, event: str) -> list[dict[str, Any]]:
    lines = [orjson.loads(line) for line in running.log_path.read_bytes().splitlines() if line.startswith(b"{")]
    return [line for line in lines if line["event"] == event]


async def send_trades(gateway: Gateway, first: int, count: int) -> None:
    await until(lambda: gateway.standing("trades", AAPL), deadline_s=PATIENCE_S)
    found = gateway.standing("trades", AAPL)
    assert found is not None
    for at_s in range(first, first + count):
        found.session.send(wire.trade(found.number, at_s, 190.0, 1))


async def test_a_gateway_that_is_absent_is_awaited_and_its_trades_are_stored(rig: Rig) -> None:
    gateway = Gateway()
    await gateway.start()
    await gateway.stop()
    async with rig.process(LANE, configured(rig, gateway.port, TRADES)) as (running, _):
        await until(lambda: said(running, "gateway.awaited"), deadline_s=PATIENCE_S)
        assert f"127.0.0.1:{gateway.port}" in said(running, "gateway.awaited")[0]["error"]
        await gateway.start()
        try:
            await rig.open_lane(running)
            await send_trades(gateway, 1, 20)
            await running.until(lambda lines: sum(line.channel == "trades" for line in lines) == 20)
            status = await running.stop()
        finally:
            await gateway.stop()
    assert status.captured == status.stored
    lines = await rig.lines(LANE)
    assert [line.data[0]["timestamp"] for line in lines if line.channel == "trades"] == [
        1000 * at_s for at_s in range(1, 21)
    ]
    assert lines[-1].event == "stopped"


async def test_a_client_id_that_another_client_uses_is_named_and_taken_once_it_is_free(rig: Rig) -> None:
    async with running_gateway(tick_by_tick_s=0.0) as gateway, contextlib.AsyncExitStack() as other:
        await other.enter_async_context(capturing(gateway.port, TRADES, client_id=7))
        await until(lambda: gateway.standing("trades", AAPL))
        async with rig.process(LANE, configured(rig, gateway.port, TRADES)) as (running, _):
            await until(lambda: said(running, "gateway.awaited"), deadline_s=PATIENCE_S)
            assert (
                "client id 7 is in use (326); give this collector an ibkr.client_id of its own"
                in (said(running, "gateway.awaited")[0]["error"])
            )
            await other.aclose()
            await rig.open_lane(running)
            await send_trades(gateway, 1, 1)
            await running.until(lambda lines: any(line.channel == "trades" for line in lines))
            await running.stop()


@pytest.mark.parametrize(
    ("channels", "messages"),
    [
        (
            {
                "trades": ["AAPL/USD:SMART", "APLE/USD:SMART"],
                "ticker": [{"sec_type": "FUT", "local_symbol": "ESZ9", "exchange": "CME"}],
            },
            ["no contract with sec_type STK, exchange SMART, symbol APLE, currency USD", "local_symbol ESZ9"],
        ),
        (
            {"trades": [{"sec_type": "FUT", "symbol": "ES", "exchange": "CME"}]},
            [
                "2 contracts with sec_type FUT, exchange CME, symbol ES",
                "ESU4/USD:CME (con_id 568550526",
                "ESZ4/USD:CME",
            ],
        ),
    ],
)
async def test_contracts_that_do_not_exist_or_are_several_are_refused_by_name_before_anything_begins(
    rig: Rig, channels: dict[str, Any], messages: list[str]
) -> None:
    async with running_gateway() as gateway:
        async with rig.process(LANE, configured(rig, gateway.port, channels)) as (running, made):
            async with asyncio.timeout(PATIENCE_S):
                assert await made.wait() == 2
            log = running.log_path.read_text()
            assert all(message in log for message in messages), log
        assert gateway.asked == []
    assert list(await rig.bus.states.lanes()) == []

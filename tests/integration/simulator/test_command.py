"""`python -m fluxforge_simulator`: its first line, its errors, its end."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from fluxforge_simulator.__main__ import main
from tests.integration.simulator.clients import client, heard, ledger_lines, recorded, told, until


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[tuple[Process, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fluxforge_simulator", *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.readline(), 60)
        assert first.startswith(b'{"port": ')
        yield process, orjson.loads(first)["port"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_with_a_whole_ledger(stop: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    async with (
        running("--exchange", "kraken", "--ledger", str(path), "--seed", "7") as (process, port),
        client("kraken", port, ("watch_order_book", "BTC/USD"), ("watch_trades", "BTC/USD")) as tapped,
    ):
        await until(lambda: tapped.updates["orderbook@BTC/USD"] > 10)
        process.send_signal(stop)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    (sent,), (got,) = (
        told(ledger_lines(path)),
        heard(tapped.frames, ignored=(b'{"channel":"heartbeat"}', b'{"method":"pong"')),
    )
    assert got == sent[: len(got)]
    assert len(got) > 10


async def test_once_ends_by_itself_when_the_client_has_heard_everything(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    (file,) = recorded("okx/OKX_20220513.jsonl.zst")
    play = ("--recording", str(file), "--speed", "max", "--settle", "60", "--wait-for", "2")
    async with (
        running(*play, "--ledger", str(path), "--once") as (process, port),
        client("okx", port, ("watch_trades", "BTC/USDT"), ("watch_order_book", "BTC/USDT")) as tapped,
    ):
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b"simulate: played 167 frames, skipped 225\n"
    lines = ledger_lines(path)
    assert lines[-1]["kind"] == "ping"
    assert sum(line["kind"] == "data" for line in lines) == 69 + 97
    assert heard(tapped.frames) == told(lines)


async def test_without_once_the_sockets_stay_open_silent_and_answer_pings(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    (file,) = recorded("okx/OKX_20220513.jsonl.zst")
    arguments = ("--recording", str(file), "--speed", "max", "--settle", "0.3", "--ledger", str(path))
    async with running(*arguments) as (process, port), client("okx", port, ("watch_trades", "BTC/USDT")) as tapped:
        await until(lambda: tapped.updates["trades:BTC/USDT"] == 69)
        socket_client = next(iter(tapped.clients.values()))
        await socket_client.send("ping")
        await until(lambda: next(iter(tapped.frames.values()))[-1] == b"pong")
        assert process.returncode is None


def port_taken() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--recording", "nowhere.gz"], "nowhere.gz: expected a file that can be read"),
        (["--recording", __file__], "expected a cryptofeed v3 capture (.jsonl.zst) or a hftbacktest capture (.gz)"),
        (
            ["--exchange", "nasdaq"],
            "nasdaq: expected one of binanceusdm, binance, binanceus, bybit, coinbase, kraken, ",
        ),
        (["--speed", "0"], "--speed 0.0: expected a number above 0, or max"),
        (["--speed", "fast"], "'fast': expected a number above 0, or max"),
        (["--speed", "max"], "--speed max: expected a --recording, which has an end"),
        (["--port", "70000"], "--port 70000: expected 0 to 65535"),
        (["--port", "x"], "argument --port: invalid int value"),
        (["--wait-for", "0"], "--wait-for 0: expected a number of feeds, 1 or more"),
        (["--settle", "-1"], "--settle -1.0: expected seconds, 0 or more"),
        (["--once"], "--once: expected a --recording"),
        (["--markets", "list.json"], "list.json: expected a --recording to list markets for"),
        (["--ledger", "/nowhere/ledger"], "/nowhere/ledger: expected a file that can be written"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_a_call_that_cannot_be_carried_out_is_one_line_and_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(arguments, expected, capsys)


def refused(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert expected in line


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with port_taken() as taken:
        port = str(taken.getsockname()[1])
        refused(
            ["--port", port], f"--port {port}: expected a free port of 127.0.0.1, or 0 for any, was: in use", capsys
        )


def test_a_recording_that_is_cut_short_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in recorded("okx/OKX_20220513.jsonl.zst", "binance/spot_btcusdt_20240808.gz"):
        torn = tmp_path / name.name
        torn.write_bytes(name.read_bytes()[:40_000])
        refused(["--recording", str(torn)], str(torn), capsys)


def test_a_recording_of_an_exchange_that_cannot_be_played_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = recorded("kraken/KRAKEN_v1_20210417.jsonl.zst")
    refused(["--recording", str(file)], "was: a recording of kraken", capsys)


def test_a_market_list_that_is_not_json_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = recorded("binance/spot_btcusdt_20240808.gz")
    markets = tmp_path / "markets.json"
    markets.write_text("{")
    refused(["--recording", str(file), "--markets", str(markets)], "expected the JSON of a venue's market list", capsys)
